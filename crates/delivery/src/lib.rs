//! The rules: what a message is and what may happen to it.
//!
//! Nothing here performs anything. Time, randomness and settings come in as arguments, decisions
//! go out as values, and the same arguments always give the same decision. The rooms of the
//! `recado` crate act on these decisions; the store commits them.
//!
//! Words: a *message* is what a caller asks for; an *attempt* is one try to hand it to the
//! provider; an *outcome* is what that attempt told us; a *report* is what the provider says
//! later; a *fact* is either of them as the rules see it; a *state* is where the message is.

#[macro_use]
mod stored;

pub mod limits;
pub mod row;
pub mod time;

pub mod address;
pub mod identity;
pub mod keyword;
pub mod sid;

pub mod message;

pub mod outage;
pub mod outcome;
pub mod state;

pub mod absence;
pub mod codes;
pub mod hold;
pub mod retry;
pub mod settle;

pub mod consent;
pub mod window;

pub mod event;

pub mod counter;
pub mod progress;

pub mod admission;
pub mod departure;
