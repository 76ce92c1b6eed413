//! Compares what the server shows with the simulator's truth log.

use std::collections::{HashMap, HashSet};

use delivery::address::{Address, Context};
use serde_json::Value;
use simulator::TruthMessage;

use super::super::text::text;

/// What the comparison found.
#[derive(Default)]
pub(super) struct Compared {
    /// Accepted by the server, and neither at the provider nor at rest with a reason; or claimed
    /// to be at the provider, which does not know it.
    pub(super) lost: Vec<String>,
    /// Went out more than once without being marked as a possible duplicate, and no copy failed;
    /// or went out without being asked for.
    pub(super) doubled: Vec<String>,
    /// Messages whose last status has not reached the server, because its callback was lost.
    pub(super) behind: usize,
    /// Messages that the provider accepted.
    pub(super) at_provider: usize,
}

/// Compares. `messages` are all that the server accepted, by id, as it shows them now.
pub(super) fn compare(messages: &[(String, Option<Value>)], truth: &[TruthMessage]) -> Compared {
    let by_sid: HashMap<&str, &TruthMessage> = truth.iter().map(|t| (t.sid.as_str(), t)).collect();
    let mut found = Compared {
        at_provider: truth.len(),
        ..Compared::default()
    };
    let mut claimed: HashSet<String> = HashSet::new();
    // Per person, the messages with an attempt whose SID is not known.
    let mut in_doubt: HashMap<String, Vec<(String, bool)>> = HashMap::new();
    for (id, message) in messages {
        let Some(message) = message else {
            found.lost.push(id.clone());
            continue;
        };
        let sids = sids(message);
        let copies: Vec<&&TruthMessage> = sids
            .iter()
            .filter_map(|sid| by_sid.get(sid.as_str()))
            .collect();
        let marked = message.get("possible_duplicate") == Some(&Value::Bool(true));
        let went = copies.iter().filter(|copy| !failed(copy)).count();
        if went > 1 && !marked {
            found.doubled.push(id.clone());
        }
        if !accounted_for(&text(message, "state"), went, copies.len()) {
            found.lost.push(id.clone());
        }
        let last = copies.last().and_then(|copy| copy.statuses.last());
        if last.is_some_and(|last| last.status != text(message, "state")) {
            found.behind += 1;
        }
        if unanswered(message) > 0 {
            let went_already = went > 0 && !marked;
            let doubts = in_doubt.entry(text(message, "to")).or_default();
            doubts.push((id.clone(), went_already));
        }
        claimed.extend(sids);
    }
    for copy in truth
        .iter()
        .filter(|t| !claimed.contains(&t.sid) && !failed(t))
    {
        // It belongs to an attempt that could not be settled, or nobody asked for it.
        match in_doubt.get_mut(&person(&copy.to)).and_then(Vec::pop) {
            Some((_, false)) => {}
            Some((id, true)) => found.doubled.push(id),
            None => found.doubled.push(copy.sid.clone()),
        }
    }
    found
}

/// Whether the server's state of a message is one that the provider's truth allows.
fn accounted_for(state: &str, went: usize, copies: usize) -> bool {
    match state {
        "sent" | "delivered" | "read" => went > 0,
        "undelivered" => copies > 0,
        // Never handed over, refused, or in doubt: it rests, with the reason on record.
        "failed" | "suppressed" | "expired" | "canceled" | "unknown" => true,
        // Still on its way when it should have come to rest.
        _ => false,
    }
}

fn failed(copy: &TruthMessage) -> bool {
    let last = copy.statuses.last().map(|status| status.status.as_str());
    matches!(last, Some("failed" | "undelivered" | "canceled"))
}

