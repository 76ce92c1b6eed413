//! After the answer to a SAIR nothing more goes to that person.

use std::collections::HashMap;

use futures_util::stream::{self, StreamExt};
use serde_json::{Value, json};
use simulator::{Faults, Inbound};

use crate::rng::Rng;
use crate::server::{SENDER, TEMPLATE, TestServer, mobile, notice};
use crate::signed::{body, signature};

const PEOPLE: usize = 500;
const AT_ONCE: usize = 20;
const EACH: usize = 6;

#[tokio::test(flavor = "multi_thread")]
async fn no_request_starts_after_an_acknowledged_opt_out() {
    let server = TestServer::with(
        |settings| {
            settings.faults = Faults {
                latency_ms: (0.0, 25.0),
                ..Faults::default()
            };
        },
        &[],
    )
    .await;
    let acknowledged: Vec<(String, jiff::Timestamp)> = stream::iter(0..PEOPLE)
        .map(|person| leave(&server, person))
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let acknowledged: HashMap<String, jiff::Timestamp> = acknowledged.into_iter().collect();
    server
        .eventually("everything decided", async |server| {
            let page = server
                .get("/api/v1/messages?limit=1&state=accepted")
                .await
                .json();
            page["messages"].as_array().is_some_and(Vec::is_empty)
        })
        .await;
    let mut before = 0;
    for truth in server.simulator.truth() {
        let received: jiff::Timestamp = truth.received_at.parse().unwrap();
        let left = acknowledged[&truth.to];
        assert!(
            received <= left,
            "{received} is after the acknowledgement at {left}"
        );
        before += 1;
    }
    let suppressed = server.messages("state=suppressed").await.len();
    // The race is one: it was neither always won nor always lost.
    assert!(before > PEOPLE / 2, "only {before} were sent");
    assert!(suppressed > PEOPLE / 2, "only {suppressed} were stopped");
    assert_eq!(before + suppressed, PEOPLE * EACH);
}

