//! The command line. Data goes to stdout, everything else to stderr; every command knows
//! `--json`. Exit codes: 0 complete, 1 failed, 2 wrong usage or settings, 3 partly done.

mod address;
mod bulk_command;
mod client;
mod database;
mod demo;
mod exit;
mod holds;
mod keys;
mod messages;
mod print;
mod resume;
mod send;
mod serve;
mod sheet;
mod signals;
mod simulate;
mod text;
mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::exit::{Exit, Failure};

/// WhatsApp delivery through Twilio: accepts a message, sends it once, and keeps its full
/// history.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server; settings come from the environment (docs/configuration.md)
    Serve(serve::Serve),
    /// Send 500 interview notices through a local Twilio simulator with faults, and compare the results
    Demo(demo::Demo),
    /// Run a local Twilio simulator with injected faults
    Simulate(simulate::Simulate),
    /// Send one message, or a spreadsheet of them, through a running server
    Send(send::Send),
    /// List, show, cancel, retry or watch messages of a running server
    Messages(messages::MessagesCommand),
    /// List or lift holds: messages that wait because of what Twilio said about one of them
    Holds(holds::HoldsCommand),
    /// Let a restored, copied or moved database send again
    Resume(resume::Resume),
    /// Show how phone numbers are parsed
    Address(address::AddressCommand),
    /// Create, list or revoke API keys
    Keys(keys::KeysCommand),
    /// Recount everything from the log and report what differs
    Verify(verify::Verify),
}

/// Runs the command of the arguments.
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            print::problem(&format!("the runtime cannot start: {error}"));
            return ExitCode::from(1);
        }
    };
    let ended = runtime.block_on(async {
        match arguments.command {
            Command::Serve(command) => serve::run(command).await,
            Command::Demo(command) => demo::run(command).await,
            Command::Simulate(command) => simulate::run(command).await,
            Command::Send(command) => send::run(command).await,
            Command::Messages(command) => messages::run(command).await,
            Command::Holds(command) => holds::run(command).await,
            Command::Resume(command) => resume::run(command).await,
            Command::Address(command) => address::run(&command),
            Command::Keys(command) => keys::run(command).await,
            Command::Verify(command) => verify::run(command).await,
        }
    });
    // Blocking reads of the database must not delay the exit.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    match ended {
        Ok(Exit::Complete) => ExitCode::SUCCESS,
        Ok(Exit::Partial) => ExitCode::from(3),
        Err(Failure::Usage(problems)) => {
            for problem in problems {
                print::problem(&problem);
            }
            ExitCode::from(2)
        }
        Err(Failure::Other(error)) => {
            print::problem(&format!("{error:#}"));
            ExitCode::from(1)
        }
    }
}
