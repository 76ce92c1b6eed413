//! The simulator's own routes.

use hyper::Method;
use serde_json::{Value, json};
use simulator::{Faults, PhoneBehavior, Settings};

use crate::caller::{Caller, PERSON, fast, phone, unanswered, words};
use crate::receiver::{NEVER, Receiver};

#[tokio::test]
async fn the_truth_comes_in_pages_oldest_first() {
    let caller = Caller::start(fast()).await;
    let mut made = Vec::new();
    for _ in 0..7 {
        made.push(caller.text(PERSON, None).await.sid());
    }
    caller.quiet().await;
    let mut seen = Vec::new();
    let mut sizes = Vec::new();
    let mut cursor = json!(0);
    while !cursor.is_null() {
        let page = caller
            .get(&format!("/simulator/truth?cursor={cursor}&limit=3"))
            .await
            .json();
        let messages = page["messages"].as_array().unwrap().clone();
        sizes.push(messages.len());
        seen.extend(
            messages
                .iter()
                .map(|m| m["sid"].as_str().unwrap().to_owned()),
        );
        cursor = page["next_cursor"].clone();
    }
    assert_eq!(sizes, [3, 3, 1]);
    assert_eq!(seen, made);
    let all = caller.get("/simulator/truth").await.json();
    assert_eq!(all["messages"].as_array().unwrap().len(), 7);
    assert_eq!(all["next_cursor"], Value::Null);
    let beyond = caller.get("/simulator/truth?cursor=7").await.json();
    assert_eq!(beyond, json!({ "messages": [], "next_cursor": null }));
}

#[tokio::test]
async fn the_truth_tells_what_was_asked_and_what_became_of_it() {
    let caller = Caller::start(fast()).await;
    let receiver = Receiver::start().await;
    let url = receiver.url("/status?m=1#rc=2");
    let sid = caller.text(PERSON, Some(&url)).await.sid();
    caller.quiet().await;
    let truth = caller.get("/simulator/truth").await.json();
    let message = &truth["messages"][0];
    assert_eq!(message["sid"], sid.as_str());
    assert_eq!(message["to"], PERSON);
    assert_eq!(message["from"], crate::caller::SENDER);
    assert_eq!(message["body"], "Ola");
    assert_eq!(message["status_callback"], url.as_str());
    assert_eq!(message["answered"], "201");
    for name in ["messaging_service_sid", "content_sid", "content_variables"] {
        assert_eq!(message[name], Value::Null, "{name}");
    }
    let accepted: jiff::Timestamp = message["accepted_at"].as_str().unwrap().parse().unwrap();
    let mut before = accepted;
    for (status, word) in
        message["statuses"]
            .as_array()
            .unwrap()
            .iter()
            .zip(["sent", "delivered", "read"])
    {
        assert_eq!(status["status"], word);
        assert_eq!(status["error_code"], Value::Null);
        assert_eq!(
            status["callback"],
            json!({ "tries": 1, "answered": 204, "lost": false })
        );
        let at: jiff::Timestamp = status["at"].as_str().unwrap().parse().unwrap();
        assert!(at >= before);
        before = at;
    }
}

#[tokio::test]
async fn the_state_counts() {
    let caller = Caller::start(Settings {
        time_scale: 0.001,
        ..fast()
    })
    .await;
    let refuse = json!({ "fault": { "kind": "refuse", "status": 400, "code": 1 } });
    caller.control(Method::POST, "script", &refuse).await;
    caller.text(PERSON, None).await;
    caller.text(PERSON, None).await.sid();
    caller
        .control(
            Method::POST,
            "inbound",
            &json!({ "from": "+5511900000001" }),
        )
        .await;
    let state = caller.get("/simulator/state").await.json();
    let expected = json!({
        "creates": 2, "accepted": 1, "inbound": 1, "phones": 1, "pending": 3,
    });
    assert_eq!(state, expected);
}

/// A misspelled field must not look like a fault that is on. Each body contains one word `odd`,
/// which the response names, or lacks a field.
async fn refused(cases: &[(Method, &str, Value)]) {
    let caller = Caller::start(fast()).await;
    let before = caller.get("/simulator/state").await.text;
    for (method, path, body) in cases {
        let answer = caller.control(method.clone(), path, body).await;
        let status = answer.status;
        assert!((400..500).contains(&status), "{path} {body}: {status}");
        let expected = if body.to_string().contains("odd") {
            "odd"
        } else {
            "missing field"
        };
        assert!(
            answer.text.contains(expected),
            "{path} {body}: {}",
            answer.text
        );
    }
    assert_eq!(caller.get("/simulator/state").await.text, before);
    let faults = caller.get("/simulator/faults").await.json();
    assert_eq!(faults, serde_json::to_value(Faults::default()).unwrap());
    caller.text(PERSON, None).await.sid();
}

