//! Callbacks: every order, doubled, early, orphaned, forged and malformed.

use serde_json::Value;
use simulator::{Faults, TruthMessage};

use crate::rng::Rng;
use crate::server::{TestServer, mobile, notice};
use crate::signed::{body, signature, status_fields};

const STATUSES: [&str; 4] = ["queued", "sent", "delivered", "read"];

fn permutations() -> Vec<Vec<&'static str>> {
    let mut all = vec![Vec::new()];
    for status in STATUSES {
        all = all
            .into_iter()
            .flat_map(|known: Vec<&'static str>| {
                (0..=known.len()).map(move |place| {
                    let mut longer = known.clone();
                    longer.insert(place, status);
                    longer
                })
            })
            .collect();
    }
    assert_eq!(all.len(), 24);
    all
}

/// Each order alone, each report twice in a row, and the whole order twice.
fn sequences() -> Vec<Vec<&'static str>> {
    let doubled = |order: &Vec<&'static str>| order.iter().flat_map(|s| [*s, *s]).collect();
    let again = |order: &Vec<&'static str>| [order.clone(), order.clone()].concat();
    permutations()
        .iter()
        .flat_map(|order| [order.clone(), doubled(order), again(order)])
        .collect()
}

/// A server whose simulator reports nothing by itself.
async fn silent_server(latency_ms: f64) -> TestServer {
    TestServer::with(
        |settings| {
            // Answers that wait for a first report wait for seconds.
            settings.time_scale = 0.1;
            settings.faults = Faults {
                callback_lost: 1.0,
                // Nothing is answered before the callbacks of the test have come.
                callback_before_answer: if latency_ms > 0.0 { 1.0 } else { 0.0 },
                ..Faults::default()
            };
        },
        &[("RECADO_CLOCK_SCALE", "1")],
    )
    .await
}

async fn truth_of(server: &TestServer, to: &str) -> TruthMessage {
    let to = format!("whatsapp:{to}");
    let mut found = None;
    server
        .eventually("the provider has it", async |server| {
            found = server
                .simulator
                .truth()
                .into_iter()
                .find(|truth| truth.to == to);
            found.is_some()
        })
        .await;
    found.unwrap()
}

