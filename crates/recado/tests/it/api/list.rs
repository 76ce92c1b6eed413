//! Looking messages up: one by its id, and lists by every filter.

use std::collections::HashSet;

use serde_json::{Value, json};
use simulator::{Phone, PhoneBehavior};

use super::{encoded, field_problem, in_seconds, later, problem, with};
use crate::server::{SENDER, TestServer, mobile, notice};

const OTHER_SENDER: &str = "+551140000001";

async fn ids(server: &TestServer, query: &str) -> Vec<String> {
    let messages = server.messages(query).await;
    let id = |message: &Value| message["id"].as_str().unwrap().to_owned();
    messages.iter().map(id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_filter_finds_what_it_should_and_all_hold_together() {
    let both = format!("{SENDER},{OTHER_SENDER}");
    let server = TestServer::with(
        |settings| {
            settings.senders = vec![SENDER.to_owned(), OTHER_SENDER.to_owned()];
            let (number, character) = (mobile(2), PhoneBehavior::Fails(63_013));
            settings.phones = vec![Phone { number, character }];
        },
        &[("TWILIO_WHATSAPP_FROM", &both)],
    )
    .await;
    let from = |name: &str| json!({ "from": name });
    let before = jiff::Timestamp::now();
    let first = server
        .accept(with(later(&mobile(1), "a"), from(SENDER)))
        .await;
    let second = server
        .accept(with(later(&mobile(1), "b"), from(OTHER_SENDER)))
        .await;
    let failed = server
        .accept(with(notice(&mobile(2), "c"), from(SENDER)))
        .await;
    server.until_state(&failed, "failed").await;
    let middle = jiff::Timestamp::now();
    let last = server
        .accept(with(later(&mobile(3), "d"), from(SENDER)))
        .await;
    let all = vec![last.clone(), failed.clone(), second.clone(), first.clone()];
    let time = |at: jiff::Timestamp| format!("{at:.6}");
    let accepted = |message: &Value| message["accepted_at"].as_str().unwrap().to_owned();
    let exact = accepted(&server.message(&second).await);
    for (query, expected) in [
        (String::new(), all.clone()),
        (
            "state=scheduled".into(),
            vec![last.clone(), second.clone(), first.clone()],
        ),
        ("state=failed".into(), vec![failed.clone()]),
        ("state=read".into(), vec![]),
        (
            format!("sender={}", encoded(OTHER_SENDER)),
            vec![second.clone()],
        ),
        (
            format!("sender=whatsapp:{}", encoded(OTHER_SENDER)),
            vec![second.clone()],
        ),
        ("sender=%2B5511999999999".into(), vec![]),
        ("error=63013".into(), vec![failed.clone()]),
        ("error=63016".into(), vec![]),
        (format!("since={}", time(before)), all.clone()),
        (format!("since={}", time(middle)), vec![last.clone()]),
        (format!("until={}", time(middle)), all[1..].to_vec()),
        (format!("until={}", time(before)), vec![]),
        (
            format!("since={}&until={}", time(middle), time(before)),
            vec![],
        ),
        (format!("since={exact}"), all[..3].to_vec()),
        (format!("until={exact}"), vec![first.clone()]),
        (format!("since={}", in_seconds(3_600)), vec![]),
        (
            format!("to={}&state=scheduled", encoded(&mobile(1))),
            all[2..].to_vec(),
        ),
        (
            format!("to={}&sender={}", encoded(&mobile(1)), encoded(SENDER)),
            vec![first.clone()],
        ),
        (format!("to={}&error=63013", encoded(&mobile(1))), vec![]),
    ] {
        assert_eq!(ids(&server, &query).await, expected, "{query}");
    }
    for form in [
        "+5585980000001",
        "(85) 98000-0001",
        "85 8000-0001",
        "5585980000001",
        "whatsapp:+558580000001",
        "085980000001",
    ] {
        let query = format!("to={}", encoded(form));
        assert_eq!(ids(&server, &query).await, all[2..].to_vec(), "{form}");
    }
    check_unencoded_plus(&server, before, middle, &all).await;
    assert_eq!(
        ids(&server, &format!("to={}", encoded(&mobile(77)))).await,
        Vec::<String>::new()
    );
}

/// A plus that was forgotten to be encoded arrives as a space. Only the newest of all messages came
/// after `middle`.
async fn check_unencoded_plus(
    server: &TestServer,
    before: jiff::Timestamp,
    middle: jiff::Timestamp,
    all: &[String],
) {
    let plus = |at: jiff::Timestamp| format!("{at:.6}").replace('Z', "+00:00");
    let since = ids(server, &format!("since={}", plus(middle))).await;
    assert_eq!(since, all[..1]);
    let until = ids(server, &format!("until={}", plus(middle))).await;
    assert_eq!(until, all[1..]);
    let path = format!(
        "/api/v1/metrics/delivery?from={}&to={}",
        plus(before),
        plus(middle)
    );
    assert_eq!(server.get(&path).await.status, 200);
    assert_eq!(ids(server, "to=+5585980000001").await, all[2..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_hold_each_message_once_also_while_new_ones_come() {
    let server = TestServer::start().await;
    let items: Vec<Value> = (0..25).map(|n| later(&mobile(n), "oi")).collect();
    let answer = server
        .post("/api/v1/messages/bulk", &json!({ "messages": items }))
        .await;
    assert_eq!(answer.status, 202);
    let expected: Vec<String> = answer.json()["results"]
        .as_array()
        .unwrap()
        .iter()
        .rev()
        .map(|result| result["id"].as_str().unwrap().to_owned())
        .collect();
    for limit in [1, 7, 25, 26, 200] {
        let mut found = Vec::new();
        let mut cursor = String::new();
        let mut pages = 0;
        loop {
            let path = format!(
                "/api/v1/messages?limit={limit}&until={}{cursor}",
                in_seconds(60)
            );
            let page = server.get(&path).await.json();
            let messages = page["messages"].as_array().unwrap();
            assert!(messages.len() <= limit);
            pages += 1;
            found.extend(
                messages
                    .iter()
                    .map(|m| m["id"].as_str().unwrap().to_owned()),
            );
            if pages == 1 {
                server.accept(later(&mobile(100 + limit), "neu")).await;
            }
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        let old: Vec<_> = found
            .iter()
            .filter(|id| expected.contains(id))
            .cloned()
            .collect();
        assert_eq!(old, expected, "limit {limit}");
        let unique: HashSet<_> = found.iter().collect();
        assert_eq!(unique.len(), found.len(), "limit {limit}");
    }
    let default = server.get("/api/v1/messages").await.json();
    assert_eq!(default["messages"].as_array().unwrap().len(), 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_that_cannot_be_read_are_refused() {
    let server = TestServer::start().await;
    for (query, field, code) in [
        ("state=flying", "state", "state_unknown"),
        ("state=", "state", "state_unknown"),
        ("to=123", "to", "bad_length"),
        ("to=", "to", "empty"),
        ("since=yesterday", "since", "time_invalid"),
        ("until=2026-12-01", "until", "time_invalid"),
        ("cursor=!", "cursor", "cursor_invalid"),
        ("cursor=x", "cursor", "cursor_invalid"),
        ("cursor=hello", "cursor", "cursor_invalid"),
        ("limit=0", "limit", "limit_invalid"),
        ("limit=201", "limit", "limit_invalid"),
        ("cursor=", "cursor", "cursor_invalid"),
        ("cursor=-5", "cursor", "cursor_invalid"),
        ("cursor=%2B5", "cursor", "cursor_invalid"),
        ("cursor=zzzzzzzzzzzzzzzzzzzz", "cursor", "cursor_invalid"),
    ] {
        let answer = server.get(&format!("/api/v1/messages?{query}")).await;
        field_problem(&answer, field, code);
    }
    for (query, named) in [
        ("error=abc", "error"),
        ("error=-1", "error"),
        ("limit=x", "limit"),
        ("limit=-1", "limit"),
        ("color=red", "color"),
        ("state=sent&state=read", "state"),
        ("State=sent", "State"),
    ] {
        let answer = server.get(&format!("/api/v1/messages?{query}")).await;
        let found = problem(&answer, 422, "invalid_query");
        assert!(
            found["detail"].as_str().unwrap().contains(named),
            "{found:#}"
        );
    }
    for (query, field) in [("from=123", "from"), ("cursor=!", "cursor")] {
        let answer = server.get(&format!("/api/v1/inbound?{query}")).await;
        assert_eq!(super::fields(&answer.json()), [field], "{}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_nothing_has_is_not_found() {
    let server = TestServer::start().await;
    server.accept(later(&mobile(1), "oi")).await;
    for id in [
        "0198c7d0-0000-7000-8000-000000000000",
        "00000000-0000-0000-0000-000000000000",
        "1",
        "abc",
        "0198c7d0",
        "%20",
        "%ff",
        "..%2F..%2Fetc",
        "'%20OR%201=1",
    ] {
        for (method, path) in [("GET", ""), ("POST", "/cancel"), ("POST", "/retry")] {
            let path = format!("/api/v1/messages/{id}{path}");
            let answer = server
                .request(method, &path, &super::headers(&server.key), None)
                .await;
            assert_eq!(answer.status, 404, "{path} {}", answer.text);
            problem(&answer, 404, "not_found");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_write_is_listed_by_person() {
    let server = TestServer::start().await;
    for (n, text) in [(1, "um"), (2, "dois"), (1, "três")] {
        let inbound = simulator::Inbound {
            from: mobile(n),
            body: Some(text.to_owned()),
            ..simulator::Inbound::default()
        };
        assert_eq!(server.simulator.inbound(inbound).await.answered, Some(200));
    }
    let texts = async |query: &str| {
        let page = server.get(&format!("/api/v1/inbound?{query}")).await.json();
        let text = |message: &Value| message["content"].to_string();
        page["messages"]
            .as_array()
            .unwrap()
            .iter()
            .map(text)
            .collect::<Vec<_>>()
    };
    let all = texts("").await;
    assert_eq!(all.len(), 3);
    assert!(all[0].contains("três") && all[2].contains("um"), "{all:?}");
    let one = texts("from=85%208000-0001").await;
    assert_eq!(one.len(), 2, "{one:?}");
    let page = server.get("/api/v1/inbound?limit=2").await.json();
    let next = page["next_cursor"].as_str().unwrap();
    let rest = server
        .get(&format!("/api/v1/inbound?limit=2&cursor={next}"))
        .await
        .json();
    assert_eq!(rest["messages"].as_array().unwrap().len(), 1);
    assert_eq!(rest["next_cursor"], Value::Null);
    let foreign = server.get(&format!("/api/v1/messages?cursor={next}")).await;
    super::field_problem(&foreign, "cursor", "cursor_invalid");
    assert_eq!(page["messages"][0]["from"], mobile(1));
    assert_eq!(page["messages"][0]["to"], SENDER);
}
