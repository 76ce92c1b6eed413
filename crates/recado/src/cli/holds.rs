//! `recado holds`: who waits because of what the provider said.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::client::{Client, Server};
use super::exit::{Exit, Failure};
use super::print;
use super::text::{masked, text};

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
    let mut rows = Vec::new();
    let each = |hold: &Value| match json {
        true => print::json(hold),
        false => rows.push(row(hold)),
    };
    client
        .list("holds", &[("scope", scope)], limit, each)
        .await?;
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
