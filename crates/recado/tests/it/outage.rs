//! Outages of the provider: what is spent on one, who hears of it, and that everything leaves
//! after it.

use serde_json::json;
use simulator::{CreateFault, Faults, Share};

use crate::server::{TestServer, mobile, notice};

fn always(fault: CreateFault) -> Faults {
    Faults {
        create: vec![Share { share: 1.0, fault }],
        ..Faults::default()
    }
}

async fn accept_many(server: &TestServer, count: usize, priority: &str) {
    let messages: Vec<_> = (0..count)
        .map(|n| {
            let mut message = notice(&mobile(n), "hoje às 14:00");
            message["priority"] = json!(priority);
            message
        })
        .collect();
    let body = json!({ "messages": messages });
    let answer = server.post("/api/v1/messages/bulk", &body).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
}

/// The value of a metric that has one sample, with its labels.
async fn sample(server: &TestServer, name: &str) -> Option<(String, u64)> {
    let page = server.get("/metrics").await.text;
    let line = page
        .lines()
        .find(|line| line.starts_with(&format!("{name}{{")))?;
    let (labels, value) = line[name.len()..].rsplit_once(' ').unwrap();
    Some((labels.to_owned(), value.parse().unwrap()))
}

async fn an_outage_costs_its_probes_and_a_few(fault: CreateFault, reason: &str, words: &str) {
    let server = TestServer::with(|settings| settings.faults = always(fault), &[]).await;
    accept_many(&server, 500, "normal").await;
    server
        .eventually("five probes have failed", async |server| {
            sample(server, "recado_provider_outage_probes")
                .await
                .is_some_and(|(_, probes)| probes >= 5)
        })
        .await;
    let health = server.get("/api/v1/health").await.json();
    let concern = health["concerns"][0].as_str().unwrap();
    assert!(concern.contains(words), "{concern}");
    let labels = format!("{{sender=\"\",reason=\"{reason}\"}}");
    let seconds = sample(&server, "recado_provider_outage_seconds").await;
    assert_eq!(seconds.unwrap().0, labels);
    let waiting = server.messages("state=accepted").await.len();
    let (_, probes) = sample(&server, "recado_provider_outage_probes")
        .await
        .unwrap();
    let spent = 500 - waiting;
    assert!(spent as u64 <= probes + 10, "{spent} with {probes} probes");

    server.simulator.set_faults(Faults::default());
    server
        .eventually("all that waited has left", async |server| {
            server.messages("state=accepted").await.is_empty()
        })
        .await;
    // The last probes may have failed after the count: they leave when they are proven absent.
    server
        .eventually("as many have left as waited", async |server| {
            server.simulator.truth().len() >= waiting
        })
        .await;
    server.until_idle().await;
    assert_eq!(
        sample(&server, "recado_provider_outage_seconds").await,
        None
    );
    let log = server.gateway.log();
    assert_eq!(log.matches("Twilio cannot be reached").count(), 1, "{log}");
    assert_eq!(log.matches("Twilio answers again").count(), 1, "{log}");
    let unknown = "requests ended without an answer";
    assert_eq!(log.matches(unknown).count(), 1, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_with_503_costs_its_probes_and_a_few_messages() {
    let fault = CreateFault::ErrorBefore {
        status: 503,
        html: false,
    };
    an_outage_costs_its_probes_and_a_few(fault, "server_error", "HTTP 503").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_firewall_that_answers_in_place_of_the_provider_is_an_outage() {
    let fault = CreateFault::ErrorBefore {
        status: 403,
        html: true,
    };
    an_outage_costs_its_probes_and_a_few(fault, "garbage", "HTTP 403 that is not from Twilio")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_reset_are_an_outage() {
    let fault = CreateFault::ResetBefore;
    an_outage_costs_its_probes_and_a_few(fault, "connection_lost", "connections break").await;
}

/// The last requests of the evening are lost, and nothing waits after them: no alarm rings all night.
#[tokio::test(flavor = "multi_thread")]
async fn an_outage_that_nobody_asks_about_is_not_shown_for_long() {
    let server = TestServer::with(|_| {}, &[("RECADO_CLOCK_SCALE", "1000")]).await;
    server
        .simulator
        .set_faults(always(CreateFault::ErrorBefore {
            status: 503,
            html: false,
        }));
    for n in 0..3 {
        let mut message = notice(&mobile(n), "boa noite");
        message["delivery"] = json!("at_most_once");
        server.accept(message).await;
    }
    server
        .eventually("the outage has begun", async |server| {
            server.gateway.log().contains("Twilio cannot be reached")
        })
        .await;
    server
        .eventually("it is not shown any more", async |server| {
            sample(server, "recado_provider_outage_seconds")
                .await
                .is_none()
        })
        .await;
    let metrics = server.get("/metrics").await.text;
    assert!(metrics.contains("\nrecado_provider_unreachable_seconds 0\n"));
    let health = server.get("/api/v1/health").await.json();
    let concerns = health["concerns"].to_string();
    assert!(!concerns.contains("has not been reached"), "{concerns}");
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_requests_of_a_campaign_hold_up_no_urgent_message() {
    let slow = |settings: &mut simulator::Settings| settings.faults.latency_ms = (2_000., 2_000.);
    let server = TestServer::with(slow, &[]).await;
    accept_many(&server, 15, "bulk").await;
    server
        .eventually("the campaign takes what places it gets", async |server| {
            let open = &server.get("/api/v1/health").await.json()["open_attempts"];
            open.as_u64().is_some_and(|open| open >= 6)
        })
        .await;
    let mut urgent = notice(&mobile(1_000), "código 1234");
    urgent["priority"] = json!("urgent");
    let urgent = server.accept(urgent).await;
    let urgent = server.until_state(&urgent, "read").await;
    server.until_idle().await;
    let mut ended = Vec::new();
    for message in server.messages("").await {
        let message = server.message(message["id"].as_str().unwrap()).await;
        let at = message["attempts"][0]["finished_at"].as_str();
        ended.extend(at.map(str::to_owned));
    }
    let first = ended.iter().min().unwrap().as_str();
    let started = urgent["attempts"][0]["started_at"].as_str().unwrap();
    assert!(started < first, "{started} is not before {first}");
}
