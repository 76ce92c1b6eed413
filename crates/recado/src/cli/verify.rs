//! `recado verify`: the recount.

use clap::Args;

use super::database::open_database;
use super::exit::{Exit, Failure};
use super::print;
use crate::effects::Effects;
use crate::store::Health;

/// Recount everything from the log and report what differs
#[derive(Args)]
#[command(after_help = "Exit code 0 when nothing differs, 1 otherwise.

Examples:
  recado verify
  DATABASE_URL=sqlite:/var/lib/recado/recado.db recado verify --json")]
pub(super) struct Verify {
    /// Write JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(command: Verify) -> Result<Exit, Failure> {
    let store = open_database(&Effects::real())?;
    let report = store.verify().await?;
    if command.json {
        print::json(&serde_json::json!({
            "messages": report.messages,
            "events": report.events,
            "counters": report.counters,
            "skipped": report.skipped,
            "differences": report.differences,
        }));
    } else {
        print::line(&format!(
            "{} messages, {} events and {} counters recounted: {} differences",
            report.messages,
            report.events,
            report.counters,
            report.differences.len()
        ));
        if report.skipped > 0 {
            print::line(&format!(
                "{} groups of counters were not compared: their old messages were being removed \
                 meanwhile; run it again",
                report.skipped
            ));
        }
        for difference in &report.differences {
            print::line(difference);
        }
    }
    if report.differences.is_empty() {
        Ok(Exit::Complete)
    } else {
        Err(Failure::Other(anyhow::anyhow!(
            "what is stored differs from the log"
        )))
    }
}
