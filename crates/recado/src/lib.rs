//! WhatsApp delivery through Twilio. The rooms stand in the order in which a message meets them;
//! ARCHITECTURE.md says what each does and what it must not know.

pub mod config;
pub mod effects;
pub mod secrets;

pub mod provider;
pub mod store;

pub mod api;
pub mod callbacks;
pub mod dispatch;
pub mod maintenance;
pub mod reconcile;

pub mod server;

pub mod cli;
