//! Faults of creates: what the caller sees, and whether the message was accepted nevertheless.

use std::time::{Duration, Instant};

use hyper::Method;
use serde_json::{Value, json};
use simulator::{Faults, Settings};

use crate::caller::{Caller, DEADLINE, PERSON, SENDER, Seen, fast, unanswered};

const FORM: [(&str, &str); 3] = [("To", PERSON), ("From", SENDER), ("Body", "Ola")];
const OTHER: &str = "whatsapp:+5511900000002";

/// How the truth log names the responses to what was accepted, in order.
fn truth(caller: &Caller) -> Vec<String> {
    caller.sim.truth().into_iter().map(|m| m.answered).collect()
}

async fn script(caller: &Caller, script: Value) {
    let answer = caller.control(Method::POST, "script", &script).await;
    assert_eq!(answer.status, 204, "{}", answer.text);
}

/// Creates once with this fault over a raw connection.
async fn create_with(caller: &Caller, fault: Value) -> Seen {
    script(caller, json!({ "fault": fault })).await;
    caller.create_bare(&FORM).await
}

impl Seen {
    fn status(&self) -> &str {
        self.text.split(' ').nth(1).unwrap_or_default()
    }

    fn body(&self) -> &str {
        self.text
            .split_once("\r\n\r\n")
            .map_or("", |(_, body)| body)
    }

    fn header(&self, name: &str) -> Option<&str> {
        let head = self.text.split("\r\n\r\n").next().unwrap();
        let start = format!("{name}: ");
        head.lines()
            .find_map(|line| line.strip_prefix(start.as_str()))
    }
}

#[tokio::test]
async fn too_many_is_not_accepted() {
    let caller = Caller::start(fast()).await;
    let date = "Wed, 21 Oct 2026 07:28:00 GMT";
    for retry_after in [
        None,
        Some("2"),
        Some(date),
        Some("soon"),
        Some("99999999999"),
    ] {
        let fault = match retry_after {
            None => json!({ "kind": "too_many" }),
            Some(value) => json!({ "kind": "too_many", "retry_after": value }),
        };
        let seen = create_with(&caller, fault).await;
        assert_eq!(seen.status(), "429");
        assert_eq!(seen.header("retry-after"), retry_after);
        let body: Value = serde_json::from_str(seen.body()).unwrap();
        assert_eq!(body["code"], 20_429);
        assert!(!seen.reset);
    }
    assert!(truth(&caller).is_empty());
}

#[tokio::test]
async fn errors_before_acceptance_come_as_json_and_as_html() {
    let caller = Caller::start(fast()).await;
    for status in [500, 502, 503, 504, 408] {
        let fault = json!({ "kind": "error_before", "status": status });
        let seen = create_with(&caller, fault).await;
        assert_eq!(seen.status(), status.to_string());
        assert_eq!(
            seen.header("content-type"),
            Some("application/json;charset=utf-8")
        );
        let body: Value = serde_json::from_str(seen.body()).unwrap();
        assert_eq!(
            (&body["code"], &body["status"]),
            (&json!(20_500), &json!(status))
        );
        let fault = json!({ "kind": "error_before", "status": status, "html": true });
        let seen = create_with(&caller, fault).await;
        assert_eq!(seen.status(), status.to_string());
        assert_eq!(seen.header("content-type"), Some("text/html"));
        assert!(seen.body().starts_with("<html>"));
    }
    assert!(truth(&caller).is_empty());
}

#[tokio::test]
async fn errors_after_acceptance_hide_a_message() {
    let caller = Caller::start(fast()).await;
    for status in [500, 503] {
        let fault = json!({ "kind": "error_after", "status": status });
        let seen = create_with(&caller, fault).await;
        assert_eq!(seen.status(), status.to_string());
        assert!(
            !seen.text.contains("SM"),
            "the answer does not give the message away"
        );
    }
    assert_eq!(truth(&caller), ["500", "503"]);
    let truth = caller.quiet().await;
    assert!(
        truth.iter().all(|m| m.statuses.len() == 3),
        "and it is delivered"
    );
}

#[tokio::test]
async fn resets_before_and_after_acceptance_look_the_same() {
    let caller = Caller::start(fast()).await;
    let seen = create_with(&caller, json!({ "kind": "reset_before" })).await;
    assert_eq!((seen.text.as_str(), seen.reset), ("", true));
    assert!(truth(&caller).is_empty());
    let seen = create_with(&caller, json!({ "kind": "reset_after" })).await;
    assert_eq!((seen.text.as_str(), seen.reset), ("", true));
    assert_eq!(truth(&caller), ["reset"]);
}

