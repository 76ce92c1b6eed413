//! `recado demo`: server and simulator together, a sheet of interview notices, injected faults, and
//! a report that is compared with the simulator's truth log.

mod report;
mod setup;
mod truth;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use clap::Args;
use futures_util::stream::{self, StreamExt};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::Value;

use self::report::Report;
use self::setup::{NOTICES, SILENT_POLL, Setup, template_sid};
use super::client::{Answer, Client};
use super::exit::{Exit, Failure};
use super::sheet::{self, Defaults, Row, Verdict};
use super::signals::EndSignals;
use super::text::text;
use super::{print, send};

/// How long to wait until every message is in a resting state.
const TIME_MAX: Duration = Duration::from_secs(50);
/// How long nothing may change before the demo ends.
const QUIET: Duration = Duration::from_millis(1_500);
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// Requests that are open at once.
const REQUESTS_MAX: usize = 32;

/// Send 500 interview notices through a local Twilio simulator with faults, and compare the results
#[derive(Args)]
#[command(after_help = "Nothing leaves this machine.

Examples:
  recado demo
  recado demo --exit
  recado demo --exit --json --seed 7")]
pub(super) struct Demo {
    /// End after the report instead of leaving everything running
    #[arg(long)]
    exit: bool,
    /// Write the report as one JSON object
    #[arg(long)]
    json: bool,
    /// The seed of the simulator's faults
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

pub(super) async fn run(command: Demo) -> Result<Exit, Failure> {
    let started = Instant::now();
    let rows = sheet::read_text(NOTICES, &Defaults::default())?;
    let setup = Setup::start(command.seed).await?;
    if !command.json {
        introduce(&setup, &rows);
    }
    let client = Client::new(&setup.server())?;
    let results = send::submit(&client, &rows).await?;
    let accepted: Vec<String> = results
        .iter()
        .filter_map(|result| result.id.clone())
        .collect();
    watch(&client, &setup, accepted.len()).await?;
    let messages = messages(&client, &accepted).await;
    let compared = truth::compare(&messages, &setup.simulator.truth());
    let numbers = client
        .get("/api/v1/metrics/delivery")
        .await
        .and_then(Answer::good)?;
    let report = Report {
        rows: &rows,
        results: &results,
        messages: &messages,
        numbers: &numbers,
        compared: &compared,
        differences: setup.differences().await?,
        seconds: started.elapsed().as_secs_f64(),
    };
    if command.json {
        print::json(&report.json());
    } else {
        report.show();
    }
    let good =
        compared.lost.is_empty() && compared.doubled.is_empty() && report.differences.is_empty();
    if !command.exit {
        let mut end = EndSignals::listen()?;
        if !command.json {
            invite(&setup);
        }
        end.wait().await;
    }
    setup.stop().await;
    if good {
        Ok(Exit::Complete)
    } else {
        Err(
            anyhow::anyhow!("the report shows lost or doubled messages, or a recount that differs")
                .into(),
        )
    }
}

fn introduce(setup: &Setup, rows: &[Row]) {
    let good = rows
        .iter()
        .filter(|row| matches!(row.verdict, Verdict::Good { .. }))
        .count();
    print::line(&format!(
        "Recado at {}, a simulated Twilio at {}",
        setup.url(),
        setup.simulator.url()
    ));
    print::line(&format!(
        "{} rows of interview notices: {good} can be sent. Injected faults: 2 % of callbacks are \
         lost, 5 % of messages are reported out of order, 1 % of requests are cut after the \
         simulator accepted them, 3 % are answered \"too many requests\"; some phones are off, \
         blocked or not on WhatsApp, and one answers SAIR.",
        rows.len()
    ));
}

/// Shows progress until nothing changes any more.
async fn watch(client: &Client, setup: &Setup, accepted: usize) -> Result<(), Failure> {
    let bars = Bars::new(accepted);
    let started = Instant::now();
    let mut last = (BTreeMap::new(), Instant::now());
    while started.elapsed() < TIME_MAX {
        let numbers = client.get("/api/v1/metrics/delivery").await?.good()?;
        bars.show(&numbers);
        let states = states(&numbers);
        if states != last.0 {
            last = (states, Instant::now());
        }
        let moving = ["accepted", "scheduled", "sending", "queued"];
        let quiet = moving
            .iter()
            .all(|state| last.0.get(*state).is_none_or(|n| *n == 0));
        let quiet = quiet && setup.simulator.pending() == 0;
        // The server asks about silent messages within this time.
        if quiet && last.1.elapsed() > QUIET.max(SILENT_POLL) {
            break;
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    bars.end();
    Ok(())
}

/// Messages by state.
fn states(numbers: &Value) -> BTreeMap<String, i64> {
    numbers
        .pointer("/groups/0/states")
        .and_then(Value::as_object)
        .map(|states| {
            states
                .iter()
                .map(|(k, v)| (k.clone(), v.as_i64().unwrap_or_default()))
                .collect()
        })
        .unwrap_or_default()
}

struct Bars {
    all: MultiProgress,
    bars: Vec<(&'static str, ProgressBar)>,
}

impl Bars {
    fn new(total: usize) -> Self {
        let all = MultiProgress::new();
        if !print::is_terminal() {
            all.set_draw_target(indicatif::ProgressDrawTarget::hidden());
        }
        let style = ProgressStyle::with_template("{msg:>10} {bar:48} {pos:>4}/{len}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        let bars = ["sent", "delivered", "read", "failed"]
            .into_iter()
            .map(|word| {
                let bar = ProgressBar::new(u64::try_from(total).unwrap_or_default());
                (
                    word,
                    all.add(bar.with_style(style.clone()).with_message(word)),
                )
            })
            .collect();
        Self { all, bars }
    }

    fn show(&self, numbers: &Value) {
        for (word, bar) in &self.bars {
            let value = numbers
                .pointer(&format!("/groups/0/{word}"))
                .and_then(Value::as_u64);
            bar.set_position(value.unwrap_or_default());
        }
    }

    fn end(self) {
        for (_, bar) in &self.bars {
            bar.abandon();
        }
        drop(self.all);
    }
}

/// Every accepted message with its attempts, as the server shows it.
async fn messages(client: &Client, ids: &[String]) -> Vec<(String, Option<Value>)> {
    stream::iter(ids.to_vec())
        .map(|id| async move {
            let answer = client.get(&format!("/api/v1/messages/{id}")).await;
            let message = answer.and_then(Answer::good).ok();
            (
                id,
                message.filter(|message| !text(message, "id").is_empty()),
            )
        })
        .buffered(REQUESTS_MAX)
        .collect()
        .await
}

fn invite(setup: &Setup) {
    let (url, key) = (setup.url(), setup.key());
    print::line("");
    print::line(&format!(
        "Server and simulator keep running; the database is in {}.",
        setup.folder()
    ));
    print::line("Send a message yourself:");
    print::line(&format!(
        "  curl -s {url}/api/v1/messages -H 'Authorization: Bearer {key}' \\\n    \
         -H 'Content-Type: application/json' \\\n    \
         -d '{{\"to\": \"(85) 98765-4321\", \"content_sid\": \"{}\", \"variables\": \
         {{\"1\": \"999\", \"2\": \"Recepcionista\", \"3\": \"10/12\", \"4\": \"14:00\"}}}}'",
        template_sid(1)
    ));
    print::line("Then look at it, at failed messages, and at the metrics:");
    for path in [
        "messages/ID",
        "messages?state=failed",
        "metrics/delivery?group_by=area",
    ] {
        print::line(&format!(
            "  curl -s '{url}/api/v1/{path}' -H 'Authorization: Bearer {key}'"
        ));
    }
    print::line("Press Ctrl-C to stop; the database is then removed.");
}
