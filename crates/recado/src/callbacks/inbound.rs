//! Inbound messages: what a person wrote to one of our senders.

use std::time::Duration;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use delivery::address::{Address, Context, Parsed};
use delivery::consent::{ConsentChange, ProviderKeyword};
use delivery::message::SenderName;
use delivery::sid::Sid;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::answer::not_stored;
use super::form::Form;
use super::handles::Callbacks;
use crate::store::{NewInbound, new_message_id, wait_until_idle};

/// Media of one message; WhatsApp sends one, Twilio's form has room for ten.
pub const MEDIA_MAX: usize = 10;
/// How long the answer to an opt-out waits for open requests to that person. Twilio waits 15
/// seconds for the answer to an inbound message.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(10);
/// An empty answer: replies are sent through the API, so that everything is counted in one place.
const EMPTY_TWIML: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response/>";

/// One inbound message. It borrows from the verified form, and has no `Debug`: nearly all of it
/// is personal data. Everything but the SID may be missing; empty fields count as missing.
#[derive(Clone, PartialEq)]
pub struct InboundMessage<'a> {
    /// Twilio's id of the message.
    pub sid: Sid,
    /// The person: `whatsapp:+E164`, or `whatsapp:CC.id` when the number is hidden.
    pub from: Option<&'a str>,
    /// Our sender: `whatsapp:+E164`.
    pub to: Option<&'a str>,
    /// The Messaging Service that the sender belongs to.
    pub messaging_service: Option<Sid>,
    /// The person's WhatsApp id: digits without `+`. Old Brazilian accounts have no ninth digit.
    pub wa_id: Option<&'a str>,
    /// The person's id at this business: `whatsapp:CC.id`.
    pub external_user_id: Option<&'a str>,
    /// Their id at all businesses of the same owner: `whatsapp:CC.ENT.id`.
    pub parent_user_id: Option<&'a str>,
    /// The name that the person chose.
    pub profile_name: Option<&'a str>,
    /// The text; the caption of media, the file name of documents, the title of buttons.
    pub body: Option<&'a str>,
    /// `text`, `image`, `location` and so on. A hint: it is not documented.
    pub message_type: Option<&'a str>,
    /// What came with it, at most [`MEDIA_MAX`].
    pub media: Vec<Medium<'a>>,
    /// A place.
    pub location: Option<Location<'a>>,
    /// A tapped button.
    pub button: Option<Button<'a>>,
    /// A chosen item of a list.
    pub list: Option<ListItem<'a>>,
    /// The message that it answers; Twilio reports it for seven days.
    pub reply_to_sid: Option<Sid>,
    /// Whether it was forwarded.
    pub forwarded: bool,
    /// Whether it was forwarded many times.
    pub frequently_forwarded: bool,
    /// Set when Twilio itself recognized a keyword and answered it (Advanced Opt-Out).
    pub opt_out_type: Option<ProviderKeyword>,
    /// JSON about an interactive answer.
    pub interactive_data: Option<&'a str>,
    /// JSON with the answers of a WhatsApp Flow.
    pub flow_data: Option<&'a str>,
}

/// A medium that Twilio stores.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Medium<'a> {
    /// Where Twilio stores it.
    pub url: &'a str,
    /// MIME type.
    pub content_type: Option<&'a str>,
}

/// A place that was shared.
#[derive(Clone, Copy, PartialEq)]
pub struct Location<'a> {
    /// Degrees north, -90 to 90.
    pub latitude: f64,
    /// Degrees east, -180 to 180.
    pub longitude: f64,
    /// Postal address of a named place.
    pub address: Option<&'a str>,
    /// Name of a named place.
    pub label: Option<&'a str>,
}

/// A tapped button.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Button<'a> {
    /// What stood on it.
    pub text: Option<&'a str>,
    /// What the template gave it to carry.
    pub payload: Option<&'a str>,
}

/// A chosen item of a list.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ListItem<'a> {
    /// What the list gave the item to carry.
    pub id: Option<&'a str>,
    /// What the item was called.
    pub title: Option<&'a str>,
}

impl<'a> InboundMessage<'a> {
    /// Reads a verified form; `None` when it carries no SID of a message.
    pub fn read(form: &'a Form) -> Option<Self> {
        let sid = ["MessageSid", "SmsMessageSid", "SmsSid"]
            .iter()
            .find_map(|name| Sid::parse_message(form.get(name)?).ok())?;
        let text = |name| form.get_filled(name);
        let is_true = |name| {
            form.get(name)
                .is_some_and(|word| word.eq_ignore_ascii_case("true"))
        };
        let service = text("MessagingServiceSid").and_then(|sid| Sid::parse(sid, &["MG"]).ok());
        let reply_to = text("OriginalRepliedMessageSid");
        Some(Self {
            sid,
            from: text("From"),
            to: text("To"),
            messaging_service: service,
            wa_id: text("WaId"),
            external_user_id: text("ExternalUserId"),
            parent_user_id: text("ParentExternalUserId"),
            profile_name: text("ProfileName"),
            body: text("Body"),
            message_type: text("MessageType"),
            media: media(form),
            location: location(form),
            button: button(form),
            list: list(form),
            reply_to_sid: reply_to.and_then(|sid| Sid::parse_message(sid).ok()),
            forwarded: is_true("Forwarded") || is_true("FrequentlyForwarded"),
            frequently_forwarded: is_true("FrequentlyForwarded"),
            opt_out_type: text("OptOutType").and_then(provider_keyword),
            interactive_data: text("InteractiveData"),
            flow_data: text("FlowData"),
        })
    }
}

