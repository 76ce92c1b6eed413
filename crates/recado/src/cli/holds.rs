//! `recado holds`: who waits because of what the provider said.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::client::{Client, Server};
use super::exit::{Exit, Failure};
use super::print;
use super::text::{encoded, masked, text};

/// List or lift holds: messages that wait because of what Twilio said about one of them
#[derive(Args)]
#[command(after_help = "Examples:
  recado holds list
  recado holds list --scope template --json
  recado holds lift 12")]
pub(super) struct HoldsCommand {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    server: Server,
    /// Write JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Action {
    /// List the holds that are in effect, newest first
    List {
        /// Only of this scope: recipient, template, sender or account
        #[arg(long)]
        scope: Option<String>,
        /// The most holds to list
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// Lift a hold: what waits for it is due again
    Lift {
        /// The id of the hold
        id: i64,
    },
}

pub(super) async fn run(command: HoldsCommand) -> Result<Exit, Failure> {
    let client = Client::new(&command.server)?;
    match command.action {
        Action::List { scope, limit } => list(&client, scope.as_deref(), limit, command.json).await,
        Action::Lift { id } => {
            client
                .delete(&format!("/api/v1/holds/{id}"))
                .await?
                .good()?;
            if command.json {
                print::json(&serde_json::json!({ "id": id, "lifted": true }));
            } else {
                print::line(&format!("hold {id} is lifted"));
            }
            Ok(Exit::Complete)
        }
    }
}

async fn list(
    client: &Client,
    scope: Option<&str>,
    limit: usize,
    json: bool,
) -> Result<Exit, Failure> {
    let mut left = limit;
    let mut cursor: Option<String> = None;
    let mut rows = Vec::new();
    while left > 0 {
        let mut path = format!("/api/v1/holds?limit={}", left.min(200));
        for (name, value) in [("scope", scope), ("cursor", cursor.as_deref())] {
            if let Some(value) = value {
                path.push_str(&format!("&{name}={}", encoded(value)));
            }
        }
        let page = client.get(&path).await?.good()?;
        let holds = page
            .get("holds")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        left = left.saturating_sub(holds.len());
        if json {
            holds.iter().for_each(print::json);
        } else {
            rows.extend(holds.iter().map(row));
        }
        cursor = page
            .get("next_cursor")
            .and_then(Value::as_str)
            .map(str::to_owned);
        if cursor.is_none() {
            break;
        }
    }
    if !json {
        print::table(&["id", "scope", "held", "code", "since", "until"], rows);
    }
    Ok(Exit::Complete)
}

fn row(hold: &Value) -> Vec<String> {
    let until = text(hold, "until");
    let held = match text(hold, "scope").as_str() {
        "recipient" => masked(&text(hold, "to")),
        "template" => text(hold, "content_sid"),
        "sender" => text(hold, "sender"),
        _ => String::new(),
    };
    vec![
        text(hold, "id"),
        text(hold, "scope"),
        held,
        text(hold, "code"),
        text(hold, "since"),
        if until.is_empty() {
            "lifted".to_owned()
        } else {
            until
        },
    ]
}
