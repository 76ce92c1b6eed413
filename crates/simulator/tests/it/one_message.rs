//! One message: fetched, canceled, redacted, deleted, and what is refused.

use hyper::Method;
use serde_json::Value;
use simulator::{PhoneBehavior, Settings};

use crate::caller::{Answer, Caller, PERSON, fast, phone, words};
use crate::receiver::Receiver;

/// So slow that nothing happens during a test.
fn slow() -> Settings {
    Settings {
        time_scale: 0.001,
        ..fast()
    }
}

async fn update(caller: &Caller, sid: &str, form: &str) -> Answer {
    let path = caller.messages(&format!("/{sid}.json"));
    caller.send(Method::POST, &path, form).await
}

async fn delete(caller: &Caller, sid: &str) -> Answer {
    let path = caller.messages(&format!("/{sid}.json"));
    caller.send(Method::DELETE, &path, "").await
}

async fn schedule(caller: &Caller, callback: &str) -> String {
    let at = (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1)).to_string();
    let form = [
        ("To", PERSON),
        ("MessagingServiceSid", "MG00000000000000000000000000000001"),
        ("Body", "Ola"),
        ("ScheduleType", "fixed"),
        ("SendAt", at.as_str()),
        ("StatusCallback", callback),
    ];
    let answer = caller.create(&form).await;
    assert_eq!(answer.field("status"), "scheduled");
    answer.sid()
}

#[tokio::test]
async fn is_fetched_as_it_was_created_and_then_as_it_became() {
    let caller = Caller::start(slow()).await;
    let created = caller.text(PERSON, None).await;
    let sid = created.sid();
    let fetched = caller.fetch(&sid).await;
    assert_eq!(fetched.json(), created.json());
    assert_eq!(fetched.json()["body"], "Ola");
    assert_eq!(fetched.json()["date_sent"], Value::Null);
    assert_eq!(
        fetched.field("uri"),
        caller.messages(&format!("/{sid}.json"))
    );

    let caller = Caller::start(fast()).await;
    let sid = caller.text(PERSON, None).await.sid();
    caller.quiet().await;
    let fetched = caller.fetch(&sid).await;
    assert_eq!(fetched.field("status"), "read");
    assert!(fetched.json()["date_sent"].is_string());

    let blocked = vec![phone(PERSON, PhoneBehavior::Blocked)];
    caller.sim.set_phones(blocked);
    let sid = caller.text(PERSON, None).await.sid();
    caller.quiet().await;
    let json = caller.fetch(&sid).await.json();
    assert_eq!(
        (&json["status"], &json["error_code"]),
        (&"failed".into(), &63_014.into())
    );
    assert!(json["error_message"].is_string());
    assert_eq!(json["date_sent"], Value::Null);
}

#[tokio::test]
async fn is_not_found_under_another_name() {
    let caller = Caller::start(fast()).await;
    let sid = caller.text(PERSON, None).await.sid();
    let none = "SM00000000000000000000000000000000";
    assert_eq!(caller.fetch(none).await.refusal(), (404, 20_404));
    assert_eq!(
        update(&caller, none, "Body=").await.refusal(),
        (404, 20_404)
    );
    assert_eq!(delete(&caller, none).await.refusal(), (404, 20_404));
    for path in [
        format!("/{none}/Media.json"),
        format!("/{sid}"),
        format!("/{sid}/Other.json"),
    ] {
        let answer = caller.get(&caller.messages(&path)).await;
        assert_eq!(answer.refusal(), (404, 20_404), "{path}");
    }
    let elsewhere = caller.get("/2010-04-01/Elsewhere.json").await;
    assert_eq!(elsewhere.refusal(), (404, 20_404));
}

#[tokio::test]
async fn other_methods_are_refused() {
    let caller = Caller::start(fast()).await;
    let sid = caller.text(PERSON, None).await.sid();
    let cases = [
        (Method::DELETE, ".json".to_owned()),
        (Method::PUT, ".json".to_owned()),
        (Method::PATCH, format!("/{sid}.json")),
        (Method::PUT, format!("/{sid}.json")),
        (Method::POST, format!("/{sid}/Media.json")),
    ];
    for (method, path) in cases {
        let answer = caller
            .send(method.clone(), &caller.messages(&path), "")
            .await;
        assert_eq!(answer.refusal(), (405, 20_004), "{method} {path}");
    }
}

