//! Rules for all messages of a sender, by a template or to an address, and phones that cannot be
//! sent to.

use hyper::Method;
use serde_json::{Value, json};
use simulator::{PhoneBehavior, TruthMessage};

use crate::caller::{Answer, Caller, PERSON, SENDER, fast, phone, words};

const OTHER: &str = "whatsapp:+5511900000002";
const OTHER_SENDER: &str = "whatsapp:+551140000001";
const TEMPLATE: &str = "HX00000000000000000000000000000001";
const OTHER_TEMPLATE: &str = "HX00000000000000000000000000000002";

async fn rules(caller: &Caller, rules: &Value) {
    let answer = caller.control(Method::PUT, "rules", rules).await;
    assert_eq!(answer.status, 204, "{}", answer.text);
}

async fn from(caller: &Caller, sender: &str) -> Answer {
    let form = [("To", OTHER), ("From", sender), ("Body", "Ola")];
    caller.create(&form).await
}

async fn template(caller: &Caller, sid: &str) -> Answer {
    let form = [("To", OTHER), ("From", SENDER), ("ContentSid", sid)];
    caller.create(&form).await
}

/// The last status and code of a message.
fn end(message: &TruthMessage) -> (&str, Option<u32>) {
    let last = message.statuses.last().unwrap();
    (last.status.as_str(), last.error_code)
}

#[tokio::test]
async fn a_phone_that_cannot_be_sent_to_is_refused_each_time() {
    let caller = Caller::start(fast()).await;
    let phones = json!([{ "number": "+5511900000002", "character": { "refused": 21_608 } }]);
    caller.control(Method::PUT, "phones", &phones).await;
    for _ in 0..3 {
        assert_eq!(caller.text(OTHER, None).await.refusal(), (400, 21_608));
        caller.text(PERSON, None).await.sid();
    }
    let truth = caller.quiet().await;
    assert_eq!(truth.len(), 3);
    assert!(truth.iter().all(|message| message.to == PERSON));
    // What is wrong with the request itself comes first.
    let form = [("To", OTHER), ("From", SENDER)];
    assert_eq!(caller.create(&form).await.refusal(), (400, 21_619));
}

#[tokio::test]
async fn a_phone_can_leave_a_message_undelivered() {
    let caller = Caller::start(fast()).await;
    let behavior = PhoneBehavior::Undelivered(63_049);
    caller.sim.set_phones(vec![phone(OTHER, behavior)]);
    caller.text(OTHER, None).await.sid();
    let truth = caller.quiet().await;
    assert_eq!(words(&truth[0]), ["sent", "undelivered"]);
    assert_eq!(truth[0].statuses[0].error_code, None);
    assert_eq!(truth[0].statuses[1].error_code, Some(63_049));
}

#[tokio::test]
async fn all_messages_of_a_sender_fail_after_some() {
    let caller = Caller::start(fast()).await;
    let rule = json!([{ "sender": "+551140000000", "after": 2, "fails": 63_018 }]);
    rules(&caller, &rule).await;
    for _ in 0..4 {
        from(&caller, SENDER).await.sid();
        from(&caller, OTHER_SENDER).await.sid();
    }
    // A Messaging Service chooses the first sender that it has; it is none of these.
    let service = "MG00000000000000000000000000000001";
    let form = [
        ("To", OTHER),
        ("MessagingServiceSid", service),
        ("Body", "Ola"),
    ];
    caller.create(&form).await.sid();
    let truth = caller.quiet().await;
    let failed: Vec<_> = truth
        .iter()
        .filter(|message| end(message) == ("failed", Some(63_018)))
        .map(|message| message.from.as_deref().unwrap())
        .collect();
    assert_eq!(failed, [SENDER, SENDER]);
    assert_eq!(end(&truth[4]), ("failed", Some(63_018)), "the third of it");
    rules(&caller, &json!([])).await;
    from(&caller, SENDER).await.sid();
    let truth = caller.quiet().await;
    assert_ne!(end(truth.last().unwrap()).0, "failed");
}

#[tokio::test]
async fn templates_and_addresses_are_refused_or_fail() {
    let caller = Caller::start(fast()).await;
    let list = json!([
        { "template": TEMPLATE, "fails": 63_041 },
        { "template": OTHER_TEMPLATE, "refused": 63_040 },
        { "to": PERSON, "undelivered": 63_049 },
    ]);
    rules(&caller, &list).await;
    template(&caller, TEMPLATE).await.sid();
    let refused = template(&caller, OTHER_TEMPLATE).await;
    assert_eq!(refused.refusal(), (400, 63_040));
    caller.text(PERSON, None).await.sid();
    caller.text(OTHER, None).await.sid();
    let truth = caller.quiet().await;
    assert_eq!(truth.len(), 3);
    assert_eq!(end(&truth[0]), ("failed", Some(63_041)));
    assert_eq!(words(&truth[1]), ["sent", "undelivered"]);
    assert_eq!(end(&truth[2]).1, None);
    let now = caller.get("/simulator/rules").await.json();
    assert_eq!(now[1]["refused"], 63_040);
    assert_eq!(now.as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn rules_hold_in_their_time_only() {
    let caller = Caller::start(fast()).await;
    let list = json!([
        { "to_ms": 0.0, "refused": 1 },
        { "from_ms": 600_000.0, "refused": 2 },
        { "to_ms": 600_000.0, "refused": 3 },
        { "refused": 4 },
    ]);
    rules(&caller, &list).await;
    assert_eq!(caller.text(OTHER, None).await.refusal(), (400, 3));
    caller.control(Method::POST, "reset", &json!(null)).await;
    caller.text(OTHER, None).await.sid();
}

#[tokio::test]
async fn one_message_can_lag_behind_the_others_in_the_list() {
    let caller = Caller::start(fast()).await;
    rules(&caller, &json!([{ "to": OTHER, "list_lag_ms": 1e12 }])).await;
    let hidden = caller.text(OTHER, None).await.sid();
    let shown = caller.text(PERSON, None).await.sid();
    let page = caller.get(&caller.messages(".json")).await.json();
    let messages = page["messages"].as_array().unwrap();
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0]["sid"], shown.as_str());
    assert_eq!(caller.fetch(&hidden).await.status, 200);
}

#[tokio::test]
async fn impossible_rules_are_refused_and_change_nothing() {
    let caller = Caller::start(fast()).await;
    for odd in [
        json!([{}]),
        json!([{ "sender": SENDER }]),
        json!([{ "fails": 1, "odd": 1 }]),
        json!([{ "fails": "odd" }]),
    ] {
        let answer = caller.control(Method::PUT, "rules", &odd).await;
        assert_eq!(answer.status, 422, "{odd}: {}", answer.text);
    }
    assert_eq!(caller.get("/simulator/rules").await.json(), json!([]));
}