/// A queue of messages to one person, and a SAIR when some of them have left.
async fn leave(server: &TestServer, person: usize) -> (String, jiff::Timestamp) {
    let to = mobile(person);
    let messages: Vec<Value> = (0..EACH)
        .map(|n| json!({ "to": to, "content_sid": TEMPLATE, "variables": { "1": format!("{n}") } }))
        .collect();
    let body = json!({ "messages": messages });
    let accepted = server.post("/api/v1/messages/bulk", &body).await;
    assert_eq!(accepted.status, 202, "{}", accepted.text);
    let accepted = accepted.json();
    let left = Rng::new(u64::try_from(person).unwrap()).below(EACH);
    if left > 0 {
        let last = accepted["results"][left - 1]["id"].as_str().unwrap();
        server.until(last, |m| m["state"] != "accepted").await;
    }
    let inbound = Inbound {
        from: to.clone(),
        body: Some("SAIR".to_owned()),
        ..Inbound::default()
    };
    let answered = server.simulator.inbound(inbound).await.answered;
    assert_eq!(answered, Some(200));
    (format!("whatsapp:{to}"), jiff::Timestamp::now())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opt_out_holds_in_every_form_of_the_number_until_it_is_taken_back() {
    let server = TestServer::start().await;
    let first = server.accept(notice(&mobile(1), "um")).await;
    server
        .until(&first, |m| m["delivered_at"].is_string())
        .await;
    let says = async |from: &str, text: &str, written_ms_ago: f64| {
        let inbound = Inbound {
            from: from.to_owned(),
            body: Some(text.to_owned()),
            written_ms_ago,
            ..Inbound::default()
        };
        assert_eq!(server.simulator.inbound(inbound).await.answered, Some(200));
    };
    // She writes from the form without the ninth digit.
    says("+558580000001", "parar", 5_000.0).await;
    for (place, form) in ["+5585980000001", "(85) 8000-0001", "85 98000-0001"]
        .iter()
        .enumerate()
    {
        let id = server.accept(notice(form, &format!("forma {place}"))).await;
        server.until_state(&id, "suppressed").await;
    }
    assert_eq!(server.sent_by_now(SENDER).await.len(), 1);
    says(&mobile(1), "VOLTAR", 0.0).await;
    // Twilio is asked first whether they wrote something stricter since.
    server
        .eventually("they are in again", async |server| {
            let consent = server.get("/api/v1/consent?to=5585980000001").await.json();
            consent["consent"] == "open"
        })
        .await;
    let id = server.accept(notice(&mobile(1), "dois")).await;
    server.until(&id, |m| m["delivered_at"].is_string()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_word_that_may_mean_two_things_holds_messages_and_asks() {
    let server = TestServer::start().await;
    let first = server.accept(notice(&mobile(1), "um")).await;
    server
        .until(&first, |m| m["delivered_at"].is_string())
        .await;
    let says = async |text: &str| {
        let inbound = Inbound {
            from: mobile(1),
            body: Some(text.to_owned()),
            ..Inbound::default()
        };
        assert_eq!(server.simulator.inbound(inbound).await.answered, Some(200));
    };
    says("CANCELAR").await;
    server
        .eventually("the question is sent", async |server| {
            server.simulator.truth().len() == 2
        })
        .await;
    // While a request to them is open, nothing else to them would leave anyway.
    server.until_idle().await;
    let held = server.accept(notice(&mobile(1), "dois")).await;
    assert_eq!(
        server.sent_by_now(SENDER).await.len(),
        2,
        "it was sent while the person is being asked"
    );
    assert_eq!(server.message(&held).await["state"], "held");
    let question = server.simulator.truth()[1].body.clone();
    assert!(question.contains("SAIR"), "{question}");
    says("SAIR").await;
    server.until_state(&held, "suppressed").await;
    assert_eq!(server.sent_by_now(SENDER).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operators_word_is_acknowledged_when_nothing_is_under_way() {
    let server = TestServer::with(
        |settings| {
            settings.faults = Faults {
                latency_ms: (300.0, 300.0),
                ..Faults::default()
            };
        },
        &[],
    )
    .await;
    let id = server.accept(notice(&mobile(1), "um")).await;
    server.until_state(&id, "sending").await;
    let word = json!({ "to": mobile(1), "consent": "opted_out" });
    assert_eq!(server.put("/api/v1/consent", &word).await.status, 200);
    let message = server.message(&id).await;
    assert_ne!(
        message["state"], "sending",
        "a request was open at the acknowledgement"
    );
}

/// Tells our webhook what Twilio would: somebody writes, and the callback carries these names.
async fn writes(server: &TestServer, n: u8, names: &[(&str, &str)], text: &str) {
    let url = format!("{}/api/v1/whatsapp/webhook", server.gateway.url);
    let sid = format!("SM{n:032x}");
    let mut fields = vec![
        ("MessageSid".to_owned(), sid),
        ("To".to_owned(), format!("whatsapp:{SENDER}")),
        ("Body".to_owned(), text.to_owned()),
        ("SmsStatus".to_owned(), "received".to_owned()),
    ];
    let names = names.iter();
    fields.extend(names.map(|(field, name)| ((*field).to_owned(), format!("whatsapp:{name}"))));
    let sign = signature(&url, &fields, server.simulator.auth_token());
    let answer = server.callback(&url, body(&fields), Some(sign)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opt_out_follows_the_person_from_the_phone_to_the_user_id_and_back() {
    let server = TestServer::start().await;
    let (maria, joana) = ("BR.1234567890123456", "BR.6543210987654321");
    let phone = mobile(1);
    writes(
        &server,
        1,
        &[("From", &phone), ("ExternalUserId", maria)],
        "SAIR",
    )
    .await;
    // Later the phone is hidden.
    writes(
        &server,
        2,
        &[("From", maria), ("ExternalUserId", maria)],
        "oi",
    )
    .await;
    let id = server.accept(notice(maria, "um")).await;
    server.until_state(&id, "suppressed").await;
    // The other way round: the word comes under the id, and the phone becomes known afterwards.
    writes(&server, 3, &[("From", joana)], "SAIR").await;
    writes(
        &server,
        4,
        &[("From", &mobile(2)), ("ExternalUserId", joana)],
        "oi",
    )
    .await;
    let id = server.accept(notice(&mobile(2), "dois")).await;
    server.until_state(&id, "suppressed").await;
    let shown = server
        .get(&format!("/api/v1/consent?to={joana}"))
        .await
        .json();
    assert_eq!(shown["consent"], "opted_out");
    assert_eq!(
        shown["identities"],
        json!([
            { "kind": "user_id", "address": joana },
            { "kind": "phone", "address": mobile(2) },
        ])
    );
    let events: Vec<&str> = shown["history"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|entry| entry["event"].as_str())
        .collect();
    assert_eq!(events, ["opted_out", "person_merged"]);
    assert!(server.sent_by_now(SENDER).await.is_empty());
}
