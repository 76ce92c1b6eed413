//! What each verb of the store does inside its transaction, once for every engine: the order of the
//! reads, the decisions of `delivery`, and the writes, through the traits of [`rows`].
//!
//! An operation may run twice on the same request, so it logs nothing, keeps nothing and reads no
//! clock. It must not know SQL, or which engine keeps the rows.

mod account_rows;
pub(crate) mod api_key;
pub(crate) mod attempt;
pub(crate) mod callback_url;
pub(crate) mod columns;
pub(crate) mod consent;
pub(crate) mod consent_check;
mod consequence;
mod halting;
pub(crate) mod health;
pub(crate) mod hold;
mod identity;
pub(crate) mod inbound;
pub(crate) mod maintenance;
pub(crate) mod message;
pub(crate) mod prepare;
pub(crate) mod removal;
pub(crate) mod report;
pub(crate) mod rows;
pub(crate) mod sender;
pub(crate) mod transaction;
mod variant;
pub(crate) mod verb;
pub(crate) mod watch;
