//! WhatsApp delivery through Twilio. The modules, called rooms, stand from the lowest floor to the
//! highest; ARCHITECTURE.md says what each does and what it must not know.

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
