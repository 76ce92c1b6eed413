//! `recado resume`: lets a restored, copied or moved database send again.

use clap::Args;

use super::client::{Client, Server};
use super::exit::{Exit, Failure};
use super::print;

/// Let a restored, copied or moved database send again
#[derive(Args)]
#[command(
    after_help = "A server that finds its database restored, copied or moved sends nothing, and says so in its log
and in /api/v1/health. Make sure that no other server uses the database or its original.

Examples:
  recado resume --after-restore
  recado resume --after-move --json"
)]
pub(super) struct Resume {
    /// It was restored or copied: look for what was waiting at Twilio before it is sent
    #[arg(
        long,
        required_unless_present = "after_move",
        conflicts_with = "after_move"
    )]
    after_restore: bool,
    /// It was only moved, and nothing was sent from elsewhere since: send at once
    #[arg(long)]
    after_move: bool,
    #[command(flatten)]
    server: Server,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(command: Resume) -> Result<Exit, Failure> {
    let client = Client::new(&command.server)?;
    let after = if command.after_move {
        "move"
    } else {
        "restore"
    };
    let body = serde_json::json!({ "after": after });
    let answer = client.post("/api/v1/resume", Some(&body)).await?.good()?;
    if command.json {
        print::json(&answer);
        return Ok(Exit::Complete);
    }
    match answer.get("resumed").and_then(serde_json::Value::as_u64) {
        Some(0) | None => print::note("No sender was paused for this reason."),
        Some(senders) if command.after_restore => print::note(&format!(
            "{senders} senders resumed. What was waiting is looked for at Twilio before it leaves."
        )),
        Some(senders) => print::note(&format!("{senders} senders resumed.")),
    }
    Ok(Exit::Complete)
}
