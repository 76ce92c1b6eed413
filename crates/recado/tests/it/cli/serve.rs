//! `recado serve` as a process: what it writes, how it starts, and how it ends.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::{ended, err, later, out};
use crate::gateway::{Folder, command};
use crate::server::{MASTER_KEY, TestServer, mobile, notice};

/// How long an end may take.
const END_MAX: Duration = Duration::from_secs(5);

fn variables(folder: &Folder, port: &str) -> Vec<(String, String)> {
    [
        (
            "DATABASE_URL",
            format!("sqlite:{}", folder.database().display()),
        ),
        ("PORT", port.to_owned()),
        ("TWILIO_API_BASE_URL", "http://127.0.0.1:1".to_owned()),
        (
            "TWILIO_ACCOUNT_SID",
            "AC00000000000000000000000000000001".to_owned(),
        ),
        (
            "TWILIO_AUTH_TOKEN",
            "0123456789abcdef0123456789abcdef".to_owned(),
        ),
        ("TWILIO_WHATSAPP_FROM", "+551140000000".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

#[test]
fn it_says_once_where_it_listens_and_writes_nothing_to_stdout() {
    let folder = Folder::new();
    for format in ["text", "json"] {
        let mut variables = variables(&folder, "0");
        variables.push(("RECADO_LOG_FORMAT".to_owned(), format.to_owned()));
        let mut child = command(&["serve"], &variables)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let mut said = String::new();
        let mut byte = [0u8; 1];
        while !(said.contains("listening on ") && said.ends_with('\n')) {
            assert_eq!(stderr.read(&mut byte).unwrap(), 1, "{said}");
            said.push(char::from(byte[0]));
        }
        let id = child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", "TERM", &id])
                .status()
                .unwrap()
                .success()
        );
        stderr.read_to_string(&mut said).unwrap();
        let ended = child.wait_with_output().unwrap();
        assert_eq!(ended.status.code(), Some(0), "{said}");
        assert!(ended.stdout.is_empty());
        let listening: Vec<&str> = said
            .lines()
            .filter(|line| line.starts_with("listening on http://127.0.0.1:"))
            .collect();
        assert_eq!(listening.len(), 1, "{said}");
        assert_eq!(said.matches("listening on ").count(), 1, "{said}");
    }
    // The key that it made belongs to its owner alone.
    let key = format!("{}.key", folder.database().display());
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(key).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn what_it_cannot_have_is_named_and_it_ends_with_1() {
    let folder = Folder::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let serve = |variables: &[(String, String)]| {
        let output = command(&["serve"], variables).output().unwrap();
        ended(&output, 1);
        assert_eq!(out(&output), "");
        err(&output)
    };
    let said = serve(&variables(&folder, &port));
    assert!(
        said.contains(&format!("127.0.0.1:{port}")) && said.contains("PORT"),
        "{said}"
    );
    let text = folder.0.path().join("a.txt").display().to_string();
    std::fs::write(&text, "no database\n".repeat(1_000)).unwrap();
    let unreadable = folder.0.path().join("b.db.key");
    std::fs::create_dir(&unreadable).unwrap();
    let mut no_key = variables(&folder, "0");
    no_key.retain(|(name, _)| name != "DATABASE_URL");
    let database = format!("sqlite:{}", folder.0.path().join("b.db").display());
    no_key.push(("DATABASE_URL".to_owned(), database));
    let said = serve(&no_key);
    assert!(said.contains("master key file"), "{said}");
    assert_eq!(
        said.matches("directory").count(),
        1,
        "it says it once: {said}"
    );
    for (database, word) in [
        ("sqlite:/nowhere/recado.db", "/nowhere"),
        (&format!("sqlite:{text}"), &text),
        ("sqlite:/proc/recado.db", "/proc"),
    ] {
        let mut variables = variables(&folder, "0");
        variables.retain(|(name, _)| name != "DATABASE_URL");
        variables.push(("DATABASE_URL".to_owned(), database.to_owned()));
        variables.push(("RECADO_MASTER_KEY".to_owned(), MASTER_KEY.to_owned()));
        let said = serve(&variables);
        assert!(said.contains(word), "{database}: {said}");
        assert!(!said.contains("panicked"), "{said}");
        let words = said.trim().rsplit(": ").next().unwrap();
        assert_eq!(said.matches(words).count(), 1, "it says it once: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_server_on_the_same_database_is_refused() {
    let server = TestServer::start().await;
    let mut second = variables(&Folder::new(), "0");
    second.retain(|(name, _)| name != "DATABASE_URL");
    let database = format!("sqlite:{}", server.database().display());
    second.push(("DATABASE_URL".to_owned(), database));
    second.push(("RECADO_MASTER_KEY".to_owned(), MASTER_KEY.to_owned()));
    let since = Instant::now();
    let output = command(&["serve"], &second).output().unwrap();
    ended(&output, 1);
    assert!(since.elapsed() < Duration::from_secs(5));
    let last = err(&output).lines().last().unwrap().to_owned();
    let path = server.database().display().to_string();
    assert!(
        last.starts_with("recado: ") && last.contains(&path),
        "{last}"
    );
    assert!(!err(&output).contains("listening on"), "{}", err(&output));
    // The first one is not disturbed, and the command line still works beside it.
    let id = server.accept(notice(&mobile(1), "oi")).await;
    server
        .until(&id, |message| message["delivered_at"].is_string())
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_in_time_whoever_is_still_connected() {
    let mut server = TestServer::start().await;
    let key = server.key.clone();
    let connect = |text: &str| server.connect(text, Duration::from_secs(10));
    let mut kept = connect("GET /livez HTTP/1.1\r\nHost: h\r\n\r\n");
    let mut answer = [0u8; 512];
    assert!(kept.read(&mut answer).unwrap() > 0);
    let mut stream = connect(&format!(
        "GET /api/v1/events HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {key}\r\n\r\n"
    ));
    assert!(stream.read(&mut answer).unwrap() > 0);
    let _silent = connect("");
    let since = Instant::now();
    let status = server.gateway.terminate();
    assert_eq!(status.code(), Some(0), "{}", server.gateway.log());
    assert!(since.elapsed() < END_MAX, "{:?}", since.elapsed());
    let address = server.gateway.url.strip_prefix("http://").unwrap();
    assert!(TcpStream::connect(address).is_err(), "nobody listens");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_under_way_is_finished_and_recorded() {
    let mut server = TestServer::with(
        |settings| settings.faults.latency_ms = (1_200.0, 1_200.0),
        &[],
    )
    .await;
    let id = server.accept(notice(&mobile(1), "oi")).await;
    let waits = server.accept(later(2)).await;
    server.until_state(&id, "sending").await;
    let since = Instant::now();
    let status = server.gateway.terminate();
    assert_eq!(status.code(), Some(0), "{}", server.gateway.log());
    let took = since.elapsed();
    assert!(
        took < END_MAX && took > Duration::from_millis(300),
        "{took:?}"
    );
    assert_eq!(
        server.simulator.truth().len(),
        1,
        "its answer was waited for"
    );
    server.restart();
    let message = server.message(&id).await;
    let attempts = message["attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), 1, "{message:#}");
    assert_eq!(attempts[0]["outcome"], "sent", "{message:#}");
    assert_eq!(
        attempts[0]["provider_sid"],
        server.simulator.truth()[0].sid.as_str()
    );
    assert_eq!(server.message(&waits).await["state"], "scheduled");
    assert_eq!(server.simulator.truth().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_never_finishes_is_cut_off_at_the_end_of_the_drain() {
    let mut server = TestServer::with(|_| {}, &[("RECADO_DRAIN_SECONDS", "1")]).await;
    let key = server.key.clone();
    let open: Vec<TcpStream> = [
        "GET /livez HTTP/1.1\r\nHos".to_owned(),
        format!(
            "POST /api/v1/messages HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {key}\r\n\
             Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{{"
        ),
    ]
    .iter()
    .map(|text| server.connect(text, Duration::from_secs(10)))
    .collect();
    // An answer on another connection shows that these were taken before.
    assert_eq!(server.get("/api/v1/messages").await.status, 200);
    let since = Instant::now();
    assert_eq!(
        server.gateway.terminate().code(),
        Some(0),
        "{}",
        server.gateway.log()
    );
    assert!(since.elapsed() < END_MAX, "{:?}", since.elapsed());
    drop(open);
}
