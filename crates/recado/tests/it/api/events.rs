//! The live stream, read as it comes over the wire.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use super::{field_problem, headers, later, problem};
use crate::server::{TestServer, mobile, notice};

/// A connection on which the stream is read. The old version of the protocol has no chunks, so
/// that what is read is the stream itself.
pub(super) struct Stream {
    pub(super) head: String,
    lines: BufReader<TcpStream>,
}

/// One event.
#[derive(Debug)]
struct Event {
    id: i64,
    name: String,
    data: Value,
}

impl Stream {
    pub(super) fn open(server: &TestServer, query: &str, last: Option<i64>) -> Self {
        let address = server.gateway.url.strip_prefix("http://").unwrap();
        let mut connection = TcpStream::connect(address).unwrap();
        connection
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        let last = last.map_or_else(String::new, |id| format!("Last-Event-ID: {id}\r\n"));
        let key = &server.key;
        write!(
            connection,
            "GET /api/v1/events{query} HTTP/1.0\r\nHost: h\r\nAuthorization: Bearer {key}\r\n\
             Accept: text/event-stream\r\n{last}\r\n"
        )
        .unwrap();
        let mut lines = BufReader::new(connection);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(lines.read_line(&mut head).unwrap() > 0, "{head}");
        }
        Self { head, lines }
    }

    /// The lines up to the next empty one; `None` at the end of the stream.
    pub(super) fn block(&mut self) -> Option<String> {
        let mut block = String::new();
        while !block.ends_with("\n\n") {
            if self.lines.read_line(&mut block).ok()? == 0 {
                return None;
            }
        }
        Some(block)
    }

    fn event(&mut self) -> Option<Event> {
        loop {
            let block = self.block()?;
            let field = |name: &str| {
                let start = format!("{name}: ");
                block
                    .lines()
                    .find_map(|line| line.strip_prefix(&start).map(str::to_owned))
            };
            let Some(data) = field("data") else {
                assert!(block.starts_with(':'), "{block}");
                continue;
            };
            return Some(Event {
                id: field("id").unwrap().parse().unwrap(),
                name: field("event").unwrap(),
                data: serde_json::from_str(&data).unwrap(),
            });
        }
    }

    /// Events up to one of a name about a message.
    fn until(&mut self, message: &str, name: &str) -> Vec<Event> {
        let mut events = Vec::new();
        loop {
            let event = self.event().unwrap();
            let last = event.name == name && event.data["message_id"] == message;
            events.push(event);
            if last {
                return events;
            }
        }
    }
}

fn ids(events: &[Event]) -> Vec<i64> {
    events.iter().map(|event| event.id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_streamed_and_read_on_without_gap_or_repeat() {
    let mut server = TestServer::start().await;
    let before = server.accept(later(&mobile(1), "vorher")).await;
    let mut live = Stream::open(&server, "", None);
    assert!(live.head.starts_with("HTTP/1.0 200"), "{}", live.head);
    let head = live.head.to_lowercase();
    assert!(head.contains("content-type: text/event-stream"), "{head}");
    assert!(head.contains("cache-control: no-cache"), "{head}");
    let first = server.accept(later(&mobile(2), "oi")).await;
    let events = live.until(&first, "message.accepted");
    assert_eq!(
        events.len(),
        1,
        "a stream starts with what happens next: {events:?}"
    );
    let data = &events[0].data;
    assert_eq!(
        (&data["state"], &data["source"]),
        (&json!("scheduled"), &json!("api"))
    );
    server
        .post(&format!("/api/v1/messages/{first}/cancel"), &Value::Null)
        .await;
    live.until(&first, "message.canceled");
    drop(live);

    // From the beginning: everything, once, in the order of the log.
    let mut all = Stream::open(&server, "?after=0", None);
    let whole = all.until(&first, "message.canceled");
    assert_eq!(ids(&whole), [1, 2, 3]);
    assert_eq!(whole[0].data["message_id"], before);
    let cut = whole[1].id;
    for mut resumed in [
        Stream::open(&server, "", Some(cut)),
        Stream::open(&server, &format!("?after={cut}"), None),
        // The header is the later word: it comes from a connection that was cut.
        Stream::open(&server, "?after=0", Some(cut)),
    ] {
        assert_eq!(ids(&resumed.until(&first, "message.canceled")), [cut + 1]);
    }

    // Across the end of the process.
    let sent = server.accept(notice(&mobile(3), "oi")).await;
    server
        .until(&sent, |message| message["delivered_at"].is_string())
        .await;
    let seen = ids(&all.until(&sent, "message.accepted"));
    assert!(server.gateway.terminate().success());
    let mut known = seen.clone();
    while let Some(event) = all.event() {
        known.push(event.id);
    }
    server.restart();
    let last = server.accept(later(&mobile(4), "oi")).await;
    let mut resumed = Stream::open(&server, "", known.last().copied());
    known.extend(ids(&resumed.until(&last, "message.accepted")));
    let expected: Vec<i64> = (seen[0]..=*known.last().unwrap()).collect();
    assert_eq!(known, expected, "no gap and no repeat");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_reader_sees_everything_and_no_person_is_named() {
    let server = TestServer::start().await;
    let mut readers: Vec<Stream> = (0..5).map(|_| Stream::open(&server, "", None)).collect();
    let items: Vec<Value> = (0..300).map(|n| later(&mobile(n), "segredo")).collect();
    let answer = server
        .post("/api/v1/messages/bulk", &json!({ "messages": items }))
        .await;
    let last = answer.json()["results"][299]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut told = Vec::new();
    for reader in &mut readers {
        let events = reader.until(&last, "message.accepted");
        assert_eq!(ids(&events), (1..=300).collect::<Vec<i64>>());
        told.push(format!("{events:?}"));
    }
    assert!(!told[0].contains("segredo") && !told[0].contains("85980000"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_cannot_be_understood_is_refused() {
    let server = TestServer::start().await;
    let mut with_id = headers(&server.key);
    with_id.push(("last-event-id", "abc".to_owned()));
    let answer = server
        .request("GET", "/api/v1/events", &with_id, None)
        .await;
    field_problem(&answer, "Last-Event-ID", "event_id_invalid");
    for query in ["after=x", "since=1", "after="] {
        let answer = server.get(&format!("/api/v1/events?{query}")).await;
        problem(&answer, 422, "invalid_query");
    }
    let none = server.request("GET", "/api/v1/events", &[], None).await;
    problem(&none, 401, "unauthorized");
}
