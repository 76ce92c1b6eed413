//! `recado serve`.

use clap::Args;
use delivery::address::{Address, Context};
use tokio_util::sync::CancellationToken;

use super::exit::{Exit, Failure};
use super::print;
use super::signals::EndSignals;
use crate::config::{Config, Environment, ProcessEnvironment};
use crate::effects::Effects;
use crate::provider::twilio::{asks_for_too_few_tries, with_overrides};
use crate::server::Server;

/// Run the server
///
/// Example: TWILIO_ACCOUNT_SID=AC… TWILIO_AUTH_TOKEN=… TWILIO_WHATSAPP_FROM=+55… recado serve
#[derive(Args)]
#[command(after_help = "Examples:
  recado serve                    settings from the environment
  PORT=0 recado serve             any free port; the log says which
  recado serve --check            only check the settings")]
pub(super) struct Serve {
    /// Check the settings and stop
    #[arg(long)]
    check: bool,
    /// Write the problems found as JSON
    #[arg(long, requires = "check")]
    json: bool,
}

pub(super) async fn run(command: Serve) -> Result<Exit, Failure> {
    start_log(&ProcessEnvironment);
    let config = Config::read(&ProcessEnvironment);
    if command.check {
        return check(config, command.json);
    }
    let config = config.map_err(Failure::Usage)?;
    for warning in warnings(&config) {
        tracing::warn!("{warning}");
    }
    // The library of foreign numbers reads its tables at first use; no caller must wait for it.
    std::thread::spawn(|| Address::parse("+14155552671", Context::Typed).is_ok());
    let server = Server::start(config, Effects::real()).await?;
    let shutdown = CancellationToken::new();
    end_on_signal(shutdown.clone())?;
    print::note(&format!("listening on http://{}", server.address()));
    server.run(shutdown).await?;
    Ok(Exit::Complete)
}

/// Callback URLs with a fragment of the operator's own, by which Twilio gives up too early.
fn warnings(config: &Config) -> Vec<String> {
    let urls = [
        ("WEBHOOK_URL", &config.webhook_url),
        ("STATUS_CALLBACK_URL", &config.status_callback_url),
    ];
    let few = urls.into_iter().filter(|(_, url)| {
        let url = url.as_deref();
        url.is_some_and(asks_for_too_few_tries)
    });
    let warning = |name| {
        format!(
            "{name}: what follows # replaces the tries that Recado asks for, and asks for none after a \
             5xx; add rc=5&rp=5xx,ct,rt, or what Twilio tells during a failure comes late or not at all"
        )
    };
    few.map(|(name, _)| warning(name)).collect()
}

/// Says what is wrong with the settings, or else what must stand in Twilio's console.
fn check(config: Result<Config, Vec<String>>, json: bool) -> Result<Exit, Failure> {
    let (problems, warnings, inbound_url) = match config {
        Ok(config) => (
            Vec::new(),
            warnings(&config),
            config.webhook_url.as_deref().map(with_overrides),
        ),
        Err(problems) => (problems, Vec::new(), None),
    };
    if json {
        print::json(&serde_json::json!({
            "problems": problems, "warnings": warnings, "inbound_url": inbound_url
        }));
    } else {
        warnings.iter().for_each(|warning| print::note(warning));
    }
    if !problems.is_empty() {
        return Err(Failure::Usage(problems));
    }
    match inbound_url {
        _ if json => {}
        Some(url) => {
            print::note("Twilio's console, \"When a message comes in\", method POST:");
            print::line(&url);
        }
        None => print::note(
            "WEBHOOK_URL is not set: Twilio cannot bring inbound messages, opt-outs among them",
        ),
    }
    Ok(Exit::Complete)
}

/// Shuts down at SIGTERM or SIGINT; a second one ends the process at once.
fn end_on_signal(shutdown: CancellationToken) -> std::io::Result<()> {
    let mut end = EndSignals::listen()?;
    tokio::spawn(async move {
        for again in [false, true] {
            end.wait().await;
            if again {
                std::process::exit(1);
            }
            tracing::info!("shutting down: no new work is started, open requests may finish");
            shutdown.cancel();
        }
    });
    Ok(())
}

/// Starts the log on stderr.
pub(super) fn start_log(environment: &dyn Environment) {
    let filter = environment
        .variable("RECADO_LOG")
        .unwrap_or_else(|| "info".to_owned());
    let filter = tracing_subscriber::EnvFilter::try_new(&filter)
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(print::is_terminal());
    let started = match environment.variable("RECADO_LOG_FORMAT").as_deref() {
        Some("json") => builder.json().try_init(),
        _ => builder.try_init(),
    };
    if started.is_err() {
        print::note("the log had already been started");
    }
}
