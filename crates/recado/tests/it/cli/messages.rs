//! `recado messages`: a window on a running server.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::Stdio;

use serde_json::{Value, json};
use simulator::{Phone, PhoneBehavior};

use super::{ended, err, later, lines, out};
use crate::gateway::command;
use crate::server::{TestServer, mobile, notice};

#[tokio::test(flavor = "multi_thread")]
async fn lists_pages_filters_and_masks() {
    let server = TestServer::with(
        |settings| {
            let (number, character) = (mobile(500), PhoneBehavior::Fails(63_013));
            settings.phones = vec![Phone { number, character }];
        },
        &[],
    )
    .await;
    let items: Vec<Value> = (0..250).map(later).collect();
    server
        .post("/api/v1/messages/bulk", &json!({ "messages": items }))
        .await;
    let failed = server.accept(notice(&mobile(500), "x")).await;
    server.until_state(&failed, "failed").await;
    let list = |more: &[&str]| server.cli(&[&["messages", "list", "--json"][..], more].concat());
    for (more, count) in [
        (vec![], 50),
        (vec!["--limit", "3"], 3),
        (vec!["--limit", "1000"], 251),
        (vec!["--limit", "0"], 0),
        (vec!["--state", "failed"], 1),
        (vec!["--error", "63013"], 1),
        (vec!["--to", "(85) 8000-0007"], 1),
        (vec!["--sender", "+551140000000", "--limit", "260"], 251),
        (vec!["--since", "2027-01-01T00:00:00Z"], 0),
        (
            vec!["--until", "2027-01-01T00:00:00+03:00", "--limit", "260"],
            251,
        ),
    ] {
        let output = list(&more);
        ended(&output, 0);
        assert_eq!(lines(&output).len(), count, "{more:?}");
    }
    let bad = list(&["--state", "flying"]);
    ended(&bad, 1);
    assert!(err(&bad).contains("accepted, scheduled"), "{}", err(&bad));
    let table = out(&server.cli(&["messages", "list", "--limit", "260"]));
    assert!(table.contains("****") && table.contains(&failed), "{table}");
    assert!(
        !table.contains("+5585") && !table.contains("segredo"),
        "{table}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_message_is_shown_canceled_and_tried_again() {
    let server = TestServer::with(
        |settings| {
            let (number, character) = (mobile(1), PhoneBehavior::Fails(63_013));
            settings.phones = vec![Phone { number, character }];
        },
        &[],
    )
    .await;
    let failed = server.accept(notice(&mobile(1), "segredo")).await;
    server.until_state(&failed, "failed").await;
    let json_of = |arguments: &[&str]| {
        let output = server.cli(arguments);
        ended(&output, 0);
        lines(&output).remove(0)
    };
    assert_eq!(
        json_of(&["messages", "show", "--json", &failed])["id"],
        failed.as_str()
    );
    let shown = out(&server.cli(&["messages", "show", &failed]));
    for word in [
        "failed",
        "63013",
        "advice",
        "message.accepted",
        "message.attempt_opened",
        "+55 85 9****-**01",
    ] {
        assert!(shown.contains(word), "{word}: {shown}");
    }
    assert!(
        !shown.contains("+5585") && !shown.contains("segredo"),
        "{shown}"
    );
    server.simulator.set_phones(vec![Phone {
        number: mobile(1),
        character: PhoneBehavior::ReadsAtOnce,
    }]);
    let tried = json_of(&["messages", "retry", &failed, "--json"]);
    assert_eq!(
        (&tried["state"], &tried["changed"]),
        (&json!("scheduled"), &json!(true))
    );
    server
        .until(&failed, |message| message["delivered_at"].is_string())
        .await;
    let waits = server.accept(later(2)).await;
    let canceled = server.cli(&["messages", "cancel", &waits]);
    ended(&canceled, 0);
    assert_eq!(out(&canceled), format!("{waits} is canceled\n"));
    assert_eq!(
        json_of(&["messages", "cancel", "--json", &waits])["changed"],
        false
    );
    let late = server.cli(&["messages", "cancel", &failed]);
    ended(&late, 1);
    assert!(err(&late).contains("409"), "{}", err(&late));
    for verb in ["show", "cancel", "retry"] {
        let unknown = server.cli(&["messages", verb, "../../livez"]);
        ended(&unknown, 1);
        assert!(err(&unknown).contains("404"), "{}", err(&unknown));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_and_the_key_can_be_named_anywhere_on_the_line() {
    let server = TestServer::start().await;
    let (url, key) = (server.gateway.url.as_str(), server.key.as_str());
    for arguments in [
        ["messages", "--url", url, "--api-key", key, "list", "--json"],
        ["messages", "list", "--json", "--url", url, "--api-key", key],
    ] {
        ended(&crate::gateway::run(&arguments, &[]), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn watch_follows_what_happens() {
    let mut server = TestServer::start().await;
    let first = server.accept(later(1)).await;
    let variables = [
        ("RECADO_URL".to_owned(), server.gateway.url.clone()),
        ("RECADO_API_KEY".to_owned(), server.key.clone()),
    ];
    let mut watch = command(&["messages", "watch", "--after", "0", "--json"], &variables)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut seen = BufReader::new(watch.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap);
    let mut next = || -> Value { serde_json::from_str(&seen.next().unwrap()).unwrap() };
    let event = next();
    assert_eq!(
        (&event["message_id"], &event["event"]),
        (&json!(first), &json!("message.accepted"))
    );
    let second = server.accept(later(2)).await;
    assert_eq!(next()["message_id"], second.as_str());
    server
        .post(&format!("/api/v1/messages/{second}/cancel"), &Value::Null)
        .await;
    let event = next();
    assert_eq!(
        (&event["event"], &event["source"]),
        (&json!("message.canceled"), &json!("api"))
    );
    // The end of the server ends it in order.
    assert!(server.gateway.terminate().success());
    assert_eq!(watch.wait().unwrap().code(), Some(0));
    let gone = server.cli(&["messages", "watch"]);
    ended(&gone, 1);
    assert!(err(&gone).contains("cannot be reached"), "{}", err(&gone));
}

/// Each event ends in the same piece of the stream in which the next one is cut in the middle of a
/// letter; when its line has come, that piece was read.
#[test]
fn watch_reads_letters_that_come_in_two_pieces() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let arguments = [
        "messages",
        "watch",
        "--json",
        "--url",
        &url,
        "--api-key",
        "rk_a_b",
    ];
    let mut watch = command(&arguments, &[])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut seen = BufReader::new(watch.stdout.take().unwrap()).lines();
    let (mut connection, _) = listener.accept().unwrap();
    connection.set_nodelay(true).unwrap();
    assert!(connection.read(&mut [0u8; 4_096]).unwrap() > 0);
    let text = "data: {\"error\": {\"meaning\": \"não é 5 € 🎉\"}}\n\n";
    let mut piece =
        format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n{text}").into_bytes();
    let mut next = || -> Value { serde_json::from_str(&seen.next().unwrap().unwrap()).unwrap() };
    let cuts: Vec<usize> = (0..text.len())
        .filter(|at| !text.is_char_boundary(*at))
        .collect();
    assert_eq!(cuts.len(), 7);
    for cut in cuts {
        let (start, rest) = text.as_bytes().split_at(cut);
        piece.extend(start);
        connection.write_all(&piece).unwrap();
        assert_eq!(next()["error"]["meaning"], "não é 5 € 🎉");
        piece = rest.to_vec();
    }
    connection.write_all(&piece).unwrap();
    assert_eq!(next()["error"]["meaning"], "não é 5 € 🎉");
    drop(connection);
    assert_eq!(watch.wait().unwrap().code(), Some(0));
}
