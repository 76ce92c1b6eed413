//! Cancel, retry, schedule, expire.

use std::time::Duration;

use serde_json::{Value, json};
use simulator::{Phone, PhoneBehavior};

use super::{in_seconds, later, problem, with};
use crate::house::{Answer, House, SENDER, mobile, notice};

async fn command(house: &House, id: &str, verb: &str) -> Answer {
    house
        .post(&format!("/api/v1/messages/{id}/{verb}"), &Value::Null)
        .await
}

async fn pause(house: &House, verb: &str) {
    let answer = house
        .post(&format!("/api/v1/senders/{SENDER}/{verb}"), &Value::Null)
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_not_left_can_be_canceled_once_and_for_all() {
    let house = House::start().await;
    pause(&house, "pause").await;
    let accepted = house.accept(notice(&mobile(1), "a")).await;
    let scheduled = house.accept(later(&mobile(2), "b")).await;
    for id in [&accepted, &scheduled] {
        for changed in [true, false, false] {
            let answer = command(&house, id, "cancel").await;
            assert_eq!(answer.status, 200, "{}", answer.text);
            let expected = json!({ "id": id, "state": "canceled", "changed": changed });
            assert_eq!(answer.json(), expected);
        }
        let message = house.message(id).await;
        assert_eq!(message["state"], "canceled");
        assert_eq!(message["due_at"], Value::Null);
        let history = message["history"].as_array().unwrap();
        let canceled = history
            .iter()
            .filter(|entry| entry["event"] == "message.canceled");
        assert_eq!(canceled.count(), 1);
        problem(&command(&house, id, "retry").await, 409, "cannot_retry");
    }
    pause(&house, "resume").await;
    let sent = house.accept(notice(&mobile(3), "c")).await;
    house
        .until(&sent, |message| message["delivered_at"].is_string())
        .await;
    let found = problem(
        &command(&house, &sent, "cancel").await,
        409,
        "cannot_cancel",
    );
    let detail = found["detail"].as_str().unwrap();
    assert!(
        detail.contains("delivered") || detail.contains("read"),
        "{detail}"
    );
    assert_eq!(
        house.simulator.truth().len(),
        1,
        "what was canceled never left"
    );
    house.assert_verified();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_is_one_new_attempt_however_often_it_is_asked_for() {
    let house = House::with(
        |settings| {
            let (number, character) = (mobile(1), PhoneBehavior::Fails(63_013));
            settings.phones = vec![Phone { number, character }];
        },
        &[],
    )
    .await;
    let id = house.accept(notice(&mobile(1), "a")).await;
    house.until_state(&id, "failed").await;
    pause(&house, "pause").await;
    house.simulator.set_phones(vec![Phone {
        number: mobile(1),
        character: PhoneBehavior::ReadsAtOnce,
    }]);
    for changed in [true, false, false] {
        let answer = command(&house, &id, "retry").await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let expected = json!({ "id": id, "state": "scheduled", "changed": changed });
        assert_eq!(answer.json(), expected);
    }
    pause(&house, "resume").await;
    let message = house.until_state(&id, "read").await;
    assert_eq!(
        message["attempts"].as_array().unwrap().len(),
        2,
        "{message:#}"
    );
    assert_eq!(message["possible_duplicate"], false);
    assert_eq!(message["failed_at"], Value::Null);
    assert_eq!(message["error"], Value::Null, "{message:#}");
    let answer = command(&house, &id, "retry").await.json();
    assert_eq!(
        (&answer["state"], &answer["changed"]),
        (&json!("read"), &json!(false))
    );
    assert_eq!(house.simulator.truth().len(), 2);
    house.assert_verified();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_leaves_at_its_time_and_not_before() {
    let house = House::start().await;
    let at = jiff::Timestamp::now() + jiff::SignedDuration::from_millis(1_200);
    let soon = with(
        notice(&mobile(1), "a"),
        json!({ "send_at": format!("{at:.6}") }),
    );
    let past = with(
        notice(&mobile(2), "b"),
        json!({ "send_at": in_seconds(-86_400) }),
    );
    let soon = house.accept(soon).await;
    let message = house.message(&soon).await;
    assert_eq!(message["state"], "scheduled");
    assert_eq!(message["attempts"], json!([]));
    // A time that has passed means at once.
    let past = house.accept(past).await;
    let message = house
        .until(&past, |message| message["sent_at"].is_string())
        .await;
    assert_eq!(message["send_at"], Value::Null);
    let message = house
        .until(&soon, |message| message["sent_at"].is_string())
        .await;
    let started: jiff::Timestamp = message["attempts"][0]["started_at"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!(started >= at, "{started} {at}");
    assert!(
        started < at + jiff::SignedDuration::from_secs(5),
        "{started} {at}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_expires_while_it_waits_is_never_sent() {
    let house = House::start().await;
    pause(&house, "pause").await;
    let deadline = json!({ "expires_at": in_seconds(2) });
    let short = house.accept(with(notice(&mobile(1), "a"), deadline)).await;
    let long = json!({ "expires_at": in_seconds(3_600) });
    let long = house.accept(with(notice(&mobile(2), "b"), long)).await;
    let message = house.until_state(&short, "expired").await;
    assert_eq!(message["attempts"], json!([]));
    assert_eq!(
        message["history"].as_array().unwrap().last().unwrap()["event"],
        "message.expired"
    );
    problem(
        &command(&house, &short, "cancel").await,
        409,
        "cannot_cancel",
    );
    problem(&command(&house, &short, "retry").await, 409, "cannot_retry");
    pause(&house, "resume").await;
    house
        .until(&long, |message| message["sent_at"].is_string())
        .await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(house.simulator.truth().len(), 1);
    assert_eq!(house.simulator.truth()[0].body, "b");
    house.assert_verified();
}
