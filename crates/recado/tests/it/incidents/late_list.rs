//! Twilio's list is later than anybody may rely on, or cannot be read at all: nothing is sent twice
//! because of that, and somebody is told.

use rusqlite::Connection;
use serde_json::{Value, json};
use simulator::{Affected, CreateFault, Faults, Outage, Rule};

use crate::server::{TestServer, mobile, notice};

/// Fifteen minutes take 2.25 s, and the list may lag by 0.75 s.
const SCALE: [(&str, &str); 1] = [("RECADO_CLOCK_SCALE", "400")];
const TIME_SCALE: f64 = 50.0;

fn copies(server: &TestServer, to: &str) -> usize {
    let to = format!("whatsapp:{to}");
    let truth = server.simulator.truth();
    truth.iter().filter(|truth| truth.to == to).count()
}

/// The longest lag that is written down, in microseconds.
fn noted_lag(server: &TestServer) -> i64 {
    let database = Connection::open(server.database()).unwrap();
    let lag = database.query_row("SELECT max(lag) FROM list_lag", [], |row| {
        row.get::<_, Option<i64>>(0)
    });
    lag.unwrap().unwrap_or_default()
}

/// The list shows what goes to two people 20 minutes late. A lost message to one of them exists,
/// and would be sent again after 15, if what the other one's message tells were forgotten.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_is_later_than_the_bound_leads_to_no_double() {
    let mut server = TestServer::with(
        |settings| {
            settings.time_scale = TIME_SCALE;
            settings.faults = Faults {
                callback_lost: 1.0,
                ..Faults::default()
            };
        },
        &SCALE,
    )
    .await;
    let (measured, lost, younger) = (mobile(1), mobile(2), mobile(3));
    let late = |to: &str| Rule {
        to: Some(format!("whatsapp:{to}")),
        list_lag_ms: Some(3_000.0 * TIME_SCALE),
        ..Rule::default()
    };
    server
        .simulator
        .set_rules(vec![late(&measured), late(&lost)]);
    server.accept(notice(&measured, "hoje")).await;
    server
        .eventually("the lag is written down", async |server| {
            noted_lag(server) > 750_000
        })
        .await;
    server.kill_and_restart();
    let fault = CreateFault::ResetAfter { after_bytes: None };
    server
        .simulator
        .script(&format!("whatsapp:{lost}"), 1, fault);
    let id = server.accept(notice(&lost, "hoje")).await;
    server
        .until(&id, |m| m["attempts"][0]["outcome"] == "unknown")
        .await;
    server.accept(notice(&younger, "hoje")).await;
    let found = server.until(&id, |m| m["provider_sid"].is_string()).await;
    assert_eq!(found["attempts"][0]["settled_by"], "list", "{found:#}");
    assert_eq!(copies(&server, &lost), 1, "{found:#}");
}

fn told(message: &Value, detail: &str) -> bool {
    let history = message["history"].as_array().unwrap();
    history.iter().any(|event| event["detail"] == detail)
}

/// A key that may send and not list: each policy comes to its end all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_cannot_be_read_leaves_nobody_in_the_dark() {
    let mut server = TestServer::with(|_| {}, &SCALE).await;
    server.expect_error("inbound messages cannot be listed");
    let first = server.accept(notice(&mobile(100), "hoje")).await;
    server.until(&first, |m| m["sent_at"].is_string()).await;
    server.simulator.set_outages(vec![Outage {
        affects: vec![Affected::List],
        fault: Some(CreateFault::ErrorBefore {
            status: 403,
            html: false,
        }),
        ..Outage::default()
    }]);
    let mut ids = Vec::new();
    for (n, policy) in ["once", "at_most_once", "at_least_once", "ask"]
        .iter()
        .enumerate()
    {
        let to = mobile(n);
        let fault = CreateFault::ResetBefore;
        server.simulator.script(&format!("whatsapp:{to}"), 1, fault);
        let mut message = notice(&to, "hoje");
        message["delivery"] = json!(policy);
        let id = server.accept(message).await;
        server
            .until(&id, |m| m["attempts"][0]["outcome"] == "unknown")
            .await;
        ids.push(id);
    }
    for id in &ids {
        server.until(id, |m| told(m, "unreachable")).await;
    }
    assert_eq!(server.message(&ids[0]).await["state"], "unknown");
    assert_eq!(server.message(&ids[1]).await["state"], "unknown");
    let marked = server.until(&ids[2], |m| m["sent_at"].is_string()).await;
    assert_eq!(marked["possible_duplicate"], true, "{marked:#}");
    assert_eq!(server.message(&ids[3]).await["state"], "held");
    let health = server.get("/api/v1/health").await.json();
    let concerns = health["concerns"].to_string();
    assert!(
        concerns.contains("2 messages ended as unknown"),
        "{health:#}"
    );
    // As soon as it can be read again, what is lost is proven to be so.
    server.simulator.set_outages(Vec::new());
    let sent = server.until(&ids[0], |m| m["sent_at"].is_string()).await;
    assert_eq!(sent["attempts"][0]["outcome"], "absent", "{sent:#}");
    let proof = "readings=";
    let history = sent["history"].as_array().unwrap();
    let details = history.iter().filter_map(|event| event["detail"].as_str());
    assert!(details.into_iter().any(|detail| detail.starts_with(proof)));
    assert_eq!(sent["possible_duplicate"], false, "{sent:#}");
    assert_eq!(copies(&server, &mobile(0)), 1);
    assert_eq!(copies(&server, &mobile(1)), 0);
}
