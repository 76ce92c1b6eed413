//! The command line as its users meet it: what it takes, what it writes where, and how it ends.

mod address;
mod bulk_command;
mod demo;
mod help;
mod holds;
mod keys;
mod messages;
mod send;
mod serve;
mod settings;
mod sheet;
mod simulate;
mod verify;

use std::process::Output;

use serde_json::{Value, json};

use crate::server::{mobile, notice};

/// What a command wrote to stdout.
pub(super) fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What a command wrote to stderr.
pub(super) fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Asserts how a command ended.
#[track_caller]
pub(super) fn ended(output: &Output, code: i32) {
    let status = output.status.code();
    assert_eq!(status, Some(code), "{}\n{}", out(output), err(output));
}

/// Each line of stdout as JSON.
#[track_caller]
pub(super) fn lines(output: &Output) -> Vec<Value> {
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
    out(output).lines().map(parse).collect()
}

/// A template message that waits for a day that is far away.
pub(super) fn later(n: usize) -> Value {
    let mut message = notice(&mobile(n), "segredo");
    message["send_at"] = json!("2027-01-02T03:04:05Z");
    message
}
