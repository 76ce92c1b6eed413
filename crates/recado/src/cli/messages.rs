//! `recado messages`: the messages of a running server.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::bulk_command::{self, Selected};
use super::client::{Client, Server};
use super::exit::{Exit, Failure};
use super::print;
use super::text::{encoded, error_text, masked, text};

/// List, show, cancel, retry or watch messages of a running server
#[derive(Args)]
#[command(after_help = "Examples:
  recado messages list --state failed
  recado messages list --to '(85) 98888-7777' --json
  recado messages show 0198c7d0-…
  recado messages retry 0198c7d0-…
  recado messages retry --state failed --error 63016 --since 2026-12-01T00:00:00-03:00 --dry-run
  recado messages watch")]
pub(super) struct MessagesCommand {
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
    /// List messages, newest first
    List(List),
    /// Show a message with its full history
    Show {
        /// The id of the message
        id: String,
    },
    /// Cancel a message that has not been sent, or all that a filter finds
    Cancel(Selected),
    /// Retry a failed, unknown or held message, or all that a filter finds
    Retry(Selected),
    /// Follow events as they happen
    Watch {
        /// Start after this event; 0 starts at the beginning of the log
        #[arg(long)]
        after: Option<i64>,
    },
}

#[derive(Args)]
struct List {
    /// Only in this state
    #[arg(long)]
    state: Option<String>,
    /// Only to this person, in any form of the number
    #[arg(long)]
    to: Option<String>,
    /// Only from this sender
    #[arg(long)]
    sender: Option<String>,
    /// Only with this error code
    #[arg(long)]
    error: Option<u32>,
    /// Accepted at or after (RFC 3339)
    #[arg(long)]
    since: Option<String>,
    /// Accepted before (RFC 3339)
    #[arg(long)]
    until: Option<String>,
    /// The most messages to list
    #[arg(long, default_value_t = 50)]
    limit: usize,
}

pub(super) async fn run(command: MessagesCommand) -> Result<Exit, Failure> {
    let client = Client::new(&command.server)?;
    match command.action {
        Action::List(list) => show_list(&client, &list, command.json).await,
        Action::Show { id } => {
            let message = client
                .get(&format!("/api/v1/messages/{}", encoded(&id)))
                .await?
                .good()?;
            if command.json {
                print::json(&message);
            } else {
                show(&message);
            }
            Ok(Exit::Complete)
        }
        Action::Cancel(selected) => obey(&client, &selected, "cancel", command.json).await,
        Action::Retry(selected) => obey(&client, &selected, "retry", command.json).await,
        Action::Watch { after } => watch(&client, after, command.json).await,
    }
}

async fn show_list(client: &Client, list: &List, json: bool) -> Result<Exit, Failure> {
    let error = list.error.map(|code| code.to_string());
    let filters = [
        ("state", list.state.as_deref()),
        ("to", list.to.as_deref()),
        ("sender", list.sender.as_deref()),
        ("error", error.as_deref()),
        ("since", list.since.as_deref()),
        ("until", list.until.as_deref()),
    ];
    let mut rows = Vec::new();
    let each = |message: &Value| match json {
        true => print::json(message),
        false => rows.push(list_row(message)),
    };
    client.list("messages", &filters, list.limit, each).await?;
    if !json {
        print::table(&["id", "state", "to", "accepted", "error"], rows);
    }
    Ok(Exit::Complete)
}

/// Numbers are masked on the screen: a list is often looked at together with others.
fn list_row(message: &Value) -> Vec<String> {
    vec![
        text(message, "id"),
        text(message, "state"),
        masked(&text(message, "to")),
        text(message, "accepted_at"),
        error_text(message),
    ]
}

fn show(message: &Value) {
    for field in [
        "id",
        "state",
        "from",
        "kind",
        "priority",
        "delivery",
        "content_sid",
        "business_key",
        "provider_sid",
        "accepted_at",
        "send_at",
        "expires_at",
        "due_at",
        "sent_at",
        "delivered_at",
        "read_at",
        "failed_at",
    ] {
        let value = text(message, field);
        if !value.is_empty() {
            print::line(&format!("{field:<14} {value}"));
        }
    }
    print::line(&format!("{:<14} {}", "to", masked(&text(message, "to"))));
    if let Some(error) = message.get("error").filter(|error| !error.is_null()) {
        print::line(&format!("{:<14} {}", "error", error_text(message)));
        print::line(&format!("{:<14} {}", "advice", text(error, "advice")));
    }
    if message.get("possible_duplicate").and_then(Value::as_bool) == Some(true) {
        print::line("               the person may have received it twice");
    }
    let history = message
        .get("history")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let rows = history.iter().map(|entry| {
        vec![
            text(entry, "at"),
            text(entry, "event"),
            text(entry, "state"),
            text(entry, "source"),
            text(entry, "attempt"),
            text(entry, "provider_status"),
            error_text(entry),
            text(entry, "detail"),
        ]
    });
    print::table(
        &[
            "at", "event", "state", "source", "attempt", "provider", "error", "detail",
        ],
        rows,
    );
}

async fn obey(
    client: &Client,
    selected: &Selected,
    verb: &str,
    json: bool,
) -> Result<Exit, Failure> {
    match &selected.id {
        Some(id) => send_command(client, id, verb, json).await,
        None => bulk_command::run(client, verb, selected, json).await,
    }
}

async fn send_command(client: &Client, id: &str, verb: &str, json: bool) -> Result<Exit, Failure> {
    let path = format!("/api/v1/messages/{}/{verb}", encoded(id));
    let answer = client.post(&path, None).await?.good()?;
    if json {
        print::json(&answer);
    } else {
        print::line(&format!(
            "{} is {}",
            text(&answer, "id"),
            text(&answer, "state")
        ));
    }
    Ok(Exit::Complete)
}

async fn watch(client: &Client, after: Option<i64>, json: bool) -> Result<Exit, Failure> {
    let path = match after {
        Some(after) => format!("/api/v1/events?after={after}"),
        None => "/api/v1/events".to_owned(),
    };
    client
        .follow(&path, |event| {
            if json {
                print::json(&event);
            } else {
                print::line(&format!(
                    "{}  {}  {:<24} {:<12} {} {}",
                    text(&event, "at"),
                    text(&event, "message_id"),
                    text(&event, "event"),
                    text(&event, "state"),
                    text(&event, "provider_status"),
                    error_text(&event),
                ));
            }
            true
        })
        .await?;
    Ok(Exit::Complete)
}
