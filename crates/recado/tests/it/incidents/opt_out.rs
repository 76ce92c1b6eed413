//! What people write while nobody listens is not lost, and nothing leaves before it is known.

use simulator::{CreateFault, Inbound, Outage, TruthWebhook};

use crate::server::{SENDER, TestServer, mobile, notice};

fn says(from: &str, text: &str) -> Inbound {
    Inbound {
        from: from.to_owned(),
        body: Some(text.to_owned()),
        ..Inbound::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_word_that_came_during_a_restart_stops_what_waits() {
    let mut server = TestServer::start().await;
    let before = server.accept(notice(&mobile(1), "um")).await;
    server
        .until(&before, |m| m["delivered_at"].is_string())
        .await;
    server.gateway.kill();
    let told = server.simulator.inbound(says(&mobile(1), "SAIR")).await;
    assert_eq!(told.answered, None);
    let truth = server.simulator.truth_of_inbound();
    assert_eq!(truth.last().unwrap().webhook, TruthWebhook::GivenUp);
    server.restart();
    // Nothing was asked to be looked at: it is so at the start.
    let next = server.accept(notice(&mobile(1), "dois")).await;
    server.until_state(&next, "suppressed").await;
    let other = server.accept(notice(&mobile(2), "dois")).await;
    server
        .until(&other, |m| m["delivered_at"].is_string())
        .await;
    let sent = server.sent_by_now(SENDER).await;
    let to: Vec<_> = sent.iter().map(|truth| truth.to.as_str()).collect();
    let (first, second) = (mobile(1), mobile(2));
    assert_eq!(
        to,
        [format!("whatsapp:{first}"), format!("whatsapp:{second}")]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_at_a_restart_leaves_only_after_the_list_is_read() {
    let mut server = TestServer::start().await;
    // All of them wait when the process ends, and one of them wants to leave.
    let retry_after = Some("1".to_owned());
    server.simulator.set_outages(vec![Outage {
        fault: Some(CreateFault::TooMany { retry_after }),
        ..Outage::default()
    }]);
    let mut ids = Vec::new();
    for n in 0..20 {
        ids.push(server.accept(notice(&mobile(n), "um")).await);
    }
    // In order, so that no request is cut off whose end nobody knows.
    assert!(server.gateway.terminate().success());
    server.simulator.inbound(says(&mobile(7), "SAIR")).await;
    server.simulator.set_outages(Vec::new());
    server.restart();
    for (n, id) in ids.iter().enumerate() {
        if n == 7 {
            continue;
        }
        server
            .until(id, |message| message["delivered_at"].is_string())
            .await;
    }
    let to = format!("whatsapp:{}", mobile(7));
    let sent = server.simulator.truth();
    assert!(sent.iter().all(|truth| truth.to != to));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_was_lost_is_found_in_the_list() {
    let server = TestServer::with(|_| {}, &[("RECADO_CLOCK_SCALE", "1000")]).await;
    server.simulator.set_faults(simulator::Faults {
        inbound_lost: 1.0,
        ..simulator::Faults::default()
    });
    server.simulator.inbound(says(&mobile(1), "SAIR")).await;
    server
        .eventually("the word is found", async |server| {
            let id = server.accept(notice(&mobile(1), &word())).await;
            let message = server
                .until(&id, |m| {
                    m["state"] == "suppressed" || m["sent_at"].is_string()
                })
                .await;
            message["state"] == "suppressed"
        })
        .await;
}

/// A text that was not sent before.
fn word() -> String {
    jiff::Timestamp::now().as_microsecond().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn words_that_arrive_reversed_end_as_they_were_written() {
    let server = TestServer::start().await;
    // She is out, writes VOLTAR and thinks better of it; the second word is there first.
    let told = server.simulator.inbound(says(&mobile(1), "SAIR")).await;
    assert_eq!(told.answered, Some(200));
    let back = Inbound {
        written_ms_ago: 5_000.0,
        late_ms: Some(50_000.0),
        ..says(&mobile(1), "VOLTAR")
    };
    server.simulator.inbound(back).await;
    server.simulator.inbound(says(&mobile(1), "SAIR")).await;
    server.simulator.quiet().await;
    // The commit that learns when the last two were written decides.
    server
        .eventually("it is known when they were written", async |server| {
            let page = server.get("/api/v1/inbound?limit=200").await.json();
            let words = page["messages"].as_array().unwrap().iter();
            words.filter(|word| word["written_at"].is_string()).count() >= 2
        })
        .await;
    let id = server.accept(notice(&mobile(1), "um")).await;
    server.until_state(&id, "suppressed").await;
    // And the other way around: out, and back again.
    let out = Inbound {
        written_ms_ago: 5_000.0,
        late_ms: Some(50_000.0),
        ..says(&mobile(2), "SAIR")
    };
    server.simulator.inbound(out).await;
    server.simulator.inbound(says(&mobile(2), "VOLTAR")).await;
    server.simulator.quiet().await;
    server
        .eventually("the later word stands", async |server| {
            let id = server.accept(notice(&mobile(2), &word())).await;
            let message = server
                .until(&id, |m| {
                    m["state"] == "suppressed" || m["sent_at"].is_string()
                })
                .await;
            message["sent_at"].is_string()
        })
        .await;
}