fn attempts(message: &Value) -> impl Iterator<Item = &Value> {
    message
        .get("attempts")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

fn sids(message: &Value) -> Vec<String> {
    attempts(message)
        .map(|attempt| text(attempt, "provider_sid"))
        .filter(|sid| !sid.is_empty())
        .collect()
}

/// Attempts that may have reached the provider without a SID in the answer.
fn unanswered(message: &Value) -> usize {
    attempts(message)
        .filter(|attempt| {
            text(attempt, "provider_sid").is_empty() && text(attempt, "outcome") == "unknown"
        })
        .count()
}

/// The canonical address: both ninth-digit forms are one person.
fn person(address: &str) -> String {
    Address::parse(address, Context::Inbound).map_or_else(
        |_| address.to_owned(),
        |parsed| parsed.address.canonical().to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use simulator::{TruthCallback, TruthStatus};

    use super::*;

    fn copy(sid: &str, to: &str, statuses: &[&str]) -> TruthMessage {
        TruthMessage {
            sid: sid.to_owned(),
            to: format!("whatsapp:{to}"),
            from: None,
            messaging_service_sid: None,
            body: String::new(),
            content_sid: None,
            content_variables: None,
            status_callback: None,
            received_at: String::new(),
            accepted_at: String::new(),
            answered: "201".to_owned(),
            statuses: statuses
                .iter()
                .map(|status| TruthStatus {
                    status: (*status).to_owned(),
                    at: String::new(),
                    error_code: None,
                    callback: TruthCallback::default(),
                })
                .collect(),
        }
    }

    fn message(
        id: &str,
        state: &str,
        attempts: &[(&str, Option<&str>)],
    ) -> (String, Option<Value>) {
        let attempts: Vec<Value> = attempts
            .iter()
            .map(|(outcome, sid)| json!({ "outcome": outcome, "provider_sid": sid }))
            .collect();
        let value = json!({
            "id": id, "state": state, "to": "+5585988887777", "possible_duplicate": false,
            "attempts": attempts,
        });
        (id.to_owned(), Some(value))
    }

    const TO: &str = "+5585988887777";
    const OTHER_FORM: &str = "+558588887777";

    #[test]
    fn what_agrees_is_neither_lost_nor_doubled() {
        let messages = [
            message("a", "read", &[("sent", Some("SM1"))]),
            message(
                "b",
                "delivered",
                &[("sent", Some("SM2")), ("sent", Some("SM3"))],
            ),
            message("c", "suppressed", &[]),
            message("d", "unknown", &[("unknown", None)]),
        ];
        let truth = [
            copy("SM1", TO, &["sent", "delivered", "read"]),
            copy("SM2", TO, &["failed"]),
            copy("SM3", OTHER_FORM, &["sent", "delivered"]),
            copy("SM4", TO, &["sent", "delivered"]),
        ];
        let found = compare(&messages, &truth);
        assert!(found.lost.is_empty() && found.doubled.is_empty());
        assert_eq!((found.behind, found.at_provider), (0, 4));
    }

    #[test]
    fn what_is_missing_is_lost() {
        let messages = [
            ("a".to_owned(), None),
            message("b", "queued", &[("open", None)]),
            message("c", "delivered", &[("sent", Some("SM9"))]),
        ];
        assert_eq!(compare(&messages, &[]).lost, ["a", "b", "c"]);
    }

    #[test]
    fn two_copies_and_unasked_ones_are_doubled() {
        let messages = [
            message(
                "a",
                "read",
                &[("unknown", Some("SM1")), ("sent", Some("SM2"))],
            ),
            message("b", "read", &[("unknown", None), ("sent", Some("SM3"))]),
        ];
        let truth = [
            copy("SM1", TO, &["sent"]),
            copy("SM2", TO, &["sent"]),
            copy("SM3", TO, &["sent"]),
            copy("SM4", TO, &["sent"]),
            copy("SM5", "+5511988880000", &["sent"]),
        ];
        assert_eq!(compare(&messages, &truth).doubled, ["a", "b", "SM5"]);
    }

    #[test]
    fn a_lost_last_report_leaves_the_server_behind() {
        let messages = [message("a", "delivered", &[("sent", Some("SM1"))])];
        let truth = [copy("SM1", TO, &["sent", "delivered", "read"])];
        assert_eq!(compare(&messages, &truth).behind, 1);
    }
}
