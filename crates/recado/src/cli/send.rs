//! `recado send`: one message, or a spreadsheet of them.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use futures_util::stream::{self, StreamExt};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value, json};

use super::client::{Answer, Client, Server};
use super::exit::{Exit, Failure};
use super::print;
use super::sheet::{self, Defaults, Row, Verdict};
use super::text::{encoded, text};

/// Rows of one request.
const CHUNK: usize = 500;
/// Requests that are open at once while waiting.
const REQUESTS_MAX: usize = 16;

/// Send one message, or a spreadsheet of them, through a running server
#[derive(Args)]
#[command(
    after_help = "The sheet has a column `to` (or telefone, celular, phone …) and `body`, \
`content_sid` or `media_url`; columns named 1, 2, 3 … or `var:NAME` fill the template. Sending the \
same file again with the same API key within 7 days sends no message twice.

Exit codes: 0 when everything was accepted and nothing is known to have failed; 1 when the server \
refused the request or did not answer; 2 for wrong usage; 3 when a row was refused or a message \
failed, expired, was canceled or suppressed.

Examples:
  recado send --to '(85) 98888-7777' --body 'Olá!'
  recado send --to 85988887777 --content-sid HX… --var 1=Ana --var 2=14:00
  recado send --csv people.csv --dry-run
  recado send --csv people.csv --content-sid HX… --wait 60"
)]
pub(super) struct Send {
    #[command(flatten)]
    server: Server,
    /// The recipient, as people type numbers
    #[arg(long, required_unless_present = "csv")]
    to: Option<String>,
    /// A spreadsheet saved as CSV
    #[arg(long, value_name = "FILE", conflicts_with = "to")]
    csv: Option<PathBuf>,
    /// Free-form text
    #[arg(long)]
    body: Option<String>,
    /// The SID of a content template
    #[arg(long)]
    content_sid: Option<String>,
    /// A template variable, NAME=VALUE
    #[arg(long = "var", value_name = "NAME=VALUE", conflicts_with = "csv")]
    variables: Vec<String>,
    /// The URL of a media file
    #[arg(long)]
    media_url: Option<String>,
    /// utility, authentication, marketing or service
    #[arg(long)]
    kind: Option<String>,
    /// urgent, normal or bulk
    #[arg(long)]
    priority: Option<String>,
    /// Do not send before this time (RFC 3339)
    #[arg(long)]
    send_at: Option<String>,
    /// Do not send at or after this time (RFC 3339)
    #[arg(long)]
    expires_at: Option<String>,
    /// once, at_most_once, at_least_once or ask
    #[arg(long)]
    delivery: Option<String>,
    /// enforce, or assume_open to send free-form text although no open window is known
    #[arg(long)]
    window: Option<String>,
    /// refuse, or allow to send the same content to the same person again
    #[arg(long)]
    dedupe: Option<String>,
    /// Validate each row; send nothing (no server is needed)
    #[arg(long, requires = "csv")]
    dry_run: bool,
    /// Also send to numbers that look like typing mistakes
    #[arg(long, requires = "csv")]
    send_doubtful: bool,
    /// How many seconds to wait for final states
    #[arg(long, default_value_t = 30)]
    wait: u64,
    /// Write one JSON object for each row
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(command: Send) -> Result<Exit, Failure> {
    let fields = fields(&command);
    let Some(path) = &command.csv else {
        return send_one(&command, fields).await;
    };
    let defaults = Defaults {
        fields,
        doubtful: command.send_doubtful,
    };
    let rows = sheet::read(path, &defaults)?;
    if command.dry_run {
        show_verdicts(&rows, command.json);
        let bad = rows
            .iter()
            .any(|row| matches!(row.verdict, Verdict::Bad { .. }));
        return Ok(if bad { Exit::Partial } else { Exit::Complete });
    }
    let client = Client::new(&command.server)?;
    let mut results = submit(&client, &rows).await?;
    wait(&client, &mut results, Duration::from_secs(command.wait)).await;
    show_results(&rows, &results, command.json);
    Ok(end_of(&results))
}

fn fields(command: &Send) -> Vec<(&'static str, String)> {
    [
        ("body", &command.body),
        ("content_sid", &command.content_sid),
        ("media_url", &command.media_url),
        ("kind", &command.kind),
        ("priority", &command.priority),
        ("send_at", &command.send_at),
        ("expires_at", &command.expires_at),
        ("delivery", &command.delivery),
        ("window", &command.window),
        ("dedupe", &command.dedupe),
    ]
    .into_iter()
    .filter_map(|(name, value)| value.clone().map(|value| (name, value)))
    .collect()
}

async fn send_one(command: &Send, fields: Vec<(&'static str, String)>) -> Result<Exit, Failure> {
    let client = Client::new(&command.server)?;
    let mut message: Map<String, Value> = fields
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    message.insert("to".to_owned(), command.to.clone().into());
    let mut variables = Map::new();
    for variable in &command.variables {
        let Some((name, value)) = variable.split_once('=') else {
            return Err(Failure::Usage(vec![format!(
                "--var {variable}: write NAME=VALUE"
            )]));
        };
        variables.insert(name.to_owned(), value.into());
    }
    if !variables.is_empty() {
        message.insert("variables".to_owned(), variables.into());
    }
    let answer = client
        .post("/api/v1/messages", Some(&message.into()))
        .await?
        .good()?;
    let mut results = vec![RowResult {
        id: Some(text(&answer, "id")),
        state: text(&answer, "state"),
        remark: String::new(),
        repeated: false,
    }];
    wait(&client, &mut results, Duration::from_secs(command.wait)).await;
    let end = end_of(&results);
    for result in results {
        if command.json {
            print::json(
                &json!({ "id": result.id, "state": result.state, "remark": result.remark }),
            );
        } else {
            let id = result.id.unwrap_or_default();
            let said = format!("{id} is {} {}", result.state, result.remark);
            print::line(said.trim_end());
        }
    }
    Ok(end)
}

/// States in which a message does not reach the person.
const FAILED_STATES: [&str; 5] = ["failed", "undelivered", "suppressed", "expired", "canceled"];

fn end_of(results: &[RowResult]) -> Exit {
    let bad = |result: &RowResult| {
        (result.id.is_none() && !result.repeated) || FAILED_STATES.contains(&result.state.as_str())
    };
    if results.iter().any(bad) {
        Exit::Partial
    } else {
        Exit::Complete
    }
}

/// The result of a row.
#[derive(Clone, Default)]
pub(super) struct RowResult {
    /// The message, when it was accepted.
    pub(super) id: Option<String>,
    /// Its state, or `refused`, `repeated` or `unanswered`.
    pub(super) state: String,
    /// Why.
    pub(super) remark: String,
    /// Whether an earlier row says the same.
    pub(super) repeated: bool,
}

/// Sends the valid rows, many in one request.
pub(super) async fn submit(client: &Client, rows: &[Row]) -> Result<Vec<RowResult>, Failure> {
    let mut results: Vec<RowResult> = rows.iter().map(first_result).collect();
    let good: Vec<(usize, &Value)> = rows
        .iter()
        .enumerate()
        .filter_map(|(place, row)| match &row.verdict {
            Verdict::Good { message, .. } => Some((place, message)),
            Verdict::Repeated { .. } | Verdict::Bad { .. } => None,
        })
        .collect();
    let bar = progress(good.len(), "accepted");
    for chunk in good.chunks(CHUNK) {
        let messages: Vec<&Value> = chunk.iter().map(|(_, message)| *message).collect();
        let body = json!({ "messages": messages });
        let answer = client.post("/api/v1/messages/bulk", Some(&body)).await;
        let answer = match answer.and_then(Answer::good) {
            Ok(answer) => answer,
            // What was accepted before must still be reported.
            Err(failure) if results.iter().any(|result| result.id.is_some()) => {
                stopped(&mut results, &failure);
                break;
            }
            Err(failure) => return Err(failure),
        };
        let items = answer
            .get("results")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        for ((place, _), item) in chunk.iter().zip(items) {
            let Some(result) = results.get_mut(*place) else {
                continue;
            };
            match item.get("error").filter(|error| !error.is_null()) {
                Some(error) => {
                    "refused".clone_into(&mut result.state);
                    result.remark = text(error, "detail");
                }
                None => {
                    result.id = Some(text(&item, "id"));
                    result.state = text(&item, "state");
                }
            }
        }
        bar.inc(u64::try_from(chunk.len()).unwrap_or_default());
    }
    bar.finish_and_clear();
    Ok(results)
}

/// Marks the rows without an answer, and says why there is none.
fn stopped(results: &mut [RowResult], failure: &Failure) {
    let why = failure.reason();
    for result in results.iter_mut().filter(|result| result.state.is_empty()) {
        "unanswered".clone_into(&mut result.state);
        result.remark = format!("{why} Send the file again: no message is sent twice.");
    }
}

fn first_result(row: &Row) -> RowResult {
    match &row.verdict {
        Verdict::Good { .. } => RowResult::default(),
        Verdict::Repeated { of } => RowResult {
            state: "repeated".to_owned(),
            remark: format!("the same as line {of}"),
            repeated: true,
            id: None,
        },
        Verdict::Bad { detail, .. } => RowResult {
            state: "refused".to_owned(),
            remark: detail.clone(),
            ..RowResult::default()
        },
    }
}

/// Polls the messages until all are in a resting state or the time is over.
async fn wait(client: &Client, results: &mut [RowResult], time: Duration) {
    let end = Instant::now() + time;
    let total = results.iter().filter(|result| result.id.is_some()).count();
    let bar = progress(total, "settled");
    loop {
        let open: Vec<String> = results
            .iter()
            .filter(|result| !rests(&result.state))
            .filter_map(|result| result.id.clone())
            .collect();
        bar.set_position(u64::try_from(total - open.len().min(total)).unwrap_or_default());
        if open.is_empty() || Instant::now() >= end {
            break;
        }
        let answers: HashMap<String, Value> = stream::iter(open)
            .map(|id| async move {
                let path = format!("/api/v1/messages/{}", encoded(&id));
                let answer = client.get(&path).await.and_then(Answer::good);
                (id, answer.unwrap_or(Value::Null))
            })
            .buffer_unordered(REQUESTS_MAX)
            .collect()
            .await;
        for result in results.iter_mut() {
            let answer = result.id.as_ref().and_then(|id| answers.get(id));
            if let Some(answer) = answer.filter(|answer| !answer.is_null()) {
                result.state = text(answer, "state");
                result.remark = answer
                    .get("error")
                    .filter(|error| !error.is_null())
                    .map_or_else(String::new, |error| text(error, "meaning"));
                if result.remark.is_empty() && result.state == "suppressed" {
                    result.remark = "the person has opted out".to_owned();
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    bar.finish_and_clear();
}

fn rests(state: &str) -> bool {
    state == "refused"
        || state == "repeated"
        || delivery::state::State::from_name(state).is_none_or(|state| state.is_resting())
}

fn show_verdicts(rows: &[Row], json: bool) {
    if json {
        for row in rows {
            let (verdict, detail) = verdict_words(row);
            print::json(&json!({
                "line": row.line, "input": row.input, "verdict": verdict, "detail": detail,
            }));
        }
        return;
    }
    print::table(
        &["line", "number as typed", "verdict", "remarks"],
        rows.iter().map(|row| {
            let (verdict, detail) = verdict_words(row);
            vec![row.line.to_string(), row.input.clone(), verdict, detail]
        }),
    );
    let good = rows
        .iter()
        .filter(|row| matches!(row.verdict, Verdict::Good { .. }))
        .count();
    print::line(&format!("{good} of {} rows can be sent", rows.len()));
}

fn verdict_words(row: &Row) -> (String, String) {
    match &row.verdict {
        Verdict::Good { address, flags, .. } => (
            "ok".to_owned(),
            format!("{} {}", address.canonical(), flags.join(", ")),
        ),
        Verdict::Repeated { of } => ("repeated".to_owned(), format!("the same as line {of}")),
        Verdict::Bad { code, detail } => (code.clone(), detail.clone()),
    }
}

fn show_results(rows: &[Row], results: &[RowResult], json: bool) {
    if json {
        for (row, result) in rows.iter().zip(results) {
            print::json(&json!({
                "line": row.line, "input": row.input, "id": result.id, "state": result.state,
                "remark": result.remark,
            }));
        }
        return;
    }
    print::table(
        &["line", "number as typed", "state", "remarks"],
        rows.iter().zip(results).map(|(row, result)| {
            vec![
                row.line.to_string(),
                row.input.clone(),
                result.state.clone(),
                result.remark.clone(),
            ]
        }),
    );
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for result in results {
        *counts.entry(result.state.as_str()).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_unstable();
    let words: Vec<String> = counts
        .into_iter()
        .map(|(state, n)| format!("{n} {state}"))
        .collect();
    print::line(&words.join(", "));
}

fn progress(length: usize, word: &'static str) -> ProgressBar {
    if !print::is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(u64::try_from(length).unwrap_or_default())
        .with_style(style)
        .with_message(word)
}
