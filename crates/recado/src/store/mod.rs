//! The store: everything that is kept, behind traits of a few verbs each. Every writing verb takes a
//! batch and is one commit; when it returns, the commit is on disk.
//!
//! What a verb does inside its transaction stands once, in `operations`, above any engine. Engines
//! contain SQL and no decision.

mod api_key;
mod attempt;
mod callback_url;
mod consent;
mod counter;
mod error;
mod event;
mod health;
mod hold;
mod idle;
mod inbound;
mod maintenance;
mod message;
mod notify;
mod operations;
mod person;
mod queue;
mod recount;
mod report;
mod restore;
mod seal;
mod sender;
#[cfg(feature = "sheet")]
mod sheet;
pub mod sqlite;
mod stamp;
mod watch;

pub use api_key::*;
pub use attempt::*;
pub use callback_url::CallbackUrls;
pub use consent::*;
pub use counter::*;
pub use error::*;
pub use event::*;
pub use health::*;
pub use hold::*;
pub use idle::wait_until_idle;
pub use inbound::*;
pub use maintenance::*;
pub use message::*;
pub use notify::Notifier;
pub use queue::*;
pub use report::*;
pub use restore::*;
pub use sender::*;
#[cfg(feature = "sheet")]
pub use sheet::{FAULTS, Fault};
pub use stamp::Stamp;
pub use watch::*;

/// Everything that is kept.
pub trait Store:
    Messages
    + Queue
    + Reports
    + Inbounds
    + CallbackUrls
    + Watches
    + Maintenance
    + Consents
    + Senders
    + Restores
    + Holds
    + ApiKeys
    + Events
    + Counters
    + Health
{
}
impl<T> Store for T where
    T: Messages
        + Queue
        + Reports
        + Inbounds
        + CallbackUrls
        + Watches
        + Maintenance
        + Consents
        + Senders
        + Restores
        + Holds
        + ApiKeys
        + Events
        + Counters
        + Health
{
}
