//! Open files: callers who do nothing do not use up what sending needs.

use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use simulator::Simulator;

use crate::client::Http;
use crate::gateway::{DEADLINE, Folder, Gateway, POLL_INTERVAL, command};
use crate::server::{MASTER_KEY, SENDER, mobile, notice};

/// The program under a limit of open files.
fn limited(limit: &str, variables: &[(String, String)]) -> Command {
    let mut command = Command::new("prlimit");
    command
        .arg(format!("--nofile={limit}"))
        .args([env!("CARGO_BIN_EXE_recado"), "serve"])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null());
    command
}

fn variables(folder: &Folder, simulator: &Simulator) -> Vec<(String, String)> {
    [
        (
            "DATABASE_URL",
            format!("sqlite:{}", folder.database().display()),
        ),
        ("RECADO_MASTER_KEY", MASTER_KEY.to_owned()),
        ("TWILIO_API_BASE_URL", simulator.url()),
        ("TWILIO_ACCOUNT_SID", simulator.account_sid().to_owned()),
        ("TWILIO_AUTH_TOKEN", simulator.auth_token().to_owned()),
        ("TWILIO_WHATSAPP_FROM", SENDER.to_owned()),
        ("PORT", "0".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

async fn simulator() -> Simulator {
    let settings = simulator::Settings {
        senders: vec![SENDER.to_owned()],
        ..simulator::Settings::default()
    };
    Simulator::start(settings).await.unwrap()
}

/// The soft limit of a process.
fn soft_limit(process: u32) -> String {
    let limits = std::fs::read_to_string(format!("/proc/{process}/limits")).unwrap();
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let mut columns = line.unwrap().split_whitespace().skip(3);
    columns.next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_is_raised_to_what_the_system_allows() {
    let (folder, simulator) = (Folder::new(), simulator().await);
    let variables = variables(&folder, &simulator);
    let mut gateway = Gateway::spawn(limited("256:1024", &variables)).unwrap();
    assert_eq!(soft_limit(gateway.id()), "1024");
    assert!(gateway.terminate().success());
    assert!(
        gateway.log().contains("connections=448"),
        "{}",
        gateway.log()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_who_do_nothing_do_not_keep_messages_from_leaving() {
    let (folder, simulator) = (Folder::new(), simulator().await);
    let variables = variables(&folder, &simulator);
    let made = command(
        &["keys", "create", "--name", "n", "--scope", "send"],
        &variables,
    )
    .output()
    .unwrap();
    let key = String::from_utf8(made.stdout).unwrap();
    let gateway = Gateway::spawn(limited("160:160", &variables)).unwrap();
    let mut message = notice(&mobile(1), "oi");
    message["send_at"] = json!((jiff::Timestamp::now() + Duration::from_secs(3)).to_string());
    let headers = [
        ("authorization", format!("Bearer {}", key.trim())),
        ("content-type", "application/json".to_owned()),
    ];
    let url = format!("{}/api/v1/messages", gateway.url);
    let body = message.to_string().into_bytes();
    let answer = Http::new()
        .request("POST", &url, &headers, Some(body))
        .await;
    assert_eq!(answer.unwrap().status, 202);

    let address = gateway.url.strip_prefix("http://").unwrap();
    let idle: Vec<TcpStream> = (0..160)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    idle[0].set_nonblocking(true).unwrap();
    let end = Instant::now() + DEADLINE;
    while simulator.truth().is_empty() {
        assert!(Instant::now() < end, "{}", gateway.log());
        // Later, when the idle ones are cut off, there is room again for anybody.
        let still_open = (&idle[0]).read(&mut [0]).err().map(|error| error.kind());
        assert_eq!(still_open, Some(ErrorKind::WouldBlock), "{}", gateway.log());
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}
