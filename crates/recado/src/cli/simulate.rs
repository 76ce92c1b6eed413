//! `recado simulate`: a local Twilio simulator.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::de::DeserializeOwned;
use serde_json::json;
use simulator::{Faults, Phone, Settings, Simulator};

use super::exit::{Exit, Failure};
use super::print;
use super::signals::EndSignals;

/// A made-up number, for a simulator that accepts every sender.
const SENDER: &str = "+551140000000";

/// Run a local Twilio simulator with injected faults
#[derive(Args)]
#[command(after_help = "Faults are JSON, for example:
  {\"callback_lost\": 0.02, \"create\": [{\"share\": 0.01, \"fault\": {\"kind\": \"reset_after\"}}]}
GET URL/simulator/truth lists what it really accepted and delivered; see docs/simulator.md.

Examples:
  recado simulate
  recado simulate --listen 127.0.0.1:0 --json
  recado simulate --faults faults.json --seed 7 --time-scale 10")]
pub(super) struct Simulate {
    /// Address and port to listen on; port 0 picks a free one
    #[arg(long, default_value = "127.0.0.1:4010")]
    listen: SocketAddr,
    /// The account: AC and 32 hexadecimal digits
    #[arg(long, default_value = "AC00000000000000000000000000000001")]
    account_sid: String,
    /// The auth token: gives access to the API and signs callbacks
    #[arg(long, default_value = "0123456789abcdef0123456789abcdef")]
    auth_token: String,
    /// The faults to inject, as JSON
    #[arg(long, value_name = "FILE")]
    faults: Option<PathBuf>,
    /// How phones behave, as JSON: [{"number": "+55…", "character": "off"}]
    #[arg(long, value_name = "FILE")]
    phones: Option<PathBuf>,
    /// A WhatsApp sender in E.164; may be repeated; by default every number is accepted
    #[arg(long = "sender", value_name = "E164")]
    senders: Vec<String>,
    /// Where inbound messages go
    #[arg(long, value_name = "URL")]
    inbound_url: Option<String>,
    /// The seed of everything random
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Speeds up deliveries and callbacks by this factor
    #[arg(long, default_value_t = 1.0)]
    time_scale: f64,
    /// Write URL, account SID and token as one line of JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(command: Simulate) -> Result<Exit, Failure> {
    let problems = problems(&command);
    if !problems.is_empty() {
        return Err(Failure::Usage(problems));
    }
    let listen = command.listen;
    let sender = command.senders.first().cloned();
    let sender = sender.unwrap_or_else(|| SENDER.to_owned());
    let settings = Settings {
        listen,
        account_sid: command.account_sid,
        auth_token: command.auth_token,
        senders: command.senders,
        inbound_url: command.inbound_url,
        seed: command.seed,
        time_scale: command.time_scale,
        faults: command
            .faults
            .as_deref()
            .map_or_else(|| Ok(Faults::default()), read)?,
        phones: command
            .phones
            .as_deref()
            .map_or_else(|| Ok(Vec::<Phone>::new()), read)?,
        ..Settings::default()
    };
    let simulator = Simulator::start(settings).await.map_err(|error| {
        anyhow::anyhow!("cannot listen on {listen}: {error}; choose another --listen")
    })?;
    let mut end = EndSignals::listen()?;
    let (url, account, token) = (
        simulator.url(),
        simulator.account_sid(),
        simulator.auth_token(),
    );
    if command.json {
        print::json(&json!({ "url": url, "account_sid": account, "auth_token": token }));
    } else {
        print::line(&format!("export TWILIO_API_BASE_URL={url}"));
        print::line(&format!("export TWILIO_ACCOUNT_SID={account}"));
        print::line(&format!("export TWILIO_AUTH_TOKEN={token}"));
        print::line(&format!("export TWILIO_WHATSAPP_FROM={sender}"));
        print::note(&format!("simulating Twilio at {url}; press Ctrl-C to stop"));
    }
    end.wait().await;
    simulator.stop().await;
    Ok(Exit::Complete)
}

fn problems(command: &Simulate) -> Vec<String> {
    let mut problems = Vec::new();
    let digits = command.account_sid.strip_prefix("AC").unwrap_or_default();
    if digits.len() != 32 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        problems.push("--account-sid: must be AC and 32 hexadecimal digits".to_owned());
    }
    if command.auth_token.is_empty() {
        problems.push("--auth-token: must not be empty".to_owned());
    }
    if !(command.time_scale > 0.0 && command.time_scale.is_finite()) {
        problems.push("--time-scale: must be above 0".to_owned());
    }
    problems
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| anyhow::anyhow!("{} cannot be read: {error}", path.display()))?;
    serde_json::from_str(&text)
        .map_err(|error| Failure::Usage(vec![format!("{} is not valid: {error}", path.display())]))
}
