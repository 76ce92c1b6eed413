//! `recado messages retry` and `cancel` for many messages: counted first, then changed step by step.

use std::collections::BTreeMap;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value, json};

use super::client::Client;
use super::exit::{Exit, Failure};
use super::print;
use super::text::text;

/// Messages that one request changes.
const STEP: u64 = 1_000;
/// Fields of an answer that are numbers.
const NUMBERS: [&str; 3] = ["matched", "affected", "skipped"];
/// Fields of an answer that are counts of several things.
const GROUPS: [&str; 3] = ["by_state", "by_code", "by_sender"];

/// Which messages.
#[derive(Args)]
pub(super) struct Selected {
    /// The id of the message; without it, the messages that the filter finds
    #[arg(required_unless_present = "state", conflicts_with_all = ["state", "since", "until", "error", "sender", "template", "dry_run", "yes"])]
    pub(super) id: Option<String>,
    /// Messages in this state
    #[arg(long)]
    state: Option<String>,
    /// Accepted at or after (RFC 3339)
    #[arg(long, requires = "state")]
    since: Option<String>,
    /// Accepted before (RFC 3339); now, if not given
    #[arg(long, requires = "state")]
    until: Option<String>,
    /// Only with this error code
    #[arg(long, requires = "state")]
    error: Option<u32>,
    /// Only from this sender
    #[arg(long, requires = "state")]
    sender: Option<String>,
    /// Only with this template (ContentSid)
    #[arg(long, requires = "state")]
    template: Option<String>,
    /// Count the messages, and change nothing
    #[arg(long, requires = "state")]
    dry_run: bool,
    /// Do not ask
    #[arg(long, requires = "state")]
    yes: bool,
}

impl Selected {
    fn filter(&self) -> Map<String, Value> {
        let error = self.error.map(Value::from);
        let word = |word: &Option<String>| word.clone().map(Value::from);
        [
            ("state", word(&self.state)),
            ("since", word(&self.since)),
            ("until", word(&self.until)),
            ("error_code", error),
            ("sender", word(&self.sender)),
            ("template", word(&self.template)),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect()
    }
}

/// What several answers say together.
#[derive(Default)]
struct Sum {
    numbers: BTreeMap<&'static str, u64>,
    groups: BTreeMap<&'static str, BTreeMap<String, u64>>,
}

impl Sum {
    fn add(&mut self, answer: &Value) {
        for name in NUMBERS {
            *self.numbers.entry(name).or_default() += number(answer, name);
        }
        for name in GROUPS {
            let group = self.groups.entry(name).or_default();
            for (what, n) in answer
                .get(name)
                .and_then(Value::as_object)
                .into_iter()
                .flatten()
            {
                *group.entry(what.clone()).or_default() += n.as_u64().unwrap_or_default();
            }
        }
    }

    fn of(&self, name: &str) -> u64 {
        self.numbers.get(name).copied().unwrap_or_default()
    }

    fn json(&self, dry_run: bool, until: &str) -> Value {
        let mut all = json!({ "dry_run": dry_run, "until": until });
        if let Some(fields) = all.as_object_mut() {
            for name in NUMBERS {
                fields.insert(name.to_owned(), json!(self.of(name)));
            }
            for name in GROUPS {
                let group = self.groups.get(name).cloned().unwrap_or_default();
                fields.insert(name.to_owned(), json!(group));
            }
        }
        all
    }

