//! The simulator as its callers see it: over HTTP, with a server of the test's own for callbacks.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on shall stop, and says why"
)]

mod caller;
mod receiver;
mod signature;

mod callback_faults;
mod callbacks;
mod control;
mod create_faults;
mod helper_libraries;
mod inbound;
mod listing;
mod one_message;
mod openapi;
mod phones;
mod retries;
mod seed;
mod validation;
