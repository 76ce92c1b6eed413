//! Inbound messages: what the webhook receives.

use hyper::Method;
use serde_json::{Value, json};
use simulator::{PhoneBehavior, Settings};

use crate::caller::{Caller, SENDER, fast, phone};
use crate::receiver::{Call, Receiver};

async fn start() -> (Caller, Receiver) {
    let settings = Settings {
        senders: vec!["+551140000000".to_owned()],
        ..fast()
    };
    let caller = Caller::start(settings).await;
    let receiver = Receiver::start().await;
    let webhook = json!({ "inbound_url": receiver.url("/inbound#rc=1&rp=5xx") });
    assert_eq!(
        caller
            .control(Method::PUT, "webhook", &webhook)
            .await
            .status,
        204
    );
    (caller, receiver)
}

/// A person writes; returns the response and the last request that the webhook received.
async fn write(caller: &Caller, receiver: &Receiver, message: &Value) -> (Value, Call) {
    let answer = caller.control(Method::POST, "inbound", message).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let call = receiver.calls().pop().unwrap();
    assert!(call.is_signed_with(caller.sim.auth_token()));
    let json = answer.json();
    for name in ["MessageSid", "SmsSid", "SmsMessageSid"] {
        assert_eq!(call.field(name), json["sid"].as_str(), "{name}");
    }
    (json, call)
}

#[tokio::test]
async fn texts_have_the_fields_of_twilio() {
    let (caller, receiver) = start().await;
    let message = json!({ "from": "+5511900000001", "body": "Olá & até", "profile_name": "Ana" });
    let (answer, call) = write(&caller, &receiver, &message).await;
    assert_eq!(answer["answered"], 204);
    assert!(answer["sid"].as_str().unwrap().starts_with("SM"));
    let fields = [
        ("Body", "Olá & até"),
        ("From", "whatsapp:+5511900000001"),
        ("To", SENDER),
        ("WaId", "5511900000001"),
        ("ProfileName", "Ana"),
        ("SmsStatus", "received"),
        ("MessageType", "text"),
        ("NumMedia", "0"),
        ("NumSegments", "1"),
        ("ReferralNumMedia", "0"),
        ("ApiVersion", "2010-04-01"),
        ("AccountSid", caller.sim.account_sid()),
    ];
    for (name, value) in fields {
        assert_eq!(call.field(name), Some(value), "{name}");
    }
    for name in [
        "MessageStatus",
        "OptOutType",
        "ButtonText",
        "MediaUrl0",
        "Latitude",
    ] {
        assert_eq!(call.field(name), None, "{name}");
    }
}

#[tokio::test]
async fn media_buttons_places_and_replies() {
    let (caller, receiver) = start().await;
    let from = "whatsapp:+5511900000001";
    let media = |kind: &str| json!({ "from": from, "media": [["https://example.com/m", kind]] });
    let kinds = [
        ("image/jpeg", "image"),
        ("audio/ogg", "audio"),
        ("video/mp4", "video"),
        ("text/vcard", "contacts"),
        ("application/pdf", "document"),
    ];
    for (kind, word) in kinds {
        let (answer, call) = write(&caller, &receiver, &media(kind)).await;
        assert!(answer["sid"].as_str().unwrap().starts_with("MM"));
        assert_eq!(call.field("MessageType"), Some(word));
        assert_eq!(call.field("NumMedia"), Some("1"));
        assert_eq!(call.field("MediaUrl0"), Some("https://example.com/m"));
        assert_eq!(call.field("MediaContentType0"), Some(kind));
        assert_eq!(call.field("Body"), Some(""));
    }
    let message = json!({ "from": from, "button": ["Confirmar", "yes-1"], "replied_to": "SM1" });
    let (_, call) = write(&caller, &receiver, &message).await;
    assert_eq!(call.field("MessageType"), Some("button"));
    assert_eq!(call.field("Body"), Some("Confirmar"));
    assert_eq!(call.field("ButtonText"), Some("Confirmar"));
    assert_eq!(call.field("ButtonPayload"), Some("yes-1"));
    assert_eq!(call.field("OriginalRepliedMessageSid"), Some("SM1"));
    assert_eq!(call.field("OriginalRepliedMessageSender"), Some(SENDER));
    let message = json!({ "from": from, "location": [-3.71, -38.54] });
    let (_, call) = write(&caller, &receiver, &message).await;
    assert_eq!(call.field("MessageType"), Some("location"));
    assert_eq!(call.field("Latitude"), Some("-3.71"));
    assert_eq!(call.field("Longitude"), Some("-38.54"));
    let message = json!({ "from": from, "body": "STOP", "opt_out_type": "STOP" });
    let (_, call) = write(&caller, &receiver, &message).await;
    assert_eq!(call.field("OptOutType"), Some("STOP"));
}

#[tokio::test]
async fn the_same_message_can_come_again() {
    let (caller, receiver) = start().await;
    let (first, _) = write(&caller, &receiver, &json!({ "from": "+5511900000001" })).await;
    let (second, _) = write(&caller, &receiver, &json!({ "from": "+5511900000001" })).await;
    assert_ne!(first["sid"], second["sid"]);
    let again = json!({ "from": "+5511900000001", "sid": first["sid"] });
    let (third, _) = write(&caller, &receiver, &again).await;
    assert_eq!(first["sid"], third["sid"]);
    let calls = receiver.calls();
    let token = |place: usize| calls[place].header("i-twilio-idempotency-token").to_owned();
    assert_eq!(token(0), token(2));
    assert_ne!(token(0), token(1));
}

#[tokio::test]
async fn a_phone_without_the_ninth_digit_writes_without_it() {
    let (caller, receiver) = start().await;
    let only_without = phone("+5585988880001", PhoneBehavior::OnlyWithoutNinthDigit);
    caller.sim.set_phones(vec![only_without]);
    let (_, call) = write(&caller, &receiver, &json!({ "from": "+5585988880001" })).await;
    assert_eq!(call.field("From"), Some("whatsapp:+558588880001"));
    assert_eq!(call.field("WaId"), Some("558588880001"));
    let (_, call) = write(&caller, &receiver, &json!({ "from": "+5585988880002" })).await;
    assert_eq!(call.field("From"), Some("whatsapp:+5585988880002"));
}

#[tokio::test]
async fn the_answer_of_the_webhook_is_told() {
    let (caller, receiver) = start().await;
    receiver.answer_with(&[403]);
    let (answer, _) = write(&caller, &receiver, &json!({ "from": "+5511900000001" })).await;
    assert_eq!(answer["answered"], 403);
    receiver.answer_with(&[503, 200]);
    let (answer, _) = write(&caller, &receiver, &json!({ "from": "+5511900000001" })).await;
    assert_eq!(
        (&answer["answered"], receiver.calls().len()),
        (&json!(200), 3)
    );
    // Without a webhook a person can still write, but nobody is told.
    let none = json!({ "inbound_url": null });
    assert_eq!(
        caller.control(Method::PUT, "webhook", &none).await.status,
        204
    );
    let message = json!({ "from": "+5511900000001" });
    let answer = caller.control(Method::POST, "inbound", &message).await;
    assert_eq!(answer.json()["answered"], Value::Null);
    assert_eq!(receiver.calls().len(), 3);
}
