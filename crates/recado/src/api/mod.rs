//! Room 1: callers ask. JSON over HTTP under `/api/v1`, and the health and metrics pages.
//!
//! Must not know: SQL, Twilio's words, other rooms. What it confirms is in the store before it
//! answers.

pub mod auth;
mod bulk;
mod bulk_command;
mod consent;
mod error;
mod event;
mod extract;
mod field;
mod health;
mod hold;
mod idempotency;
mod inbound;
mod message;
mod message_request;
mod message_view;
mod metrics;
mod openapi;
mod page;
pub mod problem;
mod prometheus;
mod restore;
mod routes;
mod sender;
mod state;

pub use self::message_request::check_message;
pub use self::routes::{router, wrong_method};
pub use self::state::Api;
