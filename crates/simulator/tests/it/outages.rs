//! Outages: what callers see while one lasts, and that nothing of it stays.

use std::time::{Duration, Instant};

use hyper::Method;
use serde_json::{Value, json};
use simulator::{Affected, Outage};
use tokio::net::TcpStream;

use crate::caller::{Caller, DEADLINE, PERSON, SENDER, fast, unanswered};

const OTHER_SENDER: &str = "whatsapp:+551140000001";
const FORM: [(&str, &str); 3] = [("To", PERSON), ("From", SENDER), ("Body", "Ola")];

/// Longer than any test takes.
const LONG_MS: u64 = 600_000;

async fn outages(caller: &Caller, outages: &Value) {
    let answer = caller.control(Method::PUT, "outages", outages).await;
    assert_eq!(answer.status, 204, "{}", answer.text);
}

fn breaks(status: u16) -> Value {
    json!({ "kind": "error_before", "status": status })
}

async fn list(caller: &Caller, query: &str) -> u16 {
    caller
        .get(&caller.messages(&format!(".json{query}")))
        .await
        .status
}

/// Waits until something is so.
async fn until(what: &str, mut so: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !so().await {
        assert!(Instant::now() < end, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn every_create_meets_an_outage_and_none_after_it() {
    let caller = Caller::start(fast()).await;
    outages(&caller, &json!([{ "fault": breaks(503) }])).await;
    for _ in 0..20 {
        assert_eq!(caller.text(PERSON, None).await.refusal(), (503, 20_500));
    }
    // In an outage nobody looks at what was asked either.
    assert_eq!(caller.create(&[("To", PERSON)]).await.status, 503);
    assert_eq!(list(&caller, "").await, 200);
    assert!(caller.sim.truth().is_empty());
    assert_eq!(caller.sim.creates(), 20);
    outages(&caller, &json!([])).await;
    caller.text(PERSON, None).await.sid();
}

#[tokio::test]
async fn a_firewall_answers_with_html() {
    let caller = Caller::start(fast()).await;
    for (status, reason) in [(503, "Service Unavailable"), (403, "Forbidden")] {
        let fault = json!({ "kind": "error_before", "status": status, "html": true });
        let all = json!(["create", "list", "fetch"]);
        outages(&caller, &json!([{ "affects": all, "fault": fault }])).await;
        for answer in [
            caller.text(PERSON, None).await,
            caller.get(&caller.messages(".json")).await,
            caller.fetch("SM1").await,
        ] {
            assert_eq!(answer.status, status);
            assert_eq!(answer.header("content-type"), Some("text/html"));
            assert!(answer.text.contains(reason), "{}", answer.text);
            assert!(answer.header("date").is_some());
        }
    }
}

#[tokio::test]
async fn lists_and_fetches_have_outages_of_their_own() {
    let caller = Caller::start(fast()).await;
    let sid = caller.text(PERSON, None).await.sid();
    let media = caller.messages(&format!("/{sid}/Media.json"));
    outages(
        &caller,
        &json!([{ "affects": ["list"], "fault": breaks(500) }]),
    )
    .await;
    assert_eq!(list(&caller, "").await, 500);
    assert_eq!(caller.fetch(&sid).await.status, 200);
    caller.text(PERSON, None).await.sid();
    // Whatever happens to creates after acceptance is for others no answer either.
    let faults = [
        (json!({ "kind": "error_after", "status": 502 }), 502),
        (json!({ "kind": "too_many" }), 429),
        (json!({ "kind": "redirect" }), 307),
        (
            json!({ "kind": "refuse", "status": 404, "code": 20_404 }),
            404,
        ),
    ];
    for (fault, status) in faults {
        outages(&caller, &json!([{ "affects": ["fetch"], "fault": fault }])).await;
        assert_eq!(caller.fetch(&sid).await.status, status);
        assert_eq!(caller.get(&media).await.status, status);
        assert_eq!(list(&caller, "").await, 200);
    }
    let garbage = json!({ "kind": "garbage", "body": "{" });
    outages(&caller, &json!([{ "affects": ["list"], "fault": garbage }])).await;
    assert_eq!(
        caller.get(&caller.messages(".json")).await.text,
        "{",
        "the list is garbage"
    );
}

#[tokio::test]
async fn an_outage_of_one_sender_touches_no_other() {
    let caller = Caller::start(fast()).await;
    let create = async |from: &str| {
        let form = [("To", PERSON), ("From", from), ("Body", "Ola")];
        caller.create(&form).await
    };
    let mine = create(SENDER).await.sid();
    let other = create(OTHER_SENDER).await.sid();
    // With and without the channel.
    for sender in [SENDER, "+551140000000"] {
        let all = json!(["create", "list", "fetch"]);
        let outage = json!([{ "affects": all, "sender": sender, "fault": breaks(503) }]);
        outages(&caller, &outage).await;
        assert_eq!(create(SENDER).await.status, 503);
        assert_eq!(create(OTHER_SENDER).await.status, 201);
        assert_eq!(caller.fetch(&mine).await.status, 503);
        assert_eq!(caller.fetch(&other).await.status, 200);
        assert_eq!(list(&caller, "?From=whatsapp%3A%2B551140000000").await, 503);
        assert_eq!(list(&caller, "?To=whatsapp%3A%2B551140000000").await, 503);
        assert_eq!(list(&caller, "?From=whatsapp%3A%2B551140000001").await, 200);
    }
}

#[tokio::test]
async fn an_outage_begins_and_ends_at_its_time() {
    let caller = Caller::start(fast()).await;
    let later = json!([{ "from_ms": LONG_MS, "fault": breaks(503) }]);
    outages(&caller, &later).await;
    caller.text(PERSON, None).await.sid();
    let over = json!([{ "to_ms": 0, "fault": breaks(503) }]);
    outages(&caller, &over).await;
    caller.text(PERSON, None).await.sid();
    let window = json!([{ "from_ms": 150, "to_ms": 400, "fault": breaks(503) }]);
    outages(&caller, &window).await;
    let create = async |status: u16| caller.text(PERSON, None).await.status == status;
    until("it begins", async || create(503).await).await;
    until("it ends", async || create(201).await).await;
    for _ in 0..5 {
        caller.text(PERSON, None).await.sid();
    }
    // The first of several that hold at once counts.
    let both = json!([{ "fault": breaks(500) }, { "fault": breaks(502) }]);
    outages(&caller, &both).await;
    assert_eq!(caller.text(PERSON, None).await.status, 500);
}

#[tokio::test]
async fn an_outage_uses_up_no_script() {
    let caller = Caller::start(fast()).await;
    let script = json!({ "fault": { "kind": "refuse", "status": 400, "code": 7 } });
    caller.control(Method::POST, "script", &script).await;
    outages(&caller, &json!([{ "fault": breaks(503) }])).await;
    assert_eq!(caller.text(PERSON, None).await.status, 503);
    outages(&caller, &json!([])).await;
    assert_eq!(caller.text(PERSON, None).await.refusal(), (400, 7));
}

#[tokio::test]
async fn requests_hang_before_and_after_acceptance() {
    let caller = Caller::start(fast()).await;
    for (kind, accepted) in [("hang_before", 0), ("hang", 1)] {
        outages(&caller, &json!([{ "fault": { "kind": kind } }])).await;
        let before = caller.sim.creates();
        let hanging = caller.send_bare(&FORM).await;
        until("it came", async || caller.sim.creates() > before).await;
        until("it is accepted or not", async || {
            caller.sim.truth().len() == accepted
        })
        .await;
        for _ in 0..20 {
            assert_eq!(list(&caller, "").await, 200);
        }
        assert!(unanswered(&hanging), "{kind}");
        assert_eq!(caller.sim.truth().len(), accepted, "{kind}");
    }
}

#[tokio::test]
async fn slow_answers_come_late_and_whole() {
    let caller = Caller::start(fast()).await;
    for (accepted_first, early) in [(false, 0), (true, 1)] {
        let before = caller.sim.truth().len();
        let slow = json!({ "kind": "slow", "ms": 400, "accepted_first": accepted_first });
        outages(
            &caller,
            &json!([{ "affects": ["create", "list"], "fault": slow }]),
        )
        .await;
        let started = Instant::now();
        let (answer, seen) = tokio::join!(caller.text(PERSON, None), async {
            tokio::time::sleep(Duration::from_millis(150)).await;
            caller.sim.truth().len() - before
        });
        answer.sid();
        assert!(started.elapsed() >= Duration::from_millis(400));
        // Only a machine that stands still for long would see it later.
        if started.elapsed() < Duration::from_millis(500) {
            assert_eq!(seen, early, "accepted first: {accepted_first}");
        }
        let started = Instant::now();
        assert_eq!(list(&caller, "").await, 200);
        assert!(started.elapsed() >= Duration::from_millis(400));
    }
}

#[tokio::test]
async fn connections_are_refused_and_taken_again() {
    let caller = Caller::start(fast()).await;
    caller.text(PERSON, None).await.sid();
    let mut stands = TcpStream::connect(caller.address()).await.unwrap();
    let window = json!([{ "affects": ["connections"], "to_ms": 1_500 }]);
    outages(&caller, &window).await;
    until("nobody can connect", async || {
        let refused = TcpStream::connect(caller.address()).await;
        refused.is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionRefused)
    })
    .await;
    // A request over a connection that stands is reset, and accepts nothing.
    let request = "GET /2010-04-01/Accounts/x/Messages.json HTTP/1.1\r\nhost: x\r\n\r\n";
    let (answered, reset) = caller.raw(&mut stands, request).await;
    assert!(answered.is_empty() && reset, "{answered}");
    until("it listens again", async || {
        TcpStream::connect(caller.address()).await.is_ok()
    })
    .await;
    assert_eq!(caller.sim.truth().len(), 1);
    caller.text(PERSON, None).await.sid();
}

#[tokio::test]
async fn an_open_outage_of_connections_ends_when_it_is_taken_back() {
    let caller = Caller::start(fast()).await;
    caller.sim.set_outages(vec![Outage {
        affects: vec![Affected::Connections],
        ..Outage::default()
    }]);
    until("nobody can connect", async || {
        TcpStream::connect(caller.address()).await.is_err()
    })
    .await;
    caller.sim.set_outages(Vec::new());
    until("it listens again", async || {
        TcpStream::connect(caller.address()).await.is_ok()
    })
    .await;
    caller.text(PERSON, None).await.sid();
}

#[tokio::test]
async fn impossible_outages_are_refused_and_change_nothing() {
    let caller = Caller::start(fast()).await;
    let outage = json!([{ "from_ms": 1.0, "fault": breaks(503) }]);
    outages(&caller, &outage).await;
    for odd in [
        json!([{}]),
        json!([{ "affects": [], "fault": breaks(503) }]),
        json!([{ "affects": ["connections"] }]),
        json!([{ "affects": ["connections"], "to_ms": 1, "fault": breaks(503) }]),
        json!([{ "affects": ["connections"], "to_ms": 1, "sender": SENDER }]),
        json!([{ "affects": ["connections", "create"], "to_ms": 1 }]),
        json!([{ "affects": ["odd"], "fault": breaks(503) }]),
        json!([{ "odd": 1, "fault": breaks(503) }]),
        json!([{ "fault": { "kind": "hang_before", "odd": 1 } }]),
        json!([{ "fault": { "kind": "slow" } }]),
    ] {
        let answer = caller.control(Method::PUT, "outages", &odd).await;
        assert_eq!(answer.status, 422, "{odd}: {}", answer.text);
    }
    let now = caller.get("/simulator/outages").await.json();
    assert_eq!(now.as_array().unwrap().len(), 1);
    assert_eq!(now[0]["from_ms"], 1.0);
    assert_eq!(now[0]["fault"]["status"], 503);
    caller.control(Method::POST, "reset", &json!(null)).await;
    assert_eq!(caller.get("/simulator/outages").await.json(), json!([]));
}