#[tokio::test]
async fn only_a_scheduled_message_is_canceled() {
    let caller = Caller::start(fast()).await;
    let sid = caller.text(PERSON, None).await.sid();
    let early = update(&caller, &sid, "Status=canceled").await;
    assert_eq!(early.refusal(), (409, 30_409));
    caller.quiet().await;
    let late = update(&caller, &sid, "Status=canceled").await;
    assert_eq!(late.refusal(), (409, 30_409));
    assert_eq!(caller.fetch(&sid).await.field("status"), "read");
    let other = update(&caller, &sid, "Status=sent").await;
    assert_eq!(other.refusal(), (400, 20_001));
}

#[tokio::test]
async fn a_canceled_message_reports_it_and_goes_nowhere() {
    let caller = Caller::start(Settings {
        time_scale: 1.0,
        ..fast()
    })
    .await;
    let receiver = Receiver::start().await;
    let sid = schedule(&caller, &receiver.url("/status")).await;
    assert!(caller.sim.pending() > 0);
    let answer = update(&caller, &sid, "Status=canceled").await;
    assert_eq!(
        (answer.status, answer.field("status")),
        (200, "canceled".to_owned())
    );
    assert_eq!(
        update(&caller, &sid, "Status=canceled").await.refusal(),
        (409, 30_409)
    );
    // Nothing is pending any more, although it was scheduled in an hour.
    let truth = caller.quiet().await;
    assert_eq!(words(&truth[0]), ["canceled"]);
    let calls = receiver.calls();
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].status(), "canceled");
    assert!(calls[0].is_signed_with(caller.sim.auth_token()));
    assert_eq!(delete(&caller, &sid).await.status, 204);
}

#[tokio::test]
async fn a_scheduled_message_goes_out_at_its_time() {
    let caller = Caller::start(Settings {
        time_scale: 10_000.0,
        ..fast()
    })
    .await;
    let receiver = Receiver::start().await;
    let sid = schedule(&caller, &receiver.url("/status")).await;
    let truth = caller.quiet().await;
    assert_eq!(words(&truth[0]), ["queued", "sent", "delivered", "read"]);
    assert_eq!(caller.fetch(&sid).await.field("status"), "read");
    assert_eq!(receiver.calls().len(), 4);
}

#[tokio::test]
async fn is_emptied_when_it_is_over() {
    let caller = Caller::start(slow()).await;
    let sid = caller.text(PERSON, None).await.sid();
    assert_eq!(
        update(&caller, &sid, "Body=").await.refusal(),
        (409, 20_009)
    );
    assert_eq!(caller.fetch(&sid).await.field("body"), "Ola");

    let caller = Caller::start(fast()).await;
    let sid = caller.text(PERSON, None).await.sid();
    caller.quiet().await;
    assert_eq!(
        update(&caller, &sid, "Body=other").await.refusal(),
        (400, 20_001)
    );
    assert_eq!(update(&caller, &sid, "Body=").await.field("body"), "");
    assert_eq!(caller.fetch(&sid).await.field("body"), "");
    // The truth log does not change.
    assert_eq!(caller.sim.truth()[0].body, "Ola");
}

#[tokio::test]
async fn is_deleted_when_it_is_over() {
    let caller = Caller::start(slow()).await;
    let sid = caller.text(PERSON, None).await.sid();
    assert_eq!(delete(&caller, &sid).await.refusal(), (409, 20_009));
    assert_eq!(caller.fetch(&sid).await.status, 200);

    let caller = Caller::start(fast()).await;
    let sid = caller.text(PERSON, None).await.sid();
    caller.quiet().await;
    let answer = delete(&caller, &sid).await;
    assert_eq!((answer.status, answer.text.as_str()), (204, ""));
    assert_eq!(caller.fetch(&sid).await.refusal(), (404, 20_404));
    assert_eq!(delete(&caller, &sid).await.refusal(), (404, 20_404));
    let list = caller.get(&caller.messages(".json")).await.json();
    assert_eq!(list["messages"], serde_json::json!([]));
    assert_eq!(caller.sim.truth().len(), 1);
}
