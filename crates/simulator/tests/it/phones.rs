//! Phones and their behavior, the 24-hour window, and templates.

use hyper::Method;
use serde_json::{Value, json};
use simulator::{PhoneBehavior, Settings, TruthMessage};

use crate::caller::{Caller, PERSON, SENDER, fast, phone, words};
use crate::receiver::Receiver;

const WITH_NINTH: &str = "whatsapp:+5585988880001";
const WITHOUT_NINTH: &str = "whatsapp:+558588880001";
const TEMPLATE: &str = "HX00000000000000000000000000000001";

/// So fast that even the waits of phones that are off for a while take no time.
fn settings() -> Settings {
    Settings {
        time_scale: 1e6,
        ..fast()
    }
}

fn code(message: &TruthMessage) -> Option<u32> {
    message.statuses.last().and_then(|status| status.error_code)
}

/// Sends one message; returns what happened to it.
async fn course(caller: &Caller, to: &str) -> (Vec<String>, Option<u32>) {
    caller.text(to, None).await.sid();
    last(caller).await
}

async fn last(caller: &Caller) -> (Vec<String>, Option<u32>) {
    let truth = caller.quiet().await;
    let message = truth.last().unwrap();
    (
        words(message).into_iter().map(str::to_owned).collect(),
        code(message),
    )
}

fn failed(code: u32) -> (Vec<String>, Option<u32>) {
    (vec!["failed".to_owned()], Some(code))
}

fn arrived(words: &[&str]) -> (Vec<String>, Option<u32>) {
    (words.iter().map(|&word| word.to_owned()).collect(), None)
}

fn read() -> (Vec<String>, Option<u32>) {
    arrived(&["sent", "delivered", "read"])
}

#[tokio::test]
async fn each_behavior_takes_its_course() {
    let cases = [
        (PhoneBehavior::ReadsAtOnce, read()),
        (PhoneBehavior::ReadsLater, read()),
        (PhoneBehavior::NeverReads, arrived(&["sent", "delivered"])),
        (PhoneBehavior::Off, arrived(&["sent"])),
        (PhoneBehavior::OffThenOn, arrived(&["sent", "delivered"])),
        (PhoneBehavior::NotOnWhatsapp, failed(63_024)),
        (PhoneBehavior::Blocked, failed(63_014)),
        (PhoneBehavior::OptedOut, failed(21_610)),
        (PhoneBehavior::MarketingOptedOut, failed(63_050)),
        (PhoneBehavior::Fails(30_001), failed(30_001)),
        (PhoneBehavior::Answers("SAIR".to_owned()), read()),
    ];
    let caller = Caller::start(settings()).await;
    for (behavior, expected) in cases {
        caller.sim.set_phones(vec![phone(PERSON, behavior.clone())]);
        assert_eq!(course(&caller, PERSON).await, expected, "{behavior:?}");
        let again = course(&caller, PERSON).await;
        assert_eq!(again, expected, "{behavior:?}, the second time");
    }
}

/// The same behavior by its name in JSON.
#[tokio::test]
async fn behavior_is_set_by_name() {
    let caller = Caller::start(settings()).await;
    let cases = [
        (json!("never_reads"), arrived(&["sent", "delivered"])),
        (json!("not_on_whatsapp"), failed(63_024)),
        (json!("marketing_opted_out"), failed(63_050)),
        (json!({ "fails": 63_049 }), failed(63_049)),
        (json!({ "answers": "Sim" }), read()),
        (json!("off"), arrived(&["sent"])),
    ];
    for (behavior, expected) in cases {
        let phones = json!([{ "number": "+5511900000001", "character": behavior }]);
        let answer = caller.control(Method::PUT, "phones", &phones).await;
        assert_eq!(answer.status, 204, "{}", answer.text);
        assert_eq!(course(&caller, PERSON).await, expected, "{behavior}");
    }
}