/// Reports in an order; whether each moved the state, it never went backwards.
async fn play(server: &TestServer, id: &str, order: &[&str], callback_url: &str, sid: &str) {
    let rank = |message: &Value| {
        let ladder = ["accepted", "sending", "queued", "sent", "delivered", "read"];
        let state = message["state"].as_str().unwrap().to_owned();
        ladder
            .iter()
            .position(|word| *word == state)
            .unwrap_or_else(|| panic!("{state}"))
    };
    let mut reached = 0;
    for status in order {
        let answer = server.report(callback_url, sid, status).await;
        assert_eq!(answer.status, 204, "{order:?} {status} {}", answer.text);
        let message = server.message(id).await;
        let now = rank(&message);
        assert!(
            now >= reached,
            "{order:?}: {status} moved the state back to {message:#}"
        );
        reached = now;
    }
    let message = server.message(id).await;
    assert_eq!(message["state"], "read", "{order:?}");
    for time in ["sent_at", "delivered_at", "read_at"] {
        assert!(message[time].is_string(), "{order:?} {time}: {message:#}");
    }
    let reports = message["history"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| entry["source"] == "callback")
        .count();
    assert!(
        reports <= STATUSES.len(),
        "{order:?}: a repeated report was recorded: {message:#}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_order_after_the_answer_ends_the_same() {
    let server = silent_server(0.0).await;
    for (person, order) in sequences().iter().enumerate() {
        let id = server.accept(notice(&mobile(person), "x")).await;
        let truth = truth_of(&server, &mobile(person)).await;
        server
            .until(&id, |m| m["attempts"][0]["outcome"] == "sent")
            .await;
        play(
            &server,
            &id,
            order,
            truth.status_callback.as_ref().unwrap(),
            &truth.sid,
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_order_before_the_answer_ends_the_same() {
    let server = silent_server(1.0).await;
    let sequences = sequences();
    let mut ids = Vec::new();
    for person in 0..sequences.len() {
        ids.push(server.accept(notice(&mobile(person), "x")).await);
    }
    let server = &server;
    let plays = sequences
        .iter()
        .zip(&ids)
        .enumerate()
        .map(|(person, (order, id))| async move {
            let truth = truth_of(server, &mobile(person)).await;
            play(
                server,
                id,
                order,
                truth.status_callback.as_ref().unwrap(),
                &truth.sid,
            )
            .await;
        });
    futures_util::future::join_all(plays).await;
    let mut early = 0;
    for id in &ids {
        let message = server
            .until(id, |m| m["attempts"][0]["outcome"] == "sent")
            .await;
        assert_eq!(
            message["state"], "read",
            "the answer moved the state: {message:#}"
        );
        let history = message["history"].as_array().unwrap();
        let sent = history
            .iter()
            .position(|e| e["event"] == "message.attempt_sent");
        let reported = history
            .iter()
            .position(|e| e["event"] == "message.reported");
        early += usize::from(reported < sent || sent.is_none());
    }
    assert!(
        early > ids.len() / 4,
        "only {early} of {} were early",
        ids.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_without_the_correlation_find_their_message_by_its_sid() {
    let server = silent_server(0.0).await;
    let url = server.status_url();
    for (person, order) in permutations().iter().enumerate() {
        let id = server.accept(notice(&mobile(person), "x")).await;
        let truth = truth_of(&server, &mobile(person)).await;
        server
            .until(&id, |m| m["attempts"][0]["outcome"] == "sent")
            .await;
        play(&server, &id, order, &url, &truth.sid).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn orphans_wait_for_their_message() {
    let server = silent_server(1.0).await;
    let url = server.status_url();
    let id = server.accept(notice(&mobile(1), "x")).await;
    let truth = truth_of(&server, &mobile(1)).await;
    // The SID is not known here before the answer, and these carry nothing else.
    for status in ["delivered", "sent", "delivered"] {
        assert_eq!(server.report(&url, &truth.sid, status).await.status, 204);
    }
    server.until_state(&id, "delivered").await;
    let nobody = "SM000000000000000000000000000000ff";
    assert_eq!(server.report(&url, nobody, "read").await.status, 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_forged_is_stored() {
    let server = silent_server(0.0).await;
    let id = server.accept(notice(&mobile(1), "x")).await;
    let truth = truth_of(&server, &mobile(1)).await;
    let before = server
        .until(&id, |m| m["attempts"][0]["outcome"] == "sent")
        .await;
    let url = truth.status_callback.unwrap();
    let fields = status_fields(&truth.sid, "delivered");
    let token = server.simulator.auth_token().to_owned();
    let good = signature(&url, &fields, &token);
    let text = body(&fields);
    let forged = std::cell::Cell::new(0);
    let refuse = async |url: &str, text: Vec<u8>, signature: Option<String>| {
        let answer = server.callback(url, text, signature.clone()).await;
        assert_eq!(
            answer.status, 403,
            "{url} {signature:?} was believed: {}",
            answer.text
        );
        forged.set(forged.get() + 1);
    };
    refuse(&url, text.clone().into(), None).await;
    refuse(&url, text.clone().into(), Some(String::new())).await;
    for place in 0..good.len() {
        let mut wrong = good.clone().into_bytes();
        wrong[place] = if wrong[place] == b'A' { b'B' } else { b'A' };
        refuse(
            &url,
            text.clone().into(),
            Some(String::from_utf8(wrong).unwrap()),
        )
        .await;
        refuse(&url, text.clone().into(), Some(good[..place].to_owned())).await;
    }
    for place in 0..fields.len() {
        let mut changed = fields.clone();
        changed[place].1.push('x');
        refuse(&url, body(&changed).into(), Some(good.clone())).await;
        let mut fewer = fields.clone();
        fewer.remove(place);
        refuse(&url, body(&fewer).into(), Some(good.clone())).await;
        let mut more = fields.clone();
        more.insert(place, ("Extra".to_owned(), "1".to_owned()));
        refuse(&url, body(&more).into(), Some(good.clone())).await;
    }
    for other in [
        "",
        "x",
        "0123456789abcdef0123456789abcdee",
        "0123456789ABCDEF0123456789ABCDEF",
    ] {
        refuse(
            &url,
            text.clone().into(),
            Some(signature(&url, &fields, other)),
        )
        .await;
    }
    let rng = Rng::new(3);
    while forged.get() < 200 {
        // The signature of something else.
        let other = status_fields(&truth.sid, &format!("read{}", rng.next()));
        refuse(
            &url,
            text.clone().into(),
            Some(signature(&url, &other, &token)),
        )
        .await;
    }
    let path = url.split('#').next().unwrap();
    let elsewhere = path.replace("?c=", "?c=0");
    refuse(&elsewhere, text.clone().into(), Some(good.clone())).await;
    let inbound = format!("{}/api/v1/whatsapp/webhook", server.gateway.url);
    refuse(&inbound, text.clone().into(), Some(good.clone())).await;
    assert_eq!(server.message(&id).await["history"], before["history"]);
    // The control: the same request unchanged is believed.
    assert_eq!(server.callback(&url, text, Some(good)).await.status, 204);
    server.until_state(&id, "delivered").await;
}

/// While a token is rotated, Twilio signs with the old one or the new one.
#[tokio::test(flavor = "multi_thread")]
async fn both_tokens_sign_and_no_third_one_does() {
    let second = "fedcba9876543210fedcba9876543210";
    let server = TestServer::with(
        |settings| settings.faults.callback_lost = 1.0,
        &[("TWILIO_AUTH_TOKEN_SECONDARY", second)],
    )
    .await;
    let id = server.accept(notice(&mobile(1), "x")).await;
    let truth = truth_of(&server, &mobile(1)).await;
    let url = truth.status_callback.unwrap();
    let tokens = [
        ("0".repeat(32), "sent", 403),
        (second.to_owned(), "delivered", 204),
        (server.simulator.auth_token().to_owned(), "read", 204),
    ];
    for (token, status, wanted) in tokens {
        let fields = status_fields(&truth.sid, status);
        let sign = signature(&url, &fields, &token);
        let answer = server.callback(&url, body(&fields), Some(sign)).await;
        assert_eq!(answer.status, wanted, "{status}");
    }
    let message = server.until_state(&id, "read").await;
    let told = message["history"].to_string();
    assert!(told.contains("\"provider_status\":\"delivered\""), "{told}");
    assert!(!told.contains("\"provider_status\":\"sent\""), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_malformed_brings_it_down() {
    let server = silent_server(0.0).await;
    let urls = [
        server.status_url(),
        format!("{}/api/v1/whatsapp/webhook", server.gateway.url),
    ];
    let token = server.simulator.auth_token().to_owned();
    let rng = Rng::new(11);
    for number in 0..10_000 {
        let url = &urls[rng.below(2)];
        let answer = if number % 2 == 0 {
            // Signed nonsense: it passes the signature check and must be read.
            let fields = nonsense(&rng);
            let sign = signature(url, &fields, &token);
            server.callback(url, body(&fields), Some(sign)).await
        } else {
            let length = rng.below(300);
            let raw = rng.bytes(length);
            server
                .callback(url, raw, Some("bm9uc2Vuc2U=".to_owned()))
                .await
        };
        assert!(answer.status < 500, "{} {}", answer.status, answer.text);
    }
    let long = vec![b'a'; (64 << 10) + 1];
    assert_eq!(
        server
            .callback(&urls[0], long, Some(String::new()))
            .await
            .status,
        413
    );
    let log = server.gateway.log();
    assert!(!log.contains("panicked"), "{log}");
    assert_eq!(server.get("/readyz").await.status, 200);
}

/// Fields that Twilio has names for, with values it never sends.
fn nonsense(rng: &Rng) -> Vec<(String, String)> {
    const NAMES: [&str; 16] = [
        "MessageSid",
        "SmsSid",
        "MessageStatus",
        "SmsStatus",
        "ErrorCode",
        "From",
        "To",
        "Body",
        "WaId",
        "NumMedia",
        "MediaUrl0",
        "Latitude",
        "Longitude",
        "OptOutType",
        "ButtonPayload",
        "OriginalRepliedMessageSid",
    ];
    const VALUES: [&str; 16] = [
        "",
        "SM",
        "SM00000000000000000000000000000001",
        "delivered",
        "DELIVERED",
        "-1",
        "99999999999999999999",
        "whatsapp:",
        "whatsapp:+0",
        "whatsapp:+5585988887777",
        "NaN",
        "\u{0}",
        "\u{202e}\u{feff}",
        "🎉",
        "%00%",
        "SAIR",
    ];
    let mut names: Vec<&str> = NAMES.to_vec();
    (0..rng.below(9))
        .map(|_| {
            let name = names.remove(rng.below(names.len())).to_owned();
            let value = match rng.below(4) {
                0 => String::from_utf8_lossy(&rng.bytes(40)).into_owned(),
                _ => VALUES[rng.below(VALUES.len())].to_owned(),
            };
            (name, value)
        })
        .collect()
}
