//! The report at the end of the demo.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::print;
use super::super::send::RowResult;
use super::super::sheet::{Row, Verdict};
use super::super::text::text;
use super::truth::Compared;

/// Refused rows that are listed.
const ROWS_MAX: usize = 20;
/// States whose errors are reported.
const ENDS: [&str; 4] = ["failed", "undelivered", "unknown", "expired"];

/// Everything that the report shows.
pub(super) struct Report<'a> {
    pub(super) rows: &'a [Row],
    pub(super) results: &'a [RowResult],
    pub(super) messages: &'a [(String, Option<Value>)],
    /// The server's own metrics.
    pub(super) numbers: &'a Value,
    pub(super) compared: &'a Compared,
    /// What a recount of the log found different.
    pub(super) differences: Vec<String>,
    pub(super) seconds: f64,
}

impl Report<'_> {
    pub(super) fn json(&self) -> Value {
        let states = self.states();
        let in_state = |state: &str| states.get(state).copied().unwrap_or_default();
        json!({
            "rows": self.rows.len(),
            "accepted": self.accepted(),
            "refused": self.refused().len(),
            "repeated": self.repeated(),
            // A read message was delivered as well.
            "delivered": in_state("delivered") + in_state("read"),
            "read": in_state("read"),
            "failed": in_state("failed") + in_state("undelivered"),
            "unknown": in_state("unknown"),
            "suppressed": in_state("suppressed"),
            "states": states,
            "lost": self.compared.lost.len(),
            "doubled": self.compared.doubled.len(),
            "behind": self.compared.behind,
            "at_provider": self.compared.at_provider,
            "recount_differences": self.differences,
            "delivery_rate": self.number("delivery_rate"),
            "accepted_to_sent": self.number("accepted_to_sent"),
            "sent_to_delivered": self.number("sent_to_delivered"),
            "delivered_to_read": self.number("delivered_to_read"),
            "errors": self.errors().into_iter().map(|((code, meaning, advice), count)| {
                json!({ "code": code, "meaning": meaning, "advice": advice, "count": count })
            }).collect::<Vec<_>>(),
            "seconds": (self.seconds * 10.0).round() / 10.0,
        })
    }

    pub(super) fn show(&self) {
        print::line("");
        let states = self.states();
        let rows = states
            .iter()
            .map(|(state, count)| vec![state.clone(), count.to_string()]);
        print::table(&["state", "messages"], rows);
        self.show_times();
        self.show_errors();
        self.show_refused();
        self.show_truth();
    }

    fn show_times(&self) {
        let rate = |name: &str| {
            let value = self.number(name).as_f64().unwrap_or_default();
            format!("{:.1} %", value * 100.0)
        };
        print::line("");
        print::line(&format!(
            "{} of the sent messages were delivered; {} of the delivered ones were read.",
            rate("delivery_rate"),
            rate("read_rate")
        ));
        let rows = [
            ("accepted to sent", "accepted_to_sent"),
            ("sent to delivered", "sent_to_delivered"),
            ("delivered to read", "delivered_to_read"),
        ];
        let rows = rows.map(|(label, name)| {
            let times = self.number(name);
            let time = |field: &str| {
                times
                    .get(field)
                    .and_then(Value::as_u64)
                    .map_or_else(|| "-".to_owned(), duration)
            };
            vec![label.to_owned(), time("p50_ms"), time("p95_ms")]
        });
        print::line("");
        print::table(
            &["time (phones react 8 times as fast here)", "p50", "p95"],
            rows,
        );
    }

    fn show_errors(&self) {
        let rows: Vec<Vec<String>> = self
            .errors()
            .into_iter()
            .map(|((code, meaning, advice), count)| vec![count.to_string(), code, meaning, advice])
            .collect();
        if !rows.is_empty() {
            print::line("");
            print::table(&["n", "error", "what it means", "what to do"], rows);
        }
    }

    fn show_refused(&self) {
        let refused = self.refused();
        if refused.is_empty() {
            return;
        }
        let rows = refused
            .iter()
            .take(ROWS_MAX)
            .map(|(row, why)| vec![row.line.to_string(), row.input.clone(), (*why).to_owned()]);
        print::line("");
        print::table(&["line", "refused number", "why"], rows);
        print::line("");
        print::line(&format!(
            "{} rows: {} accepted, {} refused, {} repeated.",
            self.rows.len(),
            self.accepted(),
            refused.len(),
            self.repeated()
        ));
    }

    fn show_truth(&self) {
        let found = self.compared;
        print::line("");
        print::line(&format!(
            "The simulator accepted {} messages for {} accepted rows in {:.1} s; the \
             additional ones are retries of messages that had failed, without the ninth digit or \
             after a wait.",
            found.at_provider,
            self.accepted(),
            self.seconds
        ));
        print::line(&format!(
            "{} lost, {} doubled",
            found.lost.len(),
            found.doubled.len()
        ));
        for id in found.lost.iter().chain(&found.doubled) {
            print::line(&format!("  see {id}"));
        }
        if found.behind > 0 {
            print::line(&format!(
                "{} messages are further along than the server knows: their last callback was lost.",
                found.behind
            ));
        }
        let differences = self.differences.len();
        print::line(&format!(
            "A recount of the log finds {differences} differences."
        ));
        for difference in &self.differences {
            print::line(&format!("  {difference}"));
        }
    }

    fn states(&self) -> BTreeMap<String, usize> {
        let mut states = BTreeMap::new();
        for (_, message) in self.messages {
            let state = message
                .as_ref()
                .map_or_else(|| "lost".to_owned(), |m| text(m, "state"));
            *states.entry(state).or_default() += 1;
        }
        states
    }

    /// How many messages ended with each error, with its meaning and what to do.
    fn errors(&self) -> BTreeMap<(String, String, String), usize> {
        let mut errors = BTreeMap::new();
        for (_, message) in self.messages {
            // Errors of messages that were delivered after a retry are left out.
            let ended = message
                .as_ref()
                .filter(|message| ENDS.contains(&text(message, "state").as_str()));
            let error = ended.and_then(|message| message.get("error"));
            let Some(error) = error.filter(|error| !error.is_null()) else {
                continue;
            };
            let code = text(error, "code");
            let code = if code.is_empty() {
                text(error, "reason")
            } else {
                code
            };
            let key = (code, text(error, "meaning"), text(error, "advice"));
            *errors.entry(key).or_default() += 1;
        }
        errors
    }

    fn number(&self, name: &str) -> Value {
        self.numbers
            .pointer(&format!("/groups/0/{name}"))
            .cloned()
            .unwrap_or(Value::Null)
    }

    fn accepted(&self) -> usize {
        self.results
            .iter()
            .filter(|result| result.id.is_some())
            .count()
    }

    fn repeated(&self) -> usize {
        self.results.iter().filter(|result| result.repeated).count()
    }

    /// Rows that were refused, by the sheet or by the API, and why.
    fn refused(&self) -> Vec<(&Row, &str)> {
        self.rows
            .iter()
            .zip(self.results)
            .filter(|(row, result)| {
                result.id.is_none() && !matches!(row.verdict, Verdict::Repeated { .. })
            })
            .map(|(row, result)| (row, result.remark.as_str()))
            .collect()
    }
}

fn duration(millis: u64) -> String {
    match millis {
        0..1_000 => format!("{millis} ms"),
        _ => format!("{}.{} s", millis / 1_000, millis % 1_000 / 100),
    }
}