#[tokio::test]
async fn some_phones_take_their_time() {
    let caller = Caller::start(Settings {
        time_scale: 100.0,
        ..fast()
    })
    .await;
    // Simulated seconds from `sent` to `delivered`, and from `delivered` to `read`.
    let cases = [
        (PhoneBehavior::OffThenOn, 0, 60.0),
        (PhoneBehavior::ReadsLater, 1, 5.0),
    ];
    for (behavior, place, least) in cases {
        caller.sim.set_phones(vec![phone(PERSON, behavior.clone())]);
        caller.text(PERSON, None).await.sid();
        let truth = caller.quiet().await;
        let statuses = &truth.last().unwrap().statuses;
        let at = |place: usize| statuses[place].at.parse::<jiff::Timestamp>().unwrap();
        let wait = at(place + 1).duration_since(at(place)).as_secs_f64() * 100.0;
        // A millisecond less, because the wait is measured by another clock.
        assert!(wait >= least - 0.1, "{behavior:?}: {wait} s");
    }
}

#[tokio::test]
async fn only_the_first_message_is_limited() {
    let caller = Caller::start(settings()).await;
    let other = "whatsapp:+5511900000002";
    // Messages before the phone was described do not count.
    course(&caller, other).await;
    let limited = |to| phone(to, PhoneBehavior::LimitedOnce);
    caller.sim.set_phones(vec![limited(PERSON), limited(other)]);
    for to in [PERSON, other] {
        assert_eq!(course(&caller, to).await, failed(63_018), "{to}");
        assert_eq!(course(&caller, to).await, read(), "{to}");
        assert_eq!(course(&caller, to).await, read(), "{to}");
    }
}

#[tokio::test]
async fn both_variants_of_a_brazilian_mobile_are_one_phone() {
    for described in [WITH_NINTH, WITHOUT_NINTH] {
        let caller = Caller::start(settings()).await;
        let only_without = PhoneBehavior::OnlyWithoutNinthDigit;
        caller.sim.set_phones(vec![phone(described, only_without)]);
        assert_eq!(course(&caller, WITH_NINTH).await, failed(63_024));
        assert_eq!(course(&caller, WITHOUT_NINTH).await, read());
        caller
            .sim
            .set_phones(vec![phone(described, PhoneBehavior::Blocked)]);
        assert_eq!(course(&caller, WITH_NINTH).await, failed(63_014));
        assert_eq!(course(&caller, WITHOUT_NINTH).await, failed(63_014));
    }
}

/// A landline has as many digits as a mobile without its ninth, but is a different phone.
#[tokio::test]
async fn other_numbers_are_themselves() {
    let caller = Caller::start(settings()).await;
    caller
        .sim
        .set_phones(vec![phone("+5585988880001", PhoneBehavior::Blocked)]);
    for to in [
        "whatsapp:+5585988880002",
        "whatsapp:+5511988880001",
        "whatsapp:+14155550101",
    ] {
        assert_eq!(course(&caller, to).await.1, None, "{to}");
    }
}

#[tokio::test]
async fn phones_that_nobody_described_differ() {
    let caller = Caller::start(settings()).await;
    for number in 0..300 {
        caller
            .text(&format!("whatsapp:+55119{number:08}"), None)
            .await
            .sid();
    }
    let truth = caller.quiet().await;
    let read = truth.iter().filter(|m| words(m).contains(&"read")).count();
    assert!(truth.iter().all(|m| words(m)[..2] == ["sent", "delivered"]));
    assert!(
        (200..280).contains(&read),
        "{read} of 300 read, about 240 expected"
    );
}

fn enforced() -> Settings {
    Settings {
        window_enforced: true,
        ..settings()
    }
}

async fn person_writes(caller: &Caller, from: &str) {
    let message = json!({ "from": from, "body": "Oi" });
    let answer = caller.control(Method::POST, "inbound", &message).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(
        answer.json()["answered"],
        Value::Null,
        "there is no webhook"
    );
}

#[tokio::test]
async fn free_form_needs_a_message_from_the_person() {
    let caller = Caller::start(enforced()).await;
    assert_eq!(course(&caller, PERSON).await, failed(63_016));
    let media = [
        ("To", PERSON),
        ("From", SENDER),
        ("MediaUrl", "https://example.com/a.jpg"),
    ];
    caller.create(&media).await.sid();
    assert_eq!(last(&caller).await, failed(63_016));
    let template = [("To", PERSON), ("From", SENDER), ("ContentSid", TEMPLATE)];
    caller.create(&template).await.sid();
    assert_eq!(last(&caller).await, read());
    person_writes(&caller, "+5511900000001").await;
    assert_eq!(course(&caller, PERSON).await, read());
    assert_eq!(
        course(&caller, "whatsapp:+5511900000002").await,
        failed(63_016)
    );
}

