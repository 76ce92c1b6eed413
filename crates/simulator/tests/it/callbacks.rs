//! Status callbacks when nothing goes wrong: signed, complete, in order.

use std::collections::HashSet;

use hyper::Method;
use serde_json::json;
use simulator::{PhoneBehavior, Settings};

use crate::caller::{Caller, PERSON, SENDER, fast, phone};
use crate::receiver::{Call, Receiver, decoded};

const SERVICE: (&str, &str) = ("MessagingServiceSid", "MG00000000000000000000000000000001");
const FROM: (&str, &str) = ("From", SENDER);
const TEXT: (&str, &str) = ("Body", "Ola");
const TEMPLATE: (&str, &str) = ("ContentSid", "HX00000000000000000000000000000001");

/// Recorded bodies, by the kind of report.
const RECORDED: [(&str, &str); 8] = [
    (
        "queued",
        include_str!("../fixtures/callbacks/status-01-queued.form"),
    ),
    (
        "sent",
        include_str!("../fixtures/callbacks/status-02-sent.form"),
    ),
    (
        "delivered",
        include_str!("../fixtures/callbacks/status-03-delivered.form"),
    ),
    (
        "read",
        include_str!("../fixtures/callbacks/status-04-read.form"),
    ),
    (
        "sent template",
        include_str!("../fixtures/callbacks/status-05-sent-template.form"),
    ),
    (
        "delivered service",
        include_str!("../fixtures/callbacks/status-06-delivered-messaging-service.form"),
    ),
    (
        "failed",
        include_str!("../fixtures/callbacks/status-08-failed-63016-with-texts.form"),
    ),
    (
        "canceled",
        include_str!("../fixtures/callbacks/status-14-canceled.form"),
    ),
];

/// Slow enough that callbacks arrive in the order in which they are due.
fn in_order() -> Settings {
    Settings {
        time_scale: 3.0,
        ..fast()
    }
}

/// Sends one message and returns its callbacks.
async fn calls_of(caller: &Caller, receiver: &Receiver, form: &[(&str, &str)]) -> Vec<Call> {
    let before = receiver.calls().len();
    let url = receiver.url("/status?m=1");
    let mut form = form.to_vec();
    form.push(("StatusCallback", &url));
    caller.create(&form).await.sid();
    caller.quiet().await;
    receiver.calls().split_off(before)
}

fn names(fields: &[(String, String)]) -> Vec<&str> {
    fields.iter().map(|(name, _)| name.as_str()).collect()
}

/// Checks that the fields are those of the recording, in the same order. `also` are names that only
/// one of the two may have.
#[track_caller]
fn check_fields(call: &Call, recorded: &str, also: &[&str]) {
    let (_, body) = RECORDED.iter().find(|(name, _)| *name == recorded).unwrap();
    let recorded_fields = decoded(body);
    let known = |name: &&str| !also.contains(name);
    let ours: Vec<&str> = names(&call.fields).into_iter().filter(known).collect();
    let theirs: Vec<&str> = names(&recorded_fields).into_iter().filter(known).collect();
    assert_eq!(ours, theirs, "{recorded}");
}

#[tokio::test]
async fn come_in_order_with_the_recorded_fields() {
    let caller = Caller::start(in_order()).await;
    let receiver = Receiver::start().await;
    let service = ["MessagingServiceSid"];
    let plain = calls_of(&caller, &receiver, &[("To", PERSON), FROM, TEXT]).await;
    let statuses: Vec<&str> = plain.iter().map(Call::status).collect();
    assert_eq!(statuses, ["sent", "delivered", "read"]);
    check_fields(&plain[0], "sent", &[]);
    check_fields(&plain[1], "delivered", &[]);
    check_fields(&plain[2], "read", &[]);
    assert_eq!(plain[0].field("StructuredMessage"), Some("false"));

    let form = [("To", PERSON), SERVICE, TEMPLATE];
    let by_service = calls_of(&caller, &receiver, &form).await;
    let statuses: Vec<&str> = by_service.iter().map(Call::status).collect();
    assert_eq!(statuses, ["queued", "sent", "delivered", "read"]);
    check_fields(&by_service[0], "queued", &[]);
    check_fields(&by_service[1], "sent template", &[]);
    check_fields(&by_service[2], "delivered service", &[]);
    check_fields(&by_service[3], "read", &service);
    assert_eq!(by_service[1].field("StructuredMessage"), Some("true"));
    assert_eq!(by_service[1].field("MessagingServiceSid"), Some(SERVICE.1));
    assert_eq!(by_service[0].field("From"), Some("whatsapp:+14155238886"));
}

