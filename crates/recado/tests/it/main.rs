//! Behavior through its public interfaces: HTTP, the command line, the traits of the store.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test that cannot go on must stop, and says why"
)]

mod ahead;
mod api;
mod away;
mod callbacks;
mod cli;
mod client;
mod clock;
mod crash;
mod end_to_end;
mod gateway;
mod incidents;
mod open_files;
mod optout;
mod outage;
mod restored;
mod retention;
mod rng;
mod scan;
mod server;
mod signed;
mod soak;
mod sqlite;
mod store;
mod tidy;