#[tokio::test]
async fn resets_happen_after_the_given_number_of_bytes() {
    let caller = Caller::start(fast()).await;
    let whole = caller.text(PERSON, None).await.text.len();
    let mut accepted = 1;
    for bytes in [0, 1, 2, 40, whole / 2, whole - 1] {
        let fault = json!({ "kind": "reset_after", "after_bytes": bytes });
        let seen = create_with(&caller, fault).await;
        assert!(seen.reset, "{bytes}");
        assert_eq!(seen.status(), "201", "{bytes}: {}", seen.text);
        assert_eq!(seen.body().len(), bytes);
        let promised: usize = seen.header("content-length").unwrap().parse().unwrap();
        assert!(promised > bytes);
        accepted += 1;
        assert_eq!(truth(&caller).len(), accepted);
    }
    let fault = json!({ "kind": "reset_after", "after_bytes": 1_000_000 });
    let seen = create_with(&caller, fault).await;
    let body: Value = serde_json::from_str(seen.body()).unwrap();
    assert_eq!(body["sid"], caller.sim.truth().last().unwrap().sid.as_str());
}

#[tokio::test]
async fn a_create_that_hangs_is_accepted() {
    let caller = Caller::start(fast()).await;
    script(&caller, json!({ "fault": { "kind": "hang" } })).await;
    let hanging = caller.send_bare(&FORM).await;
    let end = Instant::now() + DEADLINE;
    while truth(&caller).is_empty() {
        assert!(Instant::now() < end, "it is accepted");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // The next ones are served at once, and still nothing comes to the first.
    for _ in 0..20 {
        caller.text(PERSON, None).await.sid();
    }
    assert!(unanswered(&hanging));
    assert_eq!(truth(&caller)[0], "hang");
}

#[tokio::test]
async fn garbage_comes_as_an_acceptance() {
    let caller = Caller::start(fast()).await;
    for body in ["", "{", "null", "{\"sid\":7}", "<html></html>"] {
        let fault = json!({ "kind": "garbage", "body": body });
        let seen = create_with(&caller, fault).await;
        assert_eq!((seen.status(), seen.body()), ("201", body));
        assert!(!seen.reset);
    }
    assert_eq!(truth(&caller), ["garbage"; 5]);
}

#[tokio::test]
async fn redirects_and_refusals_accept_nothing() {
    let caller = Caller::start(fast()).await;
    let seen = create_with(&caller, json!({ "kind": "redirect" })).await;
    assert_eq!(
        (seen.status(), seen.header("location")),
        ("307", Some("/elsewhere"))
    );
    for (status, code) in [(400, 63_018), (400, 21_610), (403, 20_003), (404, 20_404)] {
        let fault = json!({ "kind": "refuse", "status": status, "code": code });
        let seen = create_with(&caller, fault).await;
        assert_eq!(seen.status(), status.to_string());
        let body: Value = serde_json::from_str(seen.body()).unwrap();
        assert_eq!(
            (&body["code"], &body["status"]),
            (&json!(code), &json!(status))
        );
    }
    assert!(truth(&caller).is_empty());
}

#[tokio::test]
async fn scripts_hold_for_one_address_and_for_a_number_of_creates() {
    let caller = Caller::start(fast()).await;
    let refuse = |code: u32| json!({ "kind": "refuse", "status": 400, "code": code });
    script(
        &caller,
        json!({ "to": PERSON, "times": 2, "fault": refuse(1) }),
    )
    .await;
    script(
        &caller,
        json!({ "to": PERSON, "fault": { "kind": "none" } }),
    )
    .await;
    script(&caller, json!({ "to": PERSON, "fault": refuse(2) })).await;
    assert_eq!(caller.text(OTHER, None).await.status, 201);
    assert_eq!(caller.text(PERSON, None).await.refusal(), (400, 1));
    assert_eq!(caller.text(OTHER, None).await.status, 201);
    assert_eq!(caller.text(PERSON, None).await.refusal(), (400, 1));
    assert_eq!(caller.text(PERSON, None).await.status, 201);
    assert_eq!(caller.text(PERSON, None).await.refusal(), (400, 2));
    assert_eq!(caller.text(PERSON, None).await.status, 201);
    script(&caller, json!({ "times": 2, "fault": refuse(3) })).await;
    assert_eq!(caller.text(OTHER, None).await.refusal(), (400, 3));
    // A request that Twilio itself refuses does not use up a script.
    assert_eq!(
        caller.create(&[("To", PERSON)]).await.refusal(),
        (400, 21_603)
    );
    assert_eq!(caller.text(PERSON, None).await.refusal(), (400, 3));
    assert_eq!(caller.text(PERSON, None).await.status, 201);
    assert_eq!(truth(&caller).len(), 5);
}

#[tokio::test]
async fn creates_take_their_time() {
    let latency = Faults {
        latency_ms: (400.0, 500.0),
        ..Faults::default()
    };
    let caller = Caller::start(Settings {
        faults: latency,
        ..fast()
    })
    .await;
    let started = Instant::now();
    caller.text(PERSON, None).await.sid();
    assert!(
        started.elapsed() >= Duration::from_millis(400),
        "{:?}",
        started.elapsed()
    );
    caller.sim.set_faults(Faults::default());
    let started = Instant::now();
    caller.text(PERSON, None).await.sid();
    assert!(
        started.elapsed() < Duration::from_millis(400),
        "{:?}",
        started.elapsed()
    );
}
