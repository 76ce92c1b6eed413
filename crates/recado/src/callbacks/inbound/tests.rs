//! Recorded inbound messages, and injured ones.

mod lost;

use super::*;
use crate::callbacks::form::tests::recorded::{injured, recorded};

const PERSON: &str = "whatsapp:+5511900000001";
const SENDER: &str = "whatsapp:+551140000000";
const MEDIA: &str =
    "https://api.twilio.com/2010-04-01/Accounts/AC00000000000000000000000000000001/Messages";

fn sid(text: &str) -> Sid {
    Sid::parse_message(text).unwrap()
}

/// What most recorded messages have in common: Maria writes to the sender.
fn from_maria(n: u8) -> InboundMessage<'static> {
    InboundMessage {
        sid: sid(&format!("SM{n:032x}")),
        from: Some(PERSON),
        to: Some(SENDER),
        messaging_service: None,
        wa_id: Some("5511900000001"),
        external_user_id: None,
        parent_user_id: None,
        profile_name: Some("Maria Silva"),
        body: None,
        message_type: Some("text"),
        media: Vec::new(),
        location: None,
        button: None,
        list: None,
        reply_to_sid: None,
        forwarded: false,
        frequently_forwarded: false,
        opt_out_type: None,
        interactive_data: None,
        flow_data: None,
    }
}

fn text(n: u8, body: &'static str) -> InboundMessage<'static> {
    InboundMessage {
        body: Some(body),
        ..from_maria(n)
    }
}

fn medium(n: u8, kind: &'static str, content_type: &'static str) -> InboundMessage<'static> {
    let url = format!("{MEDIA}/MM{n:032x}/Media/ME{n:032x}").leak();
    InboundMessage {
        sid: sid(&format!("MM{n:032x}")),
        message_type: Some(kind),
        media: vec![Medium {
            url,
            content_type: Some(content_type),
        }],
        ..from_maria(n)
    }
}

