//! `recado keys`: works on the database itself, also while a server runs on it.

use clap::{Args, Subcommand, ValueEnum};

use super::database::{open_database, open_database_of};
use super::exit::{Exit, Failure};
use super::print;
use crate::api::auth::create_key;
use crate::config::{DatabaseConfig, ProcessEnvironment};
use crate::effects::Effects;
use crate::store::{ApiKeyView, ApiKeys, KeyScope};

/// Create, list or revoke API keys
#[derive(Args)]
#[command(after_help = "Examples:
  recado keys create --name backend --scope send
  recado keys list
  recado keys revoke --id 3kf0s9dlw2xq")]
pub(super) struct KeysCommand {
    #[command(subcommand)]
    command: KeysAction,
}

#[derive(Subcommand)]
enum KeysAction {
    /// Create a key; it is shown only once
    Create {
        /// A name for the key
        #[arg(long)]
        name: String,
        /// What the key may do
        #[arg(long, value_enum)]
        scope: Scope,
        /// Write JSON
        #[arg(long)]
        json: bool,
    },
    /// List keys, without their secrets
    List {
        /// Write JSON
        #[arg(long)]
        json: bool,
    },
    /// Revoke a key; a running server stops accepting it within a second
    Revoke {
        /// The id of the key, as `list` shows it
        #[arg(long)]
        id: String,
        /// Write JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Scope {
    /// Read messages, events and numbers
    Read,
    /// Also send, cancel and retry messages
    Send,
    /// Also change consent and senders
    Admin,
}

pub(super) async fn run(command: KeysCommand) -> Result<Exit, Failure> {
    let effects = Effects::real();
    let store = match &command.command {
        KeysAction::Create { .. } => {
            tell_of_new_database();
            open_database_of(&ProcessEnvironment, &effects)?
        }
        KeysAction::List { .. } | KeysAction::Revoke { .. } => open_database(&effects)?,
    };
    let now = effects.clock.now();
    match command.command {
        KeysAction::Create { name, scope, json } => {
            check_name(&name)?;
            let scope = match scope {
                Scope::Read => KeyScope::Read,
                Scope::Send => KeyScope::Send,
                Scope::Admin => KeyScope::Admin,
            };
            let (key, text) = create_key(&*effects.random, &name, scope, now);
            let id = key.id.clone();
            store.create_key(key).await?;
            if json {
                print::json(&serde_json::json!({ "id": id, "key": text }));
            } else {
                print::line(&text);
                print::note("The key is shown only once. Send it as `Authorization: Bearer rk_…`.");
            }
        }
        KeysAction::List { json } => list(&store.keys().await?, json),
        KeysAction::Revoke { id, json } => {
            if !store.revoke_key(id.clone(), now).await? {
                return Err(Failure::Usage(vec![format!("there is no key {id}")]));
            }
            if json {
                print::json(&serde_json::json!({ "id": id, "revoked": true }));
            }
        }
    }
    Ok(Exit::Complete)
}

/// A key may be created before the server's first start; in a wrong folder that is a mistake.
fn tell_of_new_database() {
    let database = DatabaseConfig::read(&ProcessEnvironment);
    if let Ok(database) = database
        && !database.path.exists()
    {
        print::note(&format!(
            "There is no database at {}; a new one is created. A server that uses another database \
             will not know this key.",
            database.path.display()
        ));
    }
}

fn list(keys: &[ApiKeyView], json: bool) {
    let time = |at: delivery::time::Timestamp| {
        jiff::Timestamp::from_microsecond(at.micros())
            .map_or_else(|_| String::new(), |at| format!("{at:.0}"))
    };
    if json {
        for key in keys {
            print::json(&serde_json::json!({
                "id": key.id,
                "name": key.name,
                "scope": key.scope.as_str(),
                "created_at": time(key.created_at),
                "revoked_at": key.revoked_at.map(time),
            }));
        }
        return;
    }
    let rows = keys.iter().map(|key| {
        let revoked = key.revoked_at.map_or_else(String::new, time);
        vec![
            key.id.clone(),
            key.name.clone(),
            key.scope.as_str().to_owned(),
            time(key.created_at),
            revoked,
        ]
    });
    print::table(&["id", "name", "scope", "created", "revoked"], rows);
}

/// A name stands in tables and logs.
fn check_name(name: &str) -> Result<(), Failure> {
    if (1..=100).contains(&name.chars().count()) && !name.chars().any(char::is_control) {
        return Ok(());
    }
    Err(Failure::Usage(vec![
        "--name: write 1 to 100 characters, without line breaks".to_owned(),
    ]))
}