#[tokio::test]
async fn of_failures_carry_the_code() {
    let caller = Caller::start(fast()).await;
    caller
        .sim
        .set_phones(vec![phone(PERSON, PhoneBehavior::Fails(63_016))]);
    let receiver = Receiver::start().await;
    let calls = calls_of(&caller, &receiver, &[("To", PERSON), FROM, TEXT]).await;
    assert_eq!(calls.len(), 1);
    check_fields(&calls[0], "failed", &["ErrorMessage"]);
    assert_eq!(calls[0].status(), "failed");
    assert_eq!(calls[0].field("ErrorCode"), Some("63016"));
}

#[tokio::test]
async fn of_a_canceled_message_has_the_recorded_fields() {
    let caller = Caller::start(Settings {
        time_scale: 1.0,
        ..fast()
    })
    .await;
    let receiver = Receiver::start().await;
    let at = (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1)).to_string();
    let url = receiver.url("/status");
    let form = [
        ("To", PERSON),
        SERVICE,
        TEXT,
        ("SendAt", &at),
        ("StatusCallback", &url),
    ];
    let sid = caller.create(&form).await.sid();
    let path = caller.messages(&format!("/{sid}.json"));
    assert_eq!(
        caller
            .send(Method::POST, &path, "Status=canceled")
            .await
            .status,
        200
    );
    let calls = receiver.wait_for(1).await;
    check_fields(&calls[0], "canceled", &["ChannelInstallSid"]);
}

#[tokio::test]
async fn are_signed_and_say_who_calls() {
    let caller = Caller::start(fast()).await;
    let receiver = Receiver::start().await;
    let account = caller.sim.account_sid();
    let token = caller.sim.auth_token();
    let calls = calls_of(&caller, &receiver, &[("To", PERSON), FROM, TEXT]).await;
    assert_eq!(calls.len(), 3);
    let mut tokens = HashSet::new();
    for call in &calls {
        assert_eq!(call.method, Method::POST);
        assert_eq!(call.url, receiver.url("/status?m=1"));
        assert!(call.is_signed_with(token));
        assert!(!call.is_signed_with("another"));
        let mut altered = call.clone();
        altered.fields[0].1.push('x');
        assert!(!altered.is_signed_with(token));
        let kind = call.header("content-type");
        assert_eq!(kind, "application/x-www-form-urlencoded; charset=UTF-8");
        assert_eq!(call.header("user-agent"), "TwilioProxy/1.1");
        assert_eq!(call.field("AccountSid"), Some(account));
        assert_eq!(call.field("To"), Some(PERSON));
        assert_eq!(call.field("From"), Some(SENDER));
        assert_eq!(call.field("ChannelToAddress"), Some("+5511900000001"));
        assert_eq!(call.field("SmsSid"), call.field("MessageSid"));
        assert_eq!(call.field("SmsStatus"), Some(call.status()));
        assert!(
            call.body.contains("whatsapp%3A%2B5511900000001"),
            "{}",
            call.body
        );
        tokens.insert(call.header("i-twilio-idempotency-token").to_owned());
    }
    assert_eq!(tokens.len(), 3, "each request has its own token");
    let truth = &caller.sim.truth()[0];
    for status in &truth.statuses {
        assert_eq!(
            (status.callback.tries, status.callback.answered),
            (1, Some(204))
        );
    }
}

#[tokio::test]
async fn do_not_come_when_nobody_asked() {
    let caller = Caller::start(fast()).await;
    let receiver = Receiver::start().await;
    caller.text(PERSON, None).await.sid();
    let truth = caller.quiet().await;
    assert_eq!(truth[0].statuses.len(), 3);
    assert!(truth[0].statuses.iter().all(|s| s.callback.tries == 0));
    assert!(receiver.calls().is_empty());
}

/// However fast simulated time runs, a message takes its statuses in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn statuses_keep_their_order_at_any_speed() {
    let caller = Caller::start(Settings {
        time_scale: 1e9,
        ..fast()
    })
    .await;
    for _ in 0..500 {
        caller.text(PERSON, None).await.sid();
    }
    let truth = caller.quiet().await;
    for message in &truth {
        assert_eq!(crate::caller::words(message), ["sent", "delivered", "read"]);
        let times: Vec<&String> = message.statuses.iter().map(|s| &s.at).collect();
        assert!(times.is_sorted(), "{times:?}");
    }
    let list = caller
        .get(&caller.messages(".json?PageSize=500"))
        .await
        .json();
    let list = list["messages"].as_array().unwrap();
    assert!(
        list.iter()
            .all(|message| message["status"] == json!("read"))
    );
}

/// A waiting `quiet` returns even when the last thing happens at that very moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn quiet_is_never_missed() {
    let caller = Caller::start(Settings {
        time_scale: 1e9,
        ..fast()
    })
    .await;
    for _ in 0..400 {
        caller.text(PERSON, None).await.sid();
        caller.quiet().await;
        assert_eq!(caller.sim.pending(), 0);
    }
}
