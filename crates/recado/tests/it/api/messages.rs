//! Sending one message: what is taken, what holds when a field is left out, and what arrives.

use serde_json::{Value, json};

use super::{fields, headers, in_seconds, later, post_text, problem, with};
use crate::server::{SENDER, TEMPLATE, TestServer, mobile, notice};

const OTHER_SENDER: &str = "+551140000001";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_out_has_its_default() {
    let server = TestServer::start().await;
    let answer = server
        .post("/api/v1/messages", &notice("85 98000-0001", "oi"))
        .await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    let accepted = answer.json();
    let id = accepted["id"].as_str().unwrap();
    let location = format!("/api/v1/messages/{id}");
    assert_eq!(answer.header("location"), Some(location.as_str()));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("idempotency-replayed"), None);
    let expected = json!({ "id": id, "state": "accepted", "to": mobile(1) });
    assert_eq!(accepted, expected);
    let uuid = uuid::Uuid::parse_str(id).unwrap();
    assert_eq!(uuid.get_version_num(), 7);
    let message = server.message(id).await;
    for (field, value) in [
        ("from", json!(SENDER)),
        ("kind", json!("utility")),
        ("priority", json!("normal")),
        ("delivery", json!("once")),
        ("content_sid", json!(TEMPLATE)),
        ("business_key", Value::Null),
        ("metadata", Value::Null),
        ("send_at", Value::Null),
        ("expires_at", Value::Null),
        ("possible_duplicate", json!(false)),
    ] {
        assert_eq!(message[field], value, "{field} {message:#}");
    }
    let text = json!({ "to": mobile(2), "body": "oi", "window": "assume_open" });
    let id = server.accept(text).await;
    let message = server.message(&id).await;
    assert_eq!(message["kind"], "service");
    assert_eq!(message["content_sid"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_field_is_kept_and_shown() {
    let both = format!("{SENDER},{OTHER_SENDER}");
    let senders = vec![SENDER.to_owned(), OTHER_SENDER.to_owned()];
    let server = TestServer::with(
        |settings| settings.senders = senders,
        &[("TWILIO_WHATSAPP_FROM", &both)],
    )
    .await;
    let (send_at, expires_at) = (in_seconds(3_600), in_seconds(7_200));
    let full = json!({
        "to": "whatsapp:+558580000003", "content_sid": TEMPLATE,
        "variables": { "1": "Ana", "hora": "14:00" },
        "from": format!("whatsapp:{OTHER_SENDER}"), "kind": "authentication",
        "priority": "urgent", "send_at": send_at, "expires_at": expires_at,
        "delivery": "ask", "window": "enforce", "business_key": "interview:42:reminder:v3",
        "dedupe": "allow", "metadata": { "id": 7, "tags": ["ção", null, 1.5, { "x": true }] },
    });
    let id = server.accept(full.clone()).await;
    let message = server.message(&id).await;
    assert_eq!(message["to"], mobile(3));
    assert_eq!(message["state"], "scheduled");
    assert_eq!(message["from"], OTHER_SENDER);
    for field in [
        "kind",
        "priority",
        "delivery",
        "business_key",
        "metadata",
        "content_sid",
    ] {
        assert_eq!(message[field], full[field], "{field}");
    }
    for (field, given) in [
        ("send_at", &send_at),
        ("expires_at", &expires_at),
        ("due_at", &send_at),
    ] {
        let shown: jiff::Timestamp = message[field].as_str().unwrap().parse().unwrap();
        assert_eq!(shown, given.parse().unwrap(), "{field}");
    }
    // The same words in the list.
    let listed = &server.messages("").await[0];
    for (field, value) in listed.as_object().unwrap() {
        assert_eq!(&message[field], value, "{field}");
    }
    for (field, words) in [
        (
            "kind",
            ["utility", "authentication", "marketing", "service"].as_slice(),
        ),
        ("priority", &["urgent", "normal", "bulk"]),
        (
            "delivery",
            &["once", "at_most_once", "at_least_once", "ask"],
        ),
    ] {
        for word in words {
            let id = server
                .accept(with(
                    later(&mobile(4), word),
                    json!({ field: word, "dedupe": "allow" }),
                ))
                .await;
            assert_eq!(server.message(&id).await[field], *word);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_content_arrives_as_it_was_given() {
    let server = TestServer::start().await;
    let text = format!("Olá!\n\"açaí\" \\ 😀 {}", "é".repeat(1_583));
    assert_eq!(text.chars().count(), 1_599);
    let open = json!({ "window": "assume_open" });
    let contents = [
        (json!({ "body": text }), text.as_str()),
        (json!({ "body": "😀".repeat(1_600) }), &"😀".repeat(1_600)),
        (
            json!({ "media_url": "https://h.example/a.pdf?x=1&y=2" }),
            "",
        ),
        (
            json!({ "media_url": "http://h.example/é.jpg", "body": "foto" }),
            "foto",
        ),
        (
            json!({ "body": "Aqui", "persistent_action": "geo:-3.7,-38.5|Loja" }),
            "Aqui",
        ),
        (
            json!({ "content_sid": TEMPLATE, "variables": { "1": "Ana & Zé = 100%+" } }),
            "Ana & Zé = 100%+",
        ),
        (
            json!({ "content_sid": TEMPLATE.to_lowercase().replace("hx", "HX") }),
            "",
        ),
    ];
    for (place, (content, body)) in contents.iter().enumerate() {
        let message = with(
            with(content.clone(), open.clone()),
            json!({ "to": mobile(place) }),
        );
        let id = server.accept(message).await;
        server
            .until(&id, |message| message["sent_at"].is_string())
            .await;
        let to = format!("whatsapp:{}", mobile(place));
        let truth = server.simulator.truth();
        let found: Vec<_> = truth.iter().filter(|m| m.to == to).collect();
        assert_eq!(found.len(), 1, "{content}");
        assert_eq!(found[0].body, *body, "{content}");
        assert_eq!(
            found[0].from.as_deref(),
            Some(format!("whatsapp:{SENDER}").as_str())
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_are_read_as_people_type_them_and_refused_with_the_reason() {
    let server = TestServer::start().await;
    let cases = include_str!("../../../../delivery/tests/fixtures/br_phone_cases.csv");
    let mut reader = csv::Reader::from_reader(cases.as_bytes());
    let names = reader.headers().unwrap().clone();
    let (mut taken, mut refused) = (0, 0);
    for row in reader.records().map(Result::unwrap) {
        let cell = |name: &str| {
            row.get(names.iter().position(|n| n == name).unwrap())
                .unwrap()
        };
        let input = cell("input");
        let typed = cell("context") == "typed"
            || (cell("context") == "inbound" && input.starts_with("whatsapp:"));
        if !typed {
            continue;
        }
        let message = with(later(input, "oi"), json!({ "dedupe": "allow" }));
        let answer = server.post("/api/v1/messages", &message).await;
        if cell("status") == "ok" {
            taken += 1;
            assert_eq!(answer.status, 202, "{input} {}", answer.text);
            if !cell("e164").is_empty() {
                assert_eq!(answer.json()["to"], cell("e164"), "{input}");
            }
        } else {
            refused += 1;
            super::field_problem(&answer, "to", cell("reason"));
        }
    }
    assert!(taken > 10 && refused > 10, "{taken} {refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_json_is_refused_with_its_place() {
    let server = TestServer::start().await;
    for (text, place) in [
        ("", "line 1, column 0"),
        (" ", "line 1, column 1"),
        ("{", "line 1, column 1"),
        (
            "{\"to\": \"+5585980000001\",\n \"body\" \"x\"}",
            "line 2, column 9",
        ),
        ("{} {}", "line 1, column 4"),
        ("{\"to\": \"\\ud800\"}", "line 1, column 15"),
        ("{\"to\": 1e999}", "line 1"),
        ("to=%2B5585980000001&body=oi", "line 1"),
    ] {
        let answer = post_text(&server, "/api/v1/messages", text).await;
        let problem = problem(&answer, 400, "malformed_json");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(place), "{text}: {detail}");
        assert!(fields(&problem).is_empty());
    }
    let deep = format!(
        "{{\"metadata\": {{\"a\": {}1{}}}}}",
        "[".repeat(5_000),
        "]".repeat(5_000)
    );
    let answer = post_text(&server, "/api/v1/messages", &deep).await;
    assert!((400..500).contains(&answer.status), "{}", answer.text);
    let invalid = Some(b"{\"to\": \"\xff\xfe\"}".to_vec());
    let answer = server
        .request("POST", "/api/v1/messages", &headers(&server.key), invalid)
        .await;
    problem(&answer, 400, "malformed_json");
    assert!(server.messages("").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_json_is_taken() {
    let server = TestServer::start().await;
    let good = notice(&mobile(1), "oi").to_string().into_bytes();
    let bulk = json!({ "messages": [notice(&mobile(2), "oi")] })
        .to_string()
        .into_bytes();
    for kind in [
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonp",
        "json",
    ] {
        for (path, body) in [
            ("/api/v1/messages", &good),
            ("/api/v1/messages/bulk", &bulk),
        ] {
            let mut headers = headers(&server.key);
            headers.retain(|(name, _)| *name != "content-type");
            if !kind.is_empty() {
                headers.push(("content-type", kind.to_owned()));
            }
            let answer = server
                .request("POST", path, &headers, Some(body.clone()))
                .await;
            problem(&answer, 415, "not_json");
        }
    }
    assert!(server.messages("").await.is_empty());
    for (place, kind) in [
        "application/json; charset=utf-8",
        "APPLICATION/JSON",
        "application/vnd.api+json",
    ]
    .iter()
    .enumerate()
    {
        let mut headers = headers(&server.key);
        headers.retain(|(name, _)| *name != "content-type");
        headers.push(("content-type", (*kind).to_owned()));
        let body = notice(&mobile(place), "oi").to_string().into_bytes();
        let answer = server
            .request("POST", "/api/v1/messages", &headers, Some(body))
            .await;
        assert_eq!(answer.status, 202, "{kind} {}", answer.text);
    }
}
