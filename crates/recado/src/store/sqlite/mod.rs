//! The embedded engine: SQLite with one writer thread and pools of readers.

mod account;
mod api_key;
mod attempt;
mod callback_url;
mod checkpoint;
mod column;
mod consent;
mod counter;
mod error;
mod event;
mod health;
mod hold;
mod inbound;
mod key;
mod lock;
mod maintenance;
mod marker;
mod message;
mod message_list;
mod message_view;
mod open;
mod options;
mod person;
mod progress;
mod queue;
mod readers;
mod readiness;
mod report;
mod retention;
mod schema;
mod sender;
mod statements;
mod store;
mod thread;
#[cfg(feature = "sheet")]
mod through;
mod verify;
mod watch;
mod writer;

pub use options::{OpenMode, Options};
pub use store::SqliteStore;
#[cfg(feature = "sheet")]
pub use through::Noted;