#[tokio::test]
async fn unknown_fields_are_refused_and_change_nothing() {
    let number = "+5511900000009";
    let share = json!({ "share": 1.0, "fault": { "kind": "hang" }, "odd": 1 });
    refused(&[
        (
            Method::PUT,
            "phones",
            json!([{ "number": number, "character": "off", "odd": 1 }]),
        ),
        (
            Method::PUT,
            "phones",
            json!([{ "number": number, "character": "odd" }]),
        ),
        (Method::PUT, "phones", json!([{ "number": number }])),
        (Method::PUT, "faults", json!({ "odd": 0.5 })),
        (Method::PUT, "faults", json!({ "callback_lost": "odd" })),
        (Method::PUT, "faults", json!({ "create": [share] })),
        (
            Method::PUT,
            "webhook",
            json!({ "odd": "http://127.0.0.1:1/" }),
        ),
        (Method::POST, "inbound", json!({ "from": number, "odd": 1 })),
        (Method::POST, "inbound", json!({ "body": "Oi" })),
        (
            Method::PUT,
            "templates/HX1",
            json!({ "body": "Ola", "odd": 1 }),
        ),
        (Method::PUT, "templates/HX1", json!({})),
    ])
    .await;
    let caller = Caller::start(fast()).await;
    assert_eq!(caller.get("/simulator/truth?odd=1").await.status, 400);
}

#[tokio::test]
async fn unknown_fields_of_faults_are_refused_and_change_nothing() {
    let faults = [
        json!({ "kind": "odd" }),
        json!({ "kind": "too_many", "odd": 1 }),
        json!({ "kind": "error_before", "status": 500, "odd": 1 }),
        json!({ "kind": "error_after", "status": 500, "odd": 1 }),
        json!({ "kind": "error_after" }),
        json!({ "kind": "reset_before", "odd": 1 }),
        json!({ "kind": "reset_after", "odd": 1 }),
        json!({ "kind": "hang", "odd": 1 }),
        json!({ "kind": "garbage", "body": "", "odd": 1 }),
        json!({ "kind": "garbage" }),
        json!({ "kind": "redirect", "odd": 1 }),
        json!({ "kind": "refuse", "status": 400, "code": 1, "odd": 1 }),
        json!({ "kind": "refuse", "status": 400 }),
        json!({ "kind": "none", "odd": 1 }),
    ];
    let script = |fault| (Method::POST, "script", json!({ "fault": fault }));
    let mut cases = faults.map(script).to_vec();
    cases.push((Method::POST, "script", json!({ "to": PERSON })));
    let odd = json!({ "odd": 1, "fault": { "kind": "hang" } });
    cases.push((Method::POST, "script", odd));
    refused(&cases).await;
}

#[tokio::test]
async fn faults_are_read_back_as_they_were_put() {
    let caller = Caller::start(fast()).await;
    let faults = json!({
        "latency_ms": [1.0, 2.0],
        "create": [
            { "share": 0.1, "fault": { "kind": "too_many", "retry_after": "1" } },
            { "share": 0.1, "fault": { "kind": "error_before", "status": 503, "html": true } },
            { "share": 0.1, "fault": { "kind": "error_after", "status": 500 } },
            { "share": 0.1, "fault": { "kind": "reset_before" } },
            { "share": 0.1, "fault": { "kind": "reset_after", "after_bytes": 3 } },
            { "share": 0.1, "fault": { "kind": "hang" } },
            { "share": 0.1, "fault": { "kind": "garbage", "body": "{" } },
            { "share": 0.1, "fault": { "kind": "redirect" } },
            { "share": 0.1, "fault": { "kind": "refuse", "status": 400, "code": 63_018 } },
            { "share": 0.1, "fault": { "kind": "none" } },
            { "share": 0.1, "fault": { "kind": "hang_before" } },
            { "share": 0.1, "fault": { "kind": "slow", "ms": 1.0, "accepted_first": true } },
        ],
        "callback_lost": 0.01,
        "callback_late": 0.02,
        "callback_late_ms": 1_000.0,
        "callback_doubled": 0.03,
        "callback_reordered": 0.04,
        "callback_before_answer": 0.05,
        "callback_forged": 0.06,
        "list_lag_ms": 5_000.0,
        "bodies": "null",
        "inbound_lost": 0.07,
        "inbound_late": 0.08,
        "inbound_late_ms": 2_000.0,
        "inbound_doubled": 0.09,
    });
    let answer = caller.control(Method::PUT, "faults", &faults).await;
    assert_eq!(answer.status, 204, "{}", answer.text);
    assert_eq!(caller.get("/simulator/faults").await.json(), faults);
}