    fn show(&self) {
        let mut rows = Vec::new();
        for (name, what) in [
            ("by_state", "state"),
            ("by_code", "error"),
            ("by_sender", "sender"),
        ] {
            for (word, n) in self.groups.get(name).into_iter().flatten() {
                rows.push(vec![what.to_owned(), word.clone(), n.to_string()]);
            }
        }
        if !rows.is_empty() {
            print::table(&["by", "", "messages"], rows);
        }
    }
}

/// Counts what the filter finds, asks, and gives the command `verb` to as many messages as were
/// counted.
pub(super) async fn run(
    client: &Client,
    verb: &str,
    selected: &Selected,
    json: bool,
) -> Result<Exit, Failure> {
    if !selected.dry_run && !selected.yes && !print::can_ask() {
        return Err(Failure::Usage(vec![
            "nobody can be asked here: look with --dry-run, then give --yes".to_owned(),
        ]));
    }
    let path = format!("/api/v1/messages/{verb}");
    let mut filter = selected.filter();
    let counted = count(client, &path, &mut filter).await?;
    let until = filter.get("until").and_then(Value::as_str);
    let until = until.unwrap_or_default().to_owned();
    if json && selected.dry_run {
        print::json(&counted.json(true, &until));
    } else if !json {
        counted.show();
    }
    let found = counted.of("matched");
    if selected.dry_run {
        if !json {
            print::line(&format!("{found} messages found, nothing changed"));
        }
        return Ok(Exit::Complete);
    }
    if found > 0 && !selected.yes && !print::ask(&format!("{verb} {found} messages?")) {
        print::note("Nothing was changed.");
        return Ok(Exit::Complete);
    }
    let bar = progress(found);
    let mut done = Sum::default();
    let result = change(client, &path, &filter, found, &mut done, &bar).await;
    bar.finish_and_clear();
    let stopped = match result {
        // What was changed before must still be reported.
        Err(failure) if done.of("matched") > 0 => Some(failure),
        Err(failure) => return Err(failure),
        Ok(()) => None,
    };
    let (affected, skipped) = (done.of("affected"), done.of("skipped"));
    if json {
        print::json(&done.json(false, &until));
    } else {
        print::line(&format!("{affected} messages changed, {skipped} left"));
    }
    if skipped > 0 {
        print::note("Those that were left had changed meanwhile, or allow no more attempts.");
    }
    if let Some(failure) = &stopped {
        print::problem(&format!(
            "{} Give the command again: it goes on with the rest.",
            failure.reason()
        ));
    }
    Ok(if skipped == 0 && stopped.is_none() {
        Exit::Complete
    } else {
        Exit::Partial
    })
}

/// Counts everything that the filter finds. From then on the filter has an end: what is accepted later
/// is never found.
async fn count(
    client: &Client,
    path: &str,
    filter: &mut Map<String, Value>,
) -> Result<Sum, Failure> {
    let mut sum = Sum::default();
    let mut cursor = None;
    loop {
        let body = with(
            filter,
            [("dry_run", json!(true)), ("cursor", json!(cursor))],
        );
        let answer = client.post(path, Some(&body)).await?.good()?;
        sum.add(&answer);
        filter.insert("until".to_owned(), text(&answer, "until").into());
        cursor = next(&answer);
        if cursor.is_none() {
            return Ok(sum);
        }
    }
}

/// Changes as many messages as were counted, and never more.
async fn change(
    client: &Client,
    path: &str,
    filter: &Map<String, Value>,
    found: u64,
    done: &mut Sum,
    bar: &ProgressBar,
) -> Result<(), Failure> {
    let mut cursor = None;
    while done.of("matched") < found {
        let limit = (found - done.of("matched")).min(STEP);
        let body = with(filter, [("limit", json!(limit)), ("cursor", json!(cursor))]);
        let answer = client.post(path, Some(&body)).await?.good()?;
        done.add(&answer);
        bar.set_position(done.of("matched"));
        cursor = next(&answer);
        if cursor.is_none() {
            break;
        }
    }
    Ok(())
}

fn with(filter: &Map<String, Value>, more: [(&str, Value); 2]) -> Value {
    let mut body = filter.clone();
    body.extend(more.map(|(name, value)| (name.to_owned(), value)));
    Value::Object(body)
}

fn next(answer: &Value) -> Option<String> {
    let cursor = answer.get("next_cursor").and_then(Value::as_str);
    cursor.map(str::to_owned)
}

fn number(answer: &Value, name: &str) -> u64 {
    answer.get(name).and_then(Value::as_u64).unwrap_or_default()
}

fn progress(length: u64) -> ProgressBar {
    if !print::is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length).with_style(style)
}
