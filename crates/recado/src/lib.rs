//! WhatsApp delivery through Twilio. The rooms stand in the order in which a message meets them;
//! ARCHITECTURE.md says what each does and what it must not know.

pub mod effects;
pub mod secrets;

pub mod store;
pub mod provider;

pub mod config;

pub mod api;
pub mod dispatch;
