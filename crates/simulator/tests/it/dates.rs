//! Twilio's clock: the `Date` header and the dates of messages.

use hyper::Method;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::caller::{Answer, Caller, PERSON, fast};

const HOUR_MS: i64 = 3_600_000;

fn date(answer: &Answer) -> Timestamp {
    let text = answer.header("date").expect("each answer has a date");
    let text = text.strip_suffix("GMT").expect("in GMT").to_owned() + "+0000";
    jiff::fmt::rfc2822::parse(&text).unwrap().timestamp()
}

fn shown(answer: &Answer, name: &str) -> Timestamp {
    let text = answer.field(name);
    jiff::fmt::rfc2822::parse(&text).unwrap().timestamp()
}

/// Whether a time is this far from now, give or take a minute.
fn is_off_by(time: Timestamp, hours: i64) -> bool {
    let off = time.duration_since(Timestamp::now()) - SignedDuration::from_hours(hours);
    off.abs() < SignedDuration::from_mins(1)
}

#[tokio::test]
async fn every_answer_has_the_date_of_twilios_clock() {
    let caller = Caller::start(fast()).await;
    for hours in [0, 1, -1] {
        let clock = json!({ "offset_ms": hours * HOUR_MS });
        let set = caller.control(Method::PUT, "clock", &clock).await;
        assert_eq!(set.status, 204, "{}", set.text);
        let created = caller.text(PERSON, None).await;
        let sid = created.sid();
        caller.quiet().await;
        let fetched = caller.fetch(&sid).await;
        let answers = [
            created,
            caller.get(&caller.messages(".json")).await,
            caller.fetch("SM1").await,
            caller.create(&[]).await,
        ];
        for answer in &answers {
            assert!(is_off_by(date(answer), hours), "{}", answer.text);
        }
        for name in ["date_created", "date_updated", "date_sent"] {
            assert!(is_off_by(shown(&fetched, name), hours), "{name}");
        }
        // The truth is kept by the real clock.
        let truth = caller.sim.truth().pop().unwrap();
        for time in [&truth.accepted_at, &truth.statuses[0].at] {
            assert!(is_off_by(time.parse().unwrap(), 0));
        }
    }
    let wrong_login = {
        let mut other = Caller::start(fast()).await;
        other.login.1 = "wrong".to_owned();
        other.sim.set_clock_offset(HOUR_MS);
        other.get(&other.messages(".json")).await
    };
    assert_eq!(wrong_login.status, 401);
    assert!(is_off_by(date(&wrong_login), 1));
    caller.control(Method::POST, "reset", &json!(null)).await;
    assert!(is_off_by(date(&caller.fetch("SM1").await), 0));
}

#[tokio::test]
async fn a_clock_beyond_all_times_is_the_real_one() {
    let caller = Caller::start(fast()).await;
    caller.sim.set_clock_offset(i64::MAX);
    let answer = caller.text(PERSON, None).await;
    assert!(is_off_by(date(&answer), 0));
    let odd = json!({ "offset_ms": 1, "odd": 1 });
    let answer = caller.control(Method::PUT, "clock", &odd).await;
    assert_eq!(answer.status, 422);
}