/// Reads Twilio's word for what it has understood; `None` when it is not one of the three.
fn provider_keyword(word: &str) -> Option<ProviderKeyword> {
    match word {
        "STOP" => Some(ProviderKeyword::Stop),
        "START" => Some(ProviderKeyword::Start),
        "HELP" => Some(ProviderKeyword::Help),
        _ => None,
    }
}

/// Stores an inbound message, and then answers it.
pub(super) async fn receive(callbacks: &Callbacks, form: &Form) -> Response {
    let Some(message) = InboundMessage::read(form) else {
        tracing::warn!("a signed inbound message has no readable SID; it is ignored");
        return empty_answer();
    };
    let Some(from) = read_sender(&message) else {
        tracing::warn!("a signed inbound message comes from no readable address; it is ignored");
        return empty_answer();
    };
    let now = callbacks.effects.clock.now();
    let untaken = Untaken(&callbacks.lost);
    let inbound = NewInbound {
        sid: message.sid,
        also: other_names(&from.address, &message),
        from: from.address,
        sent_form: from.sent_form,
        to: our_sender(callbacks, &message),
        message_type: message_type(&message).to_owned(),
        payload: payload(&message).to_string(),
        media: u32::try_from(message.media.len()).unwrap_or(u32::MAX),
        reply_to: message.reply_to_sid,
        body: message.body.unwrap_or_default().to_owned(),
        button_payload: message
            .button
            .and_then(|button| button.payload)
            .map(str::to_owned),
        provider_keyword: message.opt_out_type,
        written_at: None,
        listed: false,
        question_id: new_message_id(now, &*callbacks.effects.random),
        now,
    };
    match callbacks.inbounds.inbound(vec![inbound]).await {
        Ok(results) => {
            std::mem::forget(untaken);
            for result in results {
                if result.duplicate || result.change == ConsentChange::OptOut {
                    let clock = &*callbacks.effects.clock;
                    wait_until_idle(
                        &*callbacks.queue,
                        callbacks.closed.clone(),
                        clock,
                        result.person,
                        ANSWER_WAIT_MAX,
                    )
                    .await;
                }
            }
            empty_answer()
        }
        Err(error) => not_stored(&error),
    }
}

/// An inbound message that is not stored yet. Dropped, by a failure or because the request took too
/// long, it asks for the provider's list to be read: the provider may not come again.
struct Untaken<'a>(&'a watch::Sender<u64>);

impl Drop for Untaken<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|n| *n = n.wrapping_add(1));
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

/// The other names that a callback gives a person, each once. What cannot be read is no name: a
/// guess would make two people one.
fn other_names(known: &Address, message: &InboundMessage<'_>) -> Vec<Address> {
    let mut others: Vec<Address> = Vec::new();
    let ids = [message.external_user_id, message.parent_user_id];
    for name in ids.into_iter().flatten() {
        if let Ok(Parsed { address, .. }) = Address::parse(name, Context::Inbound)
            && address != *known
            && !others.contains(&address)
        {
            others.push(address);
        }
    }
    others
}

/// Which of our senders they wrote to. Our own number may come back without its ninth digit too.
fn our_sender(callbacks: &Callbacks, message: &InboundMessage<'_>) -> Option<SenderName> {
    let to = message
        .to
        .and_then(|to| Address::parse(to, Context::Inbound).ok());
    let by_number = to.and_then(|to| {
        let canonical = to.address.canonical();
        callbacks
            .senders
            .iter()
            .find(|(known, _)| known == canonical)
            .map(|(_, name)| name.clone())
    });
    by_number.or_else(|| {
        let service = message.messaging_service?.to_string();
        callbacks
            .senders
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
        "parent_external_user_id": message.parent_user_id,
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

fn empty_answer() -> Response {
    (
        StatusCode::OK,
        [(header::CONTENT_TYPE, "text/xml; charset=utf-8")],
        EMPTY_TWIML,
    )
        .into_response()
}

/// The media that are there: `NumMedia` is believed only when it says none.
fn media(form: &Form) -> Vec<Medium<'_>> {
    // Most messages have none, and need no lookup of ten names.
    if form.get("NumMedia") == Some("0") {
        return Vec::new();
    }
    (0..MEDIA_MAX)
        .map_while(|n| {
            let url = form.get_filled(&format!("MediaUrl{n}"))?;
            Some(Medium {
                url,
                content_type: form.get_filled(&format!("MediaContentType{n}")),
            })
        })
        .collect()
}

fn location(form: &Form) -> Option<Location<'_>> {
    let degrees = |name, limit: f64| {
        let value: f64 = form.get(name)?.parse().ok()?;
        (value.abs() <= limit).then_some(value)
    };
    Some(Location {
        latitude: degrees("Latitude", 90.0)?,
        longitude: degrees("Longitude", 180.0)?,
        address: form.get_filled("Address"),
        label: form.get_filled("Label"),
    })
}

fn button(form: &Form) -> Option<Button<'_>> {
    let (text, payload) = (
        form.get_filled("ButtonText"),
        form.get_filled("ButtonPayload"),
    );
    (text.is_some() || payload.is_some()).then_some(Button { text, payload })
}

fn list(form: &Form) -> Option<ListItem<'_>> {
    let (id, title) = (form.get_filled("ListId"), form.get_filled("ListTitle"));
    (id.is_some() || title.is_some()).then_some(ListItem { id, title })
}

#[cfg(test)]
mod tests;
