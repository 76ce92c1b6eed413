//! The rules, tried through their public interface with tables of cases.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test that cannot go on must stop, and says why"
)]

mod absence;
mod address;
mod draft;
mod keyword;
mod stored;
