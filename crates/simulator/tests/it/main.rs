//! Tests the simulator over HTTP, with a server that receives its callbacks.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test that cannot go on must stop and say why"
)]

mod caller;
mod receiver;
mod signature;

mod callback_faults;
mod callbacks;
mod control;
mod create_faults;
mod dates;
mod helper_libraries;
mod inbound;
mod inbound_delivery;
mod inbound_list;
mod listing;
mod one_message;
mod openapi;
mod outages;
mod phones;
mod retries;
mod rules;
mod seed;
mod validation;
