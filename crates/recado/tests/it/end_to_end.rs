//! The main job: a message goes out once and all that happens to it is on record.

use serde_json::json;
use simulator::{Phone, PhoneBehavior};

use crate::server::{SENDER, TestServer, mobile, notice};

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_followed_until_it_is_read() {
    let server = TestServer::with(
        |settings| {
            settings.phones = vec![Phone {
                number: mobile(1),
                character: PhoneBehavior::ReadsAtOnce,
            }];
        },
        &[],
    )
    .await;
    let id = server
        .accept(notice("(85) 98000-0001", "hoje às 14:00"))
        .await;
    let message = server.until_state(&id, "read").await;
    for time in ["accepted_at", "sent_at", "delivered_at", "read_at"] {
        assert!(message[time].is_string(), "{time} {message:#}");
    }
    assert_eq!(message["to"], mobile(1));
    assert_eq!(message["possible_duplicate"], false);
    assert_eq!(message["attempts"][0]["n"], 1);
    assert_eq!(message["attempts"][0]["outcome"], "sent");
    let truth = server.simulator.truth();
    assert_eq!(truth.len(), 1);
    assert_eq!(truth[0].sid, message["provider_sid"].as_str().unwrap());
    assert_eq!(truth[0].body, "hoje às 14:00");
    let states: Vec<_> = message["history"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["state"].as_str().unwrap())
        .collect();
    let last = states.last().unwrap();
    assert_eq!((states[0], *last), ("accepted", "read"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_form_without_the_ninth_digit_is_tried_once_and_remembered() {
    let server = TestServer::with(
        |settings| {
            let character = PhoneBehavior::OnlyWithoutNinthDigit;
            settings.phones = vec![Phone {
                number: mobile(2),
                character,
            }];
        },
        &[],
    )
    .await;
    let first = server.accept(notice(&mobile(2), "um")).await;
    let message = server.until_state(&first, "read").await;
    let attempts = message["attempts"].as_array().unwrap();
    let forms: Vec<_> = attempts
        .iter()
        .map(|a| a["other_form"].as_bool().unwrap())
        .collect();
    assert_eq!(forms, [false, true], "{message:#}");
    assert_eq!(attempts[0]["error"]["code"], 63_024);
    let second = server.accept(notice(&mobile(2), "dois")).await;
    let message = server.until_state(&second, "read").await;
    assert_eq!(
        message["attempts"].as_array().unwrap().len(),
        1,
        "{message:#}"
    );
    let tos: Vec<_> = server
        .simulator
        .truth()
        .iter()
        .map(|t| t.to.clone())
        .collect();
    let short = "whatsapp:+558580000002";
    assert_eq!(
        tos,
        [
            format!("whatsapp:{}", mobile(2)),
            short.to_owned(),
            short.to_owned()
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn free_text_needs_an_open_window_unless_the_caller_answers_for_it() {
    let server = TestServer::with(|settings| settings.window_enforced = true, &[]).await;
    let text = json!({ "to": mobile(3), "body": "oi" });
    let refused = server.post("/api/v1/messages", &text).await;
    assert_eq!(refused.status, 422);
    assert_eq!(refused.json()["code"], "window_closed");
    let assumed = json!({ "to": mobile(3), "body": "oi", "window": "assume_open" });
    let id = server.accept(assumed).await;
    let failed = server.until_state(&id, "failed").await;
    assert_eq!(failed["error"]["code"], 63_016, "{failed:#}");
    let inbound = simulator::Inbound {
        from: mobile(3),
        body: Some("bom dia".to_owned()),
        ..simulator::Inbound::default()
    };
    assert_eq!(server.simulator.inbound(inbound).await.answered, Some(200));
    let id = server.accept(text).await;
    server
        .until(&id, |message| message["delivered_at"].is_string())
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_passes_leads_to_a_new_attempt_and_a_block_to_none() {
    let server = TestServer::with(
        |settings| {
            settings.phones = vec![
                Phone {
                    number: mobile(4),
                    character: PhoneBehavior::LimitedOnce,
                },
                Phone {
                    number: mobile(5),
                    character: PhoneBehavior::Blocked,
                },
                Phone {
                    number: mobile(6),
                    character: PhoneBehavior::NotOnWhatsapp,
                },
            ];
        },
        &[("RECADO_CLOCK_SCALE", "5000")],
    )
    .await;
    let limited = server.accept(notice(&mobile(4), "a")).await;
    let blocked = server.accept(notice(&mobile(5), "b")).await;
    let absent = server.accept(notice(&mobile(6), "c")).await;
    let message = server.until_state(&limited, "read").await;
    assert_eq!(
        message["attempts"].as_array().unwrap().len(),
        2,
        "{message:#}"
    );
    let message = server.until_state(&blocked, "failed").await;
    assert_eq!(message["error"]["code"], 63_014);
    // A refusal of the person's is kept: nothing more goes to them.
    let next = server.accept(notice(&mobile(5), "d")).await;
    server.until_state(&next, "suppressed").await;
    let message = server.until_state(&absent, "failed").await;
    assert_eq!(message["error"]["code"], 63_024);
    // Both forms were tried, each once.
    assert_eq!(
        message["attempts"].as_array().unwrap().len(),
        2,
        "{message:#}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_callback_settles_is_asked_about_when_it_falls_silent() {
    let server = TestServer::with(
        |settings| {
            let fault = simulator::CreateFault::ResetAfter { after_bytes: None };
            settings.faults.create = vec![simulator::Share { share: 1.0, fault }];
            // Only the first report comes.
            settings.time_scale = 20.0;
        },
        &[("RECADO_CLOCK_SCALE", "1000")],
    )
    .await;
    let id = server.accept(notice(&mobile(1), "um")).await;
    server.until_state(&id, "sent").await;
    let lost = simulator::Faults {
        callback_lost: 1.0,
        ..simulator::Faults::default()
    };
    server.simulator.set_faults(lost);
    let message = server.until(&id, |m| m["delivered_at"].is_string()).await;
    assert_eq!(message["attempts"].as_array().unwrap().len(), 1);
    assert!(message["attempts"][0]["error"].is_null(), "{message:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_few_messages_to_one_person_leave_one_after_the_other_without_a_pause() {
    let server = TestServer::with(
        |settings| {
            settings.faults.latency_ms = (150.0, 150.0);
        },
        &[("RECADO_PERSON_SECONDS", "6")],
    )
    .await;
    let mut last = String::new();
    for text in ["um", "dois", "três"] {
        last = server.accept(notice(&mobile(1), text)).await;
    }
    let message = server.until(&last, |m| m["sent_at"].is_string()).await;
    let started = message["attempts"][0]["started_at"].as_str().unwrap();
    let accepted = message["accepted_at"].as_str().unwrap();
    let (started, accepted): (jiff::Timestamp, jiff::Timestamp) =
        (started.parse().unwrap(), accepted.parse().unwrap());
    let waited = started.duration_since(accepted);
    assert!(waited.as_secs() < 3, "the third message waited {waited}");
}

/// Both requests were open when the process ended, so both are looked for at the same moment.
#[tokio::test(flavor = "multi_thread")]
async fn what_two_senders_sent_to_one_person_is_found_for_both() {
    const OTHER: &str = "+551140000001";
    let senders = format!("{SENDER},{OTHER}");
    let mut server = TestServer::with(
        |settings| {
            settings.senders.push(OTHER.to_owned());
            // The provider has taken the message long before it answers, and never reports.
            settings.time_scale = 0.1;
            settings.faults.callback_before_answer = 1.0;
            settings.faults.callback_lost = 1.0;
        },
        &[("TWILIO_WHATSAPP_FROM", &senders)],
    )
    .await;
    let mut ids = Vec::new();
    for from in [SENDER, OTHER] {
        let mut message = notice(&mobile(1), from);
        message["from"] = json!(from);
        ids.push(server.accept(message).await);
    }
    server
        .eventually("the provider has both", async |server| {
            server.simulator.truth().len() == 2
        })
        .await;
    server.kill_and_restart();
    for id in ids {
        let message = server
            .until(&id, |message| message["attempts"][0]["outcome"] == "sent")
            .await;
        let told = message["history"].to_string();
        assert!(told.contains("process_ended"), "{message:#}");
    }
    assert_eq!(server.simulator.truth().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_said_once_in_the_log_and_stands_in_health_and_metrics() {
    // Nobody listens there.
    let nowhere = [("TWILIO_API_BASE_URL", "http://127.0.0.1:1")];
    let server = TestServer::with(|_| {}, &nowhere).await;
    for n in 0..20 {
        server.accept(notice(&mobile(n), "x")).await;
    }
    server
        .eventually("the outage is noticed", async |server| {
            let health = server.get("/api/v1/health").await.json();
            let concerns = health["concerns"].to_string();
            health["status"] == "degraded" && concerns.contains("Twilio has not been reached")
        })
        .await;
    server
        .eventually("the outage lasts a second", async |server| {
            let metrics = server.get("/metrics").await.text;
            metrics
                .lines()
                .filter_map(|line| line.strip_prefix("recado_provider_unreachable_seconds "))
                .any(|seconds| seconds != "0")
        })
        .await;
    let log = server.gateway.log();
    assert_eq!(log.matches("Twilio cannot be reached").count(), 1, "{log}");
}

/// A campaign of one sender is no reason to wait for an urgent message, nor for another sender.
#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_holds_up_neither_urgent_messages_nor_other_senders() {
    const OTHER: &str = "+551140000001";
    let senders = format!("{SENDER},{OTHER}");
    let server = TestServer::with(
        |settings| settings.senders.push(OTHER.to_owned()),
        &[
            ("TWILIO_WHATSAPP_FROM", &senders),
            ("RECADO_SENDER_RATE", "20"),
        ],
    )
    .await;
    let campaign: Vec<_> = (0..400)
        .map(|n| {
            let mut message = notice(&mobile(n), "campaign");
            message["from"] = json!(SENDER);
            message["priority"] = json!("bulk");
            message
        })
        .collect();
    let answer = server
        .post("/api/v1/messages/bulk", &json!({ "messages": campaign }))
        .await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    for (n, from, priority) in [(1_001, SENDER, "urgent"), (1_002, OTHER, "normal")] {
        let mut message = notice(&mobile(n), "soon");
        message["from"] = json!(from);
        message["priority"] = json!(priority);
        let id = server.accept(message).await;
        server
            .until(&id, |message| !message["sent_at"].is_null())
            .await;
    }
    let waiting = server.messages("state=accepted").await.len();
    assert!(waiting > 200, "only {waiting} of the campaign still wait");
}
