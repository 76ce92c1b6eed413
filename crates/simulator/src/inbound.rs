//! Inbound messages: people who write to us.

use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::callback::Call;
use crate::phone::PhoneBehavior;
use crate::rng::{Rng, key};
use crate::state::{State, person};

/// What a person writes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inbound {
    /// The person: E.164, with or without `whatsapp:`.
    pub from: String,
    /// Our sender; the first one by default.
    #[serde(default)]
    pub to: Option<String>,
    /// The text.
    #[serde(default)]
    pub body: Option<String>,
    /// Media: URL and MIME type.
    #[serde(default)]
    pub media: Vec<(String, String)>,
    /// A tapped button: text and payload.
    #[serde(default)]
    pub button: Option<(String, String)>,
    /// A location: degrees north, degrees east.
    #[serde(default)]
    pub location: Option<(f64, f64)>,
    /// `STOP`, `START` or `HELP`, as Advanced Opt-Out adds it.
    #[serde(default)]
    pub opt_out_type: Option<String>,
    /// The name that the person chose.
    #[serde(default)]
    pub profile_name: Option<String>,
    /// The message that it answers.
    #[serde(default)]
    pub replied_to: Option<String>,
    /// The SID to use, for sending the same message again.
    #[serde(default)]
    pub sid: Option<String>,
}

/// What happened to an inbound message.
#[derive(Clone, Debug, Serialize)]
pub struct InboundResult {
    /// Its SID.
    pub sid: String,
    /// The status of the webhook's response; `None` without a response or without a webhook.
    pub answered: Option<u16>,
}

/// Sends an inbound message to the webhook.
pub(crate) async fn deliver(state: &Arc<State>, inbound: Inbound) -> InboundResult {
    let (url, sid, from) = {
        let mut inner = state.inner();
        inner.inbound_count += 1;
        let who = person(&inbound.from);
        // WhatsApp knows this phone only without the ninth digit, so its messages come from there.
        let short = inner.phones.get(&who) == Some(&PhoneBehavior::OnlyWithoutNinthDigit);
        let plain = inbound
            .from
            .strip_prefix("whatsapp:")
            .unwrap_or(&inbound.from)
            .to_owned();
        let from = if short { who.clone() } else { plain };
        inner.last_inbound.insert(who.clone(), Instant::now());
        let mut rng = Rng::of_part(state.settings.seed, key(&who), inner.inbound_count);
        let kind = if inbound.media.is_empty() { "SM" } else { "MM" };
        let sid = inbound
            .sid
            .clone()
            .unwrap_or_else(|| format!("{kind}{}", rng.hex()));
        (inner.inbound_url.clone(), sid, from)
    };
    let Some(url) = url else {
        return InboundResult {
            sid,
            answered: None,
        };
    };
    let call = Call {
        url: &url,
        fields: fields(state, &inbound, &sid, &from),
        token: &state.settings.auth_token,
        idempotency: Rng::of_part(state.settings.seed, key(&sid), 3).hex(),
    };
    let result = state.caller.send(&call).await;
    InboundResult {
        sid,
        answered: result.answered,
    }
}

/// The fields, in Twilio's order.
fn fields(state: &State, inbound: &Inbound, sid: &str, from: &str) -> Vec<(&'static str, String)> {
    let mut fields = Vec::with_capacity(20);
    fields.push(("SmsMessageSid", sid.to_owned()));
    fields.push(("NumMedia", inbound.media.len().to_string()));
    if let Some(name) = &inbound.profile_name {
        fields.push(("ProfileName", name.clone()));
    }
    fields.push(("MessageType", message_type(inbound).to_owned()));
    fields.push(("SmsSid", sid.to_owned()));
    if let Some(digits) = from.strip_prefix('+') {
        fields.push(("WaId", digits.to_owned()));
    }
    fields.push(("SmsStatus", "received".to_owned()));
    let text = inbound
        .button
        .as_ref()
        .map(|(text, _)| text)
        .or(inbound.body.as_ref());
    fields.push(("Body", text.cloned().unwrap_or_default()));
    let to = inbound
        .to
        .clone()
        .unwrap_or_else(|| state.sender_of_service());
    fields.push(("To", with_prefix(&to)));
    fields.push(("NumSegments", "1".to_owned()));
    fields.push(("ReferralNumMedia", "0".to_owned()));
    fields.push(("MessageSid", sid.to_owned()));
    fields.push(("AccountSid", state.settings.account_sid.clone()));
    fields.push(("From", with_prefix(from)));
    if let Some((url, kind)) = inbound.media.first() {
        // A WhatsApp message has at most one media file.
        fields.push(("MediaUrl0", url.clone()));
        fields.push(("MediaContentType0", kind.clone()));
    }
    if let Some((text, payload)) = &inbound.button {
        fields.push(("ButtonText", text.clone()));
        fields.push(("ButtonPayload", payload.clone()));
        fields.push(("ButtonType", "REPLY".to_owned()));
    }
    if let Some((north, east)) = inbound.location {
        fields.push(("Latitude", north.to_string()));
        fields.push(("Longitude", east.to_string()));
    }
    if let Some(kind) = &inbound.opt_out_type {
        fields.push(("OptOutType", kind.clone()));
    }
    if let Some(sid) = &inbound.replied_to {
        fields.push(("OriginalRepliedMessageSid", sid.clone()));
        fields.push(("OriginalRepliedMessageSender", with_prefix(&to)));
    }
    fields.push(("ApiVersion", "2010-04-01".to_owned()));
    fields
}

fn message_type(inbound: &Inbound) -> &'static str {
    let medium = inbound
        .media
        .first()
        .map(|(_, kind)| kind.split('/').next().unwrap_or_default());
    match medium {
        Some("image") => "image",
        Some("audio") => "audio",
        Some("video") => "video",
        Some("text") => "contacts",
        Some(_) => "document",
        None if inbound.button.is_some() => "button",
        None if inbound.location.is_some() => "location",
        None => "text",
    }
}

fn with_prefix(address: &str) -> String {
    if address.starts_with("whatsapp:") {
        return address.to_owned();
    }
    format!("whatsapp:{address}")
}