#[tokio::test]
async fn either_variant_of_the_number_opens_the_window() {
    for from in [WITH_NINTH, WITHOUT_NINTH] {
        let caller = Caller::start(enforced()).await;
        let reads = phone(WITH_NINTH, PhoneBehavior::ReadsAtOnce);
        caller.sim.set_phones(vec![reads]);
        person_writes(&caller, from).await;
        assert_eq!(course(&caller, WITH_NINTH).await, read());
        assert_eq!(course(&caller, WITHOUT_NINTH).await, read());
    }
}

#[tokio::test]
async fn a_phone_that_takes_nothing_says_so_also_outside_the_window() {
    let caller = Caller::start(enforced()).await;
    caller
        .sim
        .set_phones(vec![phone(PERSON, PhoneBehavior::Blocked)]);
    assert_eq!(course(&caller, PERSON).await, failed(63_014));
}

#[tokio::test]
async fn people_answer_what_they_receive() {
    let receiver = Receiver::start().await;
    let behavior = PhoneBehavior::Answers("SAIR, por favor".to_owned());
    let settings = Settings {
        inbound_url: Some(receiver.url("/inbound?k=1")),
        phones: vec![phone(PERSON, behavior)],
        senders: vec!["+551140000000".to_owned()],
        ..enforced()
    };
    let caller = Caller::start(settings).await;
    // Outside the window nothing is delivered, so nobody answers.
    assert_eq!(course(&caller, PERSON).await, failed(63_016));
    assert!(receiver.calls().is_empty());
    let service = ("MessagingServiceSid", "MG00000000000000000000000000000001");
    for sender in [("From", SENDER), service] {
        caller
            .create(&[("To", PERSON), sender, ("ContentSid", TEMPLATE)])
            .await
            .sid();
        caller.quiet().await;
    }
    let calls = receiver.calls();
    assert_eq!(calls.len(), 2);
    for call in &calls {
        assert!(call.is_signed_with(caller.sim.auth_token()));
        assert_eq!(call.url, receiver.url("/inbound?k=1"));
        assert_eq!(call.field("Body"), Some("SAIR, por favor"));
        assert_eq!(call.field("From"), Some(PERSON));
        assert_eq!(call.field("To"), Some(SENDER));
        assert_eq!(call.field("SmsStatus"), Some("received"));
        assert_eq!(call.field("MessageStatus"), None);
    }
    assert_ne!(calls[0].field("MessageSid"), calls[1].field("MessageSid"));
    // The answer opened the window.
    assert_eq!(course(&caller, PERSON).await, read());
}

#[tokio::test]
async fn templates_are_rendered() {
    let caller = Caller::start(settings()).await;
    let answer = caller
        .control(
            Method::PUT,
            &format!("templates/{TEMPLATE}"),
            &json!({ "body": "Ola {{1}}, {{1}}: {{2}} as {{hour}}" }),
        )
        .await;
    assert_eq!(answer.status, 204, "{}", answer.text);
    let cases = [
        (
            r#"{"1":"Ana","2":"amanhã","hour":"9h"}"#,
            "Ola Ana, Ana: amanhã as 9h",
        ),
        (r#"{"1":"Ana"}"#, "Ola Ana, Ana: {{2}} as {{hour}}"),
        // A value is text, even when it looks like a placeholder.
        (
            r#"{"1":"{{2}}","2":"x","hour":"9h"}"#,
            "Ola {{2}}, {{2}}: x as 9h",
        ),
    ];
    for (variables, body) in cases {
        let form = [
            ("To", PERSON),
            ("From", SENDER),
            ("ContentSid", TEMPLATE),
            ("ContentVariables", variables),
        ];
        let answer = caller.create(&form).await;
        assert_eq!(answer.field("body"), body);
        let truth = caller.sim.truth();
        let message = truth.last().unwrap();
        assert_eq!(message.body, body);
        assert_eq!(message.content_sid.as_deref(), Some(TEMPLATE));
        assert_eq!(message.content_variables.as_deref(), Some(variables));
    }
    // An unknown template shows only its values.
    let unknown = "HX00000000000000000000000000000002";
    let variables = ("ContentVariables", r#"{"1":"Ana","2":"Bia"}"#);
    let form = [
        ("To", PERSON),
        ("From", SENDER),
        ("ContentSid", unknown),
        variables,
    ];
    assert_eq!(caller.create(&form).await.field("body"), "Ana Bia");
}