fn in_service(message: InboundMessage<'static>) -> InboundMessage<'static> {
    let service = Sid::parse("MG00000000000000000000000000000001", &["MG"]).unwrap();
    InboundMessage {
        messaging_service: Some(service),
        ..message
    }
}

fn answering(message: InboundMessage<'static>) -> InboundMessage<'static> {
    InboundMessage {
        reply_to_sid: Some(sid("SM00000000000000000000000000000002")),
        ..message
    }
}

/// The first thirteen recorded messages.
fn expected_first() -> Vec<InboundMessage<'static>> {
    let place = Location {
        latitude: -23.561414,
        longitude: -46.655882,
        address: Some("Av. Paulista, 1578, São Paulo"),
        label: Some("MASP"),
    };
    let pin = Location {
        address: None,
        label: None,
        ..place
    };
    let button = Button {
        text: Some("Confirmar"),
        payload: Some("confirm_42"),
    };
    let item = ListItem {
        id: Some("shipping_express"),
        title: Some("Entrega expressa"),
    };
    vec![
        InboundMessage {
            to: Some("whatsapp:+14155238886"),
            wa_id: None,
            profile_name: None,
            message_type: None,
            ..text(0x65, "test")
        },
        text(0x66, "Bom dia, chegou meu pedido?"),
        in_service(text(0x67, "Olá! 1+1=2 & ação: \"sim\" 🎉\nsegunda linha")),
        medium(0x68, "image", "image/jpeg"),
        InboundMessage {
            body: Some("comprovante"),
            ..medium(0x69, "image", "image/jpeg")
        },
        medium(0x6a, "audio", "audio/ogg"),
        InboundMessage {
            body: Some("boleto.pdf"),
            ..medium(0x6b, "document", "application/pdf")
        },
        medium(0x6c, "sticker", "image/webp"),
        medium(0x6d, "contacts", "text/vcard"),
        InboundMessage {
            message_type: Some("location"),
            location: Some(place),
            ..from_maria(0x6e)
        },
        InboundMessage {
            message_type: Some("location"),
            location: Some(pin),
            ..from_maria(0x6f)
        },
        InboundMessage {
            message_type: Some("button"),
            button: Some(button),
            ..answering(text(0x70, "Confirmar"))
        },
        InboundMessage {
            message_type: Some("interactive"),
            list: Some(item),
            ..answering(text(0x71, "Entrega expressa"))
        },
    ]
}

/// The other eleven.
fn expected_rest() -> Vec<InboundMessage<'static>> {
    let opt_out = |n, body, opt_out_type| InboundMessage {
        opt_out_type: Some(opt_out_type),
        ..in_service(text(n, body))
    };
    let bsuid = Some("whatsapp:BR.1000000000000001");
    vec![
        answering(text(0x72, "sim, pode enviar")),
        InboundMessage {
            forwarded: true,
            frequently_forwarded: true,
            ..text(0x73, "promo imperdível")
        },
        text(0x74, "Quero saber mais"),
        opt_out(0x75, "STOP", ProviderKeyword::Stop),
        opt_out(0x76, "START", ProviderKeyword::Start),
        opt_out(0x77, "HELP", ProviderKeyword::Help),
        text(0x78, " Parar. "),
        InboundMessage {
            from: bsuid,
            external_user_id: bsuid,
            wa_id: None,
            ..text(0x79, "oi")
        },
        InboundMessage {
            message_type: Some("interactive"),
            interactive_data: Some(r#"{"type":"nfm_reply"}"#),
            flow_data: Some(r#"{"screen_0_name_0":"Maria"}"#),
            ..from_maria(0x7a)
        },
        InboundMessage {
            from: Some("whatsapp:+15555550101"),
            to: Some("whatsapp:+15555550100"),
            wa_id: None,
            profile_name: None,
            message_type: None,
            ..text(0x7b, "Msg")
        },
        InboundMessage {
            to: Some("whatsapp:+14155238886"),
            ..text(0x7c, "join example-words")
        },
    ]
}

#[test]
fn recorded_inbound_messages() {
    let recorded = recorded();
    let files: Vec<_> = recorded
        .iter()
        .filter(|one| one.file.starts_with("inbound"))
        .collect();
    let expected = [expected_first(), expected_rest()].concat();
    assert_eq!((files.len(), expected.len()), (24, 24));
    for (one, expected) in files.iter().zip(expected) {
        let form = Form::parse(&one.body).unwrap();
        assert!(
            InboundMessage::read(&form) == Some(expected),
            "{}",
            one.file
        );
    }
}

fn read<T>(body: &str, look: impl Fn(&InboundMessage<'_>) -> T) -> Option<T> {
    let body = format!("SmsSid=SM00000000000000000000000000000001&{body}");
    let form = Form::parse(body.as_bytes()).unwrap();
    InboundMessage::read(&form).as_ref().map(look)
}

#[test]
fn without_a_sid_there_is_no_message() {
    for body in [
        "",
        "Body=oi",
        "MessageSid=&Body=oi",
        "MessageSid=SM1",
        "MessageSid=AC00000000000000000000000000000001",
    ] {
        assert!(
            InboundMessage::read(&Form::parse(body.as_bytes()).unwrap()).is_none(),
            "{body}"
        );
    }
    assert_eq!(
        read("MessageSid=nonsense", |message| message.sid),
        Some(sid("SM00000000000000000000000000000001"))
    );
}

#[test]
fn media_are_counted_by_what_is_there() {
    for (body, count) in [
        ("", 0),
        ("NumMedia=0&MediaUrl0=a", 0),
        ("MediaUrl0=a", 1),
        ("NumMedia=1&MediaUrl0=a&MediaUrl1=b", 2),
        ("NumMedia=99999999999&MediaUrl0=a", 1),
        ("NumMedia=-1&MediaUrl0=a", 1),
        ("NumMedia=2&MediaUrl1=b", 0),
        ("NumMedia=1&MediaUrl0=", 0),
    ] {
        assert_eq!(
            read(body, |message| message.media.len()),
            Some(count),
            "{body}"
        );
    }
    let many: String = (0..20).map(|n| format!("MediaUrl{n}=u&")).collect();
    assert_eq!(read(&many, |message| message.media.len()), Some(MEDIA_MAX));
}

#[test]
fn odd_places_are_no_places() {
    for (latitude, longitude) in [
        ("", "1"),
        ("1", ""),
        ("x", "1"),
        ("NaN", "1"),
        ("1", "inf"),
        ("90.1", "1"),
        ("1", "-180.1"),
        ("1e999", "1"),
        ("1,5", "1"),
    ] {
        let body = format!("Latitude={latitude}&Longitude={longitude}");
        assert_eq!(
            read(&body, |message| message.location.is_none()),
            Some(true),
            "{body}"
        );
    }
    let edge = read("Latitude=-90&Longitude=180.0", |message| {
        message
            .location
            .map(|place| (place.latitude, place.longitude))
    });
    assert_eq!(edge, Some(Some((-90.0, 180.0))));
}

#[test]
fn words_that_are_not_known_are_left_out() {
    assert_eq!(
        read("OptOutType=stop", |message| message.opt_out_type),
        Some(None)
    );
    assert_eq!(
        read("OptOutType=OTHER", |message| message.opt_out_type),
        Some(None)
    );
    assert_eq!(
        read("Forwarded=false", |message| message.forwarded),
        Some(false)
    );
    assert_eq!(
        read("Forwarded=True", |message| message.forwarded),
        Some(true)
    );
    assert_eq!(
        read("OriginalRepliedMessageSid=x", |message| message
            .reply_to_sid),
        Some(None)
    );
    assert_eq!(
        read("Body=%FF", |message| message.body.is_none()),
        Some(true)
    );
}

#[test]
fn injured_bodies_are_read_without_panic() {
    let mut read = 0;
    for body in injured(19_940_711, 10_000) {
        let Ok(form) = Form::parse(&body) else {
            continue;
        };
        read += usize::from(InboundMessage::read(&form).is_some());
    }
    assert!((3_000..10_000).contains(&read), "{read}");
}
