//! What people wrote while the server could not be told, and words that arrive in another order than
//! they were written in.

use std::time::Duration;

use serde_json::Value;
use simulator::{Affected, CreateFault, Faults, Inbound, Outage};

use crate::client::Answer;
use crate::server::{SENDER, TestServer, mobile, notice};
use crate::signed::{body, signature, status_fields};

fn word(person: usize, text: &str, written_ms_ago: f64) -> Inbound {
    Inbound {
        from: mobile(person),
        body: Some(text.to_owned()),
        written_ms_ago,
        ..Inbound::default()
    }
}

async fn consent(server: &TestServer, person: usize) -> Value {
    let to = mobile(person).replace('+', "%2B");
    let answer = server.get(&format!("/api/v1/consent?to={to}")).await;
    answer.json()["consent"].clone()
}

async fn until_consent(server: &TestServer, person: usize, wanted: &str) {
    server
        .eventually(wanted, async |server| {
            consent(server, person).await == wanted
        })
        .await;
}

async fn inbox(server: &TestServer) -> Vec<Value> {
    let page = server.get("/api/v1/inbound?limit=200").await.json();
    page["messages"].as_array().unwrap().clone()
}

fn outage(affects: Affected) -> Outage {
    Outage {
        affects: vec![affects],
        fault: Some(CreateFault::ErrorBefore {
            status: 503,
            html: false,
        }),
        ..Outage::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_opts_out_while_the_server_is_away_gets_nothing_more() {
    let mut server = TestServer::start().await;
    // Due a moment after the restart, whenever that is.
    let soon = |person| {
        let mut message = notice(&mobile(person), "lembrete");
        let at = jiff::Timestamp::now() + jiff::SignedDuration::from_millis(1_500);
        message["send_at"] = at.to_string().into();
        message
    };
    let leaves = server.accept(soon(1)).await;
    let stays = server.accept(soon(2)).await;
    assert!(server.gateway.terminate().success());
    let answered = server.simulator.inbound(word(1, "SAIR", 0.0)).await;
    assert_eq!(answered.answered, None, "nobody was there to be told");
    // The list is away when the server comes back, and everything else is at work.
    server.simulator.set_outages(vec![outage(Affected::List)]);
    server.restart();
    server
        .eventually("the concern is shown", async |server| {
            let health = server.get("/api/v1/health").await.json();
            health["concerns"].to_string().contains("inbound messages")
        })
        .await;
    tokio::time::sleep(Duration::from_millis(2_000)).await;
    let due = server.message(&stays).await;
    assert_eq!(due["attempts"].as_array().unwrap().len(), 0, "{due:#}");
    let waits = |metrics: &str| metrics.contains("\nrecado_inbound_sending_waits 1\n");
    assert!(waits(&server.get("/metrics").await.text));
    server.simulator.set_outages(Vec::new());
    server.until_state(&leaves, "suppressed").await;
    server
        .until(&stays, |message| message["delivered_at"].is_string())
        .await;
    let sent = server.sent_by_now(SENDER).await;
    let whom: Vec<&str> = sent.iter().map(|truth| truth.to.as_str()).collect();
    assert_eq!(whom, [format!("whatsapp:{}", mobile(2))]);
    let found = inbox(&server).await.remove(0);
    assert_eq!(found["source"], "poll", "{found:#}");
    assert_eq!(found["content"]["body"], "SAIR");
    assert_eq!(found["from"], mobile(1).as_str());
    assert!(found["written_at"].is_string());
    let health = server.get("/api/v1/health").await.json();
    assert_eq!(health["status"], "ok", "{health:#}");
    assert!(!waits(&server.get("/metrics").await.text));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_whose_webhook_never_came_is_found_minutes_later() {
    let server = TestServer::with(
        |settings| {
            settings.faults = Faults {
                inbound_lost: 1.0,
                ..Faults::default()
            };
        },
        &[],
    )
    .await;
    let photo = Inbound {
        media: vec![("https://example.com/a.jpg".into(), "image/jpeg".into())],
        ..word(2, "a foto", 0.0)
    };
    for inbound in [word(1, "SAIR", 0.0), photo] {
        let answered = server.simulator.inbound(inbound).await.answered;
        assert_eq!(answered, None);
    }
    until_consent(&server, 1, "opted_out").await;
    server
        .eventually("the photo", async |server| inbox(server).await.len() == 2)
        .await;
    let found = inbox(&server).await;
    let photo = found.iter().find(|one| one["from"] == mobile(2).as_str());
    let media = &photo.unwrap()["content"]["media"];
    let url = media[0]["url"].as_str().unwrap();
    assert!(
        url.contains("/Media/ME") && !url.ends_with(".json"),
        "{url}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn words_count_in_the_order_in_which_they_were_written() {
    let server = TestServer::start().await;
    let says = async |inbound: Inbound| {
        assert_eq!(server.simulator.inbound(inbound).await.answered, Some(200));
    };
    // Out; then VOLTAR, and SAIR after all. The last one arrives first.
    says(word(1, "SAIR", 60_000.0)).await;
    says(word(1, "SAIR", 5_000.0)).await;
    says(word(1, "VOLTAR", 20_000.0)).await;
    // SAIR, taken back, the taking back first.
    says(word(2, "VOLTAR", 5_000.0)).await;
    says(word(2, "SAIR", 20_000.0)).await;
    until_consent(&server, 2, "open").await;
    // In order, while the provider does not say when.
    says(word(3, "SAIR", 20_000.0)).await;
    server.simulator.set_outages(vec![outage(Affected::Fetch)]);
    says(word(3, "VOLTAR", 5_000.0)).await;
    let id = server.accept(notice(&mobile(3), "cedo")).await;
    assert_eq!(server.message(&id).await["state"], "suppressed");
    server.simulator.set_outages(Vec::new());
    until_consent(&server, 3, "open").await;
    // By now the first one was looked at as well.
    says(word(4, "SAIR", 20_000.0)).await;
    says(word(4, "VOLTAR", 5_000.0)).await;
    until_consent(&server, 4, "open").await;
    assert_eq!(consent(&server, 1).await, "opted_out");
    let id = server.accept(notice(&mobile(1), "nada")).await;
    server.until_state(&id, "suppressed").await;
    let id = server.accept(notice(&mobile(3), "sim")).await;
    server
        .until(&id, |message| message["delivered_at"].is_string())
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_under_way_are_reported_to_the_url_they_were_sent_with() {
    let old = "https://old.example.com/api/v1/whatsapp/status";
    let new = "https://new.example.com/api/v1/whatsapp/status";
    let mut server = TestServer::with(|_| {}, &[("STATUS_CALLBACK_URL", old)]).await;
    server.set("STATUS_CALLBACK_URL", new);
    assert!(server.gateway.terminate().success());
    server.restart();
    for (url, status) in [
        (new, 204),
        (old, 204),
        ("https://other.example.com/api/v1/whatsapp/status", 403),
    ] {
        let answer = report(&server, url).await;
        assert_eq!(answer.status, status, "{url}: {}", answer.text);
    }
}

/// A report that Twilio signs for a URL, whatever proxy is between it and us.
async fn report(server: &TestServer, url: &str) -> Answer {
    let fields = status_fields("SM000000000000000000000000000000aa", "delivered");
    let signature = signature(url, &fields, server.simulator.auth_token());
    let headers = [
        (
            "content-type",
            "application/x-www-form-urlencoded".to_owned(),
        ),
        ("x-twilio-signature", signature),
    ];
    let body = body(&fields).into_bytes();
    let path = "/api/v1/whatsapp/status";
    server.request("POST", path, &headers, Some(body)).await
}