#[tokio::test]
async fn a_reset_goes_back_to_the_start() {
    let settings = Settings {
        phones: vec![phone(PERSON, PhoneBehavior::Blocked)],
        faults: Faults {
            callback_doubled: 1.0,
            ..Faults::default()
        },
        ..fast()
    };
    let caller = Caller::start(settings).await;
    let first = caller.get("/simulator/state").await.text;
    let sid = caller.text(PERSON, None).await.sid();
    let fails = json!([{ "number": "+5511900000002", "character": "off" }]);
    caller.control(Method::PUT, "phones", &fails).await;
    let refuse = json!({ "fault": { "kind": "refuse", "status": 400, "code": 1 } });
    caller.control(Method::POST, "script", &refuse).await;
    caller
        .control(Method::PUT, "faults", &json!({ "callback_lost": 1.0 }))
        .await;
    caller
        .control(
            Method::POST,
            "inbound",
            &json!({ "from": "+5511900000001" }),
        )
        .await;
    caller
        .control(Method::PUT, "templates/HX1", &json!({ "body": "Ola" }))
        .await;
    let answer = caller.control(Method::POST, "reset", &json!(null)).await;
    assert_eq!(answer.status, 204);
    assert_eq!(caller.get("/simulator/state").await.text, first);
    assert_eq!(caller.fetch(&sid).await.refusal(), (404, 20_404));
    let faults = caller.get("/simulator/faults").await.json();
    assert_eq!(faults["callback_doubled"], 1.0);
    assert_eq!(faults["callback_lost"], 0.0);
    // The same requests give the same results: the phones of the settings are known again.
    assert_eq!(caller.text(PERSON, None).await.sid(), sid);
    let truth = caller.quiet().await;
    assert_eq!(truth[0].statuses[0].error_code, Some(63_014));
}

/// What was under way before a reset does not touch the messages after it.
#[tokio::test]
async fn a_reset_forgets_what_is_under_way() {
    let caller = Caller::start(fast()).await;
    let receiver = Receiver::start().await;
    receiver.answer_with(&[NEVER, NEVER, NEVER]);
    let url = receiver.url("/status#rt=1000");
    caller.text(PERSON, Some(&url)).await.sid();
    receiver.wait_for(3).await;
    caller.control(Method::POST, "reset", &json!(null)).await;
    caller
        .text(PERSON, Some(&receiver.url("/status")))
        .await
        .sid();
    let truth = caller.quiet().await;
    assert_eq!(words(&truth[0]), ["sent", "delivered", "read"]);
    for status in &truth[0].statuses {
        assert_eq!(
            (status.callback.tries, status.callback.answered),
            (1, Some(204))
        );
    }
}

/// Absurd times are treated as long times, and nothing breaks.
#[tokio::test]
async fn absurd_times_are_long_times() {
    for time_scale in [1_000.0, 1e-300, 0.0, f64::NAN] {
        let caller = Caller::start(Settings {
            time_scale,
            ..fast()
        })
        .await;
        let faults =
            json!({ "list_lag_ms": 1e300, "callback_late_ms": 1e300, "callback_late": 1.0 });
        let answer = caller.control(Method::PUT, "faults", &faults).await;
        assert_eq!(answer.status, 204, "{}", answer.text);
        let at = (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1)).to_string();
        let service = ("MessagingServiceSid", "MG00000000000000000000000000000001");
        let form = [
            ("To", PERSON),
            service,
            ("Body", "Ola"),
            ("SendAt", at.as_str()),
        ];
        let later = caller.create(&form).await.sid();
        let sid = caller.text(PERSON, Some("http://127.0.0.1:1/")).await.sid();
        assert_eq!(caller.fetch(&sid).await.status, 200);
        assert_eq!(caller.fetch(&later).await.status, 200);
        let never = json!({ "latency_ms": [1e300, 1e300] });
        assert_eq!(
            caller.control(Method::PUT, "faults", &never).await.status,
            204
        );
        let form = [
            ("To", PERSON),
            ("From", crate::caller::SENDER),
            ("Body", "Ola"),
        ];
        let waiting = caller.send_bare(&form).await;
        // Whatever is asked after it is answered.
        for _ in 0..20 {
            assert_eq!(caller.fetch(&sid).await.status, 200);
        }
        assert!(unanswered(&waiting));
    }
}

#[tokio::test]
async fn a_stopped_simulator_ends_at_once() {
    let caller = Caller::start(Settings {
        time_scale: 0.001,
        ..fast()
    })
    .await;
    caller.text(PERSON, None).await.sid();
    assert!(caller.sim.pending() > 0);
    let address = caller.address();
    let Caller { sim, .. } = caller;
    tokio::time::timeout(crate::caller::DEADLINE, sim.stop())
        .await
        .unwrap();
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}
