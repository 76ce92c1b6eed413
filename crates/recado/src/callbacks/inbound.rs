//! Inbound messages.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use delivery::address::{Address, Context, Parsed};
use delivery::consent::ConsentChange;
use delivery::message::SenderName;
use serde_json::{Value, json};

use super::form::Form;
use super::inbound_message::{InboundMessage, OptOutType};
use super::{Callbacks, not_stored};
use crate::store::{NewInbound, new_message_id, wait_until_idle};

/// Answers with nothing to say: replies go through the API, so that one path does all accounting.
const EMPTY_TWIML: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response/>";

pub(super) async fn receive(room: &Callbacks, form: &Form) -> Response {
    let Some(message) = InboundMessage::read(form) else {
        tracing::warn!("a signed inbound message has no readable SID; it is ignored");
        return empty_answer();
    };
    let Some(from) = read_sender(&message) else {
        tracing::warn!("a signed inbound message comes from no readable address; it is ignored");
        return empty_answer();
    };
    let now = room.effects.clock.now();
    let inbound = NewInbound {
        sid: message.sid,
        from: from.address,
        sent_form: from.sent_form,
        to: our_sender(room, &message),
        message_type: message_type(&message).to_owned(),
        payload: payload(&message).to_string(),
        media: u32::try_from(message.media.len()).unwrap_or(u32::MAX),
        reply_to: message.reply_to_sid,
        body: message.body.unwrap_or_default().to_owned(),
        button_payload: message
            .button
            .and_then(|button| button.payload)
            .map(str::to_owned),
        opt_out_type: message
            .opt_out_type
            .map(|kind| opt_out_word(kind).to_owned()),
        question_id: new_message_id(now, &*room.effects.random),
        now,
    };
    match room.inbounds.inbound(vec![inbound]).await {
        Ok(results) => {
            for result in results {
                if result.duplicate || result.change == ConsentChange::OptOut {
                    let clock = &*room.effects.clock;
                    wait_until_idle(&*room.queue, room.closed.clone(), clock, result.person).await;
                }
            }
            empty_answer()
        }
        Err(error) => not_stored(&error),
    }
}

/// Who wrote: `From`, else `WaId`, else the business-scoped user id.
fn read_sender(message: &InboundMessage<'_>) -> Option<Parsed> {
    let from = message
        .from
        .and_then(|from| Address::parse(from, Context::Inbound).ok());
    from.or_else(|| {
        message
            .wa_id
            .and_then(|id| Address::parse(id, Context::InboundWaid).ok())
    })
    .or_else(|| {
        let id = message.external_user_id?;
        Address::parse(id, Context::Inbound).ok()
    })
}

/// Which of our senders they wrote to. Our own number may come back without its ninth digit too.
fn our_sender(room: &Callbacks, message: &InboundMessage<'_>) -> Option<SenderName> {
    let to = message
        .to
        .and_then(|to| Address::parse(to, Context::Inbound).ok());
    let by_number = to.and_then(|to| {
        let canonical = to.address.canonical();
        room.senders
            .iter()
            .find(|(known, _)| known == canonical)
            .map(|(_, name)| name.clone())
    });
    by_number.or_else(|| {
        let service = message.messaging_service?.to_string();
        room.senders
            .iter()
            .find(|(known, _)| *known == service)
            .map(|(_, name)| name.clone())
    })
}

/// Twilio's own word when it gives one that is short and plain, else what the fields show.
fn message_type<'a>(message: &InboundMessage<'a>) -> &'a str {
    let plain = |word: &&str| word.len() <= 32 && word.bytes().all(|b| b.is_ascii_lowercase());
    if let Some(word) = message.message_type.filter(plain) {
        return word;
    }
    if message.location.is_some() {
        "location"
    } else if message.button.is_some() {
        "button"
    } else if message.list.is_some() || message.interactive_data.is_some() {
        "interactive"
    } else if message.media.is_empty() {
        "text"
    } else {
        "media"
    }
}

/// Everything readable, for sealing.
fn payload(message: &InboundMessage<'_>) -> Value {
    let media: Vec<Value> = message
        .media
        .iter()
        .map(|medium| json!({ "url": medium.url, "content_type": medium.content_type }))
        .collect();
    let location = message.location.map(|place| {
        json!({
            "latitude": place.latitude, "longitude": place.longitude,
            "address": place.address, "label": place.label,
        })
    });
    let button = message
        .button
        .map(|button| json!({ "text": button.text, "payload": button.payload }));
    let list = message
        .list
        .map(|item| json!({ "id": item.id, "title": item.title }));
    let full = json!({
        "body": message.body,
        "profile_name": message.profile_name,
        "external_user_id": message.external_user_id,
        "media": media,
        "location": location,
        "button": button,
        "list": list,
        "forwarded": message.forwarded,
        "interactive_data": message.interactive_data,
        "flow_data": message.flow_data,
    });
    match full {
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .filter(|(_, value)| !is_nothing(value))
                .collect(),
        ),
        other => other,
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::Bool(true) | Value::Number(_) | Value::String(_) | Value::Object(_) => false,
    }
}

fn opt_out_word(kind: OptOutType) -> &'static str {
    match kind {
        OptOutType::Stop => "STOP",
        OptOutType::Start => "START",
        OptOutType::Help => "HELP",
    }
}

fn empty_answer() -> Response {
    (
        StatusCode::OK,
        [(header::CONTENT_TYPE, "text/xml; charset=utf-8")],
        EMPTY_TWIML,
    )
        .into_response()
}
