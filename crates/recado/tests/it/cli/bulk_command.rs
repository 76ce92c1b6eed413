//! `recado messages retry` and `cancel` with a filter.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;

use serde_json::{Value, json};

use super::{ended, err, later, lines, out};
use crate::server::{SENDER, TestServer, mobile, notice};

#[tokio::test(flavor = "multi_thread")]
async fn many_are_counted_and_then_canceled_once() {
    let server = TestServer::start().await;
    for part in 0..2 {
        let items: Vec<Value> = (0..700).map(|n| later(part * 700 + n)).collect();
        let items = json!({ "messages": items });
        let answer = server.post("/api/v1/messages/bulk", &items).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
    }
    let sent = server.accept(notice(&mobile(9_000), "a")).await;
    server
        .until(&sent, |message| message["delivered_at"].is_string())
        .await;
    let cancel = |more: &[&str]| {
        let start = [
            "messages",
            "cancel",
            "--state",
            "scheduled",
            "--since",
            "2026-01-01T00:00:00Z",
        ];
        server.cli(&[&start[..], more].concat())
    };
    let counted = cancel(&["--dry-run"]);
    ended(&counted, 0);
    let text = out(&counted);
    assert!(
        text.contains("1400 messages found, nothing changed"),
        "{text}"
    );
    assert!(
        text.contains(SENDER) && text.contains("scheduled"),
        "{text}"
    );
    // Nobody can be asked.
    let refused = cancel(&[]);
    ended(&refused, 2);
    assert!(err(&refused).contains("--yes"), "{}", err(&refused));
    assert_eq!(server.messages("state=canceled").await.len(), 0);

    let counted = cancel(&["--dry-run", "--json", "--sender", SENDER]);
    ended(&counted, 0);
    let counted = lines(&counted).remove(0);
    assert_eq!(
        (
            &counted["matched"],
            &counted["affected"],
            &counted["by_sender"]
        ),
        (&json!(1_400), &json!(0), &json!({ SENDER: 1_400 }))
    );
    let done = cancel(&["--yes", "--json"]);
    ended(&done, 0);
    let done = lines(&done);
    assert_eq!(done.len(), 1, "one answer");
    assert_eq!(
        (
            &done[0]["matched"],
            &done[0]["affected"],
            &done[0]["skipped"]
        ),
        (&json!(1_400), &json!(1_400), &json!(0))
    );
    assert_eq!(server.messages("state=canceled").await.len(), 1_400);
    let again = cancel(&["--yes"]);
    ended(&again, 0);
    assert!(
        out(&again).starts_with("0 messages changed"),
        "{}",
        out(&again)
    );
    let again = lines(&cancel(&["--yes", "--json"])).remove(0);
    for number in ["matched", "affected", "skipped"] {
        assert_eq!(again[number], 0, "{again}");
    }
    assert_eq!(again["by_state"], json!({}));
    assert_eq!(server.messages("").await.len(), 1_401);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_refuses_is_told_and_an_id_takes_no_filter() {
    let server = TestServer::start().await;
    let refused = server.cli(&["messages", "cancel", "--state", "accepted", "--yes"]);
    ended(&refused, 1);
    assert!(err(&refused).contains("Give since"), "{}", err(&refused));
    for wrong in [
        &["messages", "retry"][..],
        &["messages", "retry", "--yes"],
        &["messages", "retry", "--since", "2026-01-01T00:00:00Z"],
        &["messages", "retry", "x", "--state", "failed"],
        &["messages", "retry", "x", "--dry-run"],
    ] {
        ended(&server.cli(wrong), 2);
    }
}

/// Answers each request with the next of these and then none, and gives the bodies of the requests.
fn server_that_stops(answers: Vec<Value>) -> (String, std::thread::JoinHandle<Vec<Value>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let thread = std::thread::spawn(move || {
        let mut bodies = Vec::new();
        for answer in answers {
            let (mut connection, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(connection.try_clone().unwrap());
            let mut length = 0;
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                if line.trim().is_empty() {
                    break;
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            bodies.push(serde_json::from_slice(&body).unwrap());
            let text = answer.to_string();
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close";
            write!(
                connection,
                "{head}\r\ncontent-length: {}\r\n\r\n{text}",
                text.len()
            )
            .unwrap();
        }
        bodies
    });
    (url, thread)
}

#[test]
fn it_changes_what_was_counted_and_tells_what_was_done_before_it_stopped() {
    let until = "2026-12-01T00:00:00.000000Z";
    let answer = |matched, affected, skipped, next: Value| {
        json!({
            "dry_run": false, "matched": matched, "affected": affected, "skipped": skipped,
            "by_state": { "failed": matched }, "by_code": {}, "by_sender": {}, "until": until,
            "next_cursor": next,
        })
    };
    let counted = [
        answer(1_200, 0, 0, json!("c1")),
        answer(300, 0, 0, Value::Null),
    ];
    let complete = [
        answer(1_000, 998, 2, json!("d1")),
        answer(500, 500, 0, json!("d2")),
    ];
    for (answers, exit, affected) in [(&complete[..], 3, 1_498), (&complete[..1], 3, 998)] {
        let (url, thread) = server_that_stops([&counted[..], answers].concat());
        let arguments = [
            "messages",
            "retry",
            "--state",
            "failed",
            "--error",
            "63018",
            "--yes",
            "--json",
            "--url",
            &url,
            "--api-key",
            "rk_a_b",
        ];
        let output = crate::gateway::run(&arguments, &[]);
        ended(&output, exit);
        let sum = lines(&output).remove(0);
        assert_eq!(sum["affected"], affected);
        assert_eq!(sum["skipped"], 2);
        let stopped = err(&output).contains("goes on with the rest");
        assert_eq!(stopped, answers.len() == 1, "{}", err(&output));
        let bodies = thread.join().unwrap();
        let filter = |until: Option<&str>, more: Value| {
            let mut body = json!({ "state": "failed", "error_code": 63_018 });
            let fields = body.as_object_mut().unwrap();
            fields.extend(until.map(|until| ("until".to_owned(), json!(until))));
            fields.extend(more.as_object().unwrap().clone());
            body
        };
        // There are more now than were counted: the last ones are left.
        let expected = [
            filter(None, json!({ "dry_run": true, "cursor": null })),
            filter(Some(until), json!({ "dry_run": true, "cursor": "c1" })),
            filter(Some(until), json!({ "limit": 1_000, "cursor": null })),
            filter(Some(until), json!({ "limit": 500, "cursor": "d1" })),
        ];
        assert_eq!(bodies, expected[..bodies.len()]);
        assert_eq!(bodies.len(), 2 + answers.len());
    }
}
