//! Inbound messages: people who write to us.

use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;

use crate::callback::Call;
use crate::dates::rfc3339;
use crate::during::real;
use crate::inbound_record::{Inbound, InboundRecord};
use crate::phone::{PhoneBehavior, User};
use crate::rng::{Rng, key};
use crate::state::{Entry, Inner, Scheduled, State};
use crate::truth::{TruthInbound, TruthWebhook};

/// What happened to an inbound message.
#[derive(Clone, Debug, Serialize)]
pub struct InboundResult {
    /// Its SID.
    pub sid: String,
    /// The status of the webhook's last response; `None` without a response, without a webhook, or
    /// when it is told later.
    pub answered: Option<u16>,
}

/// A person writes: the message is in the list, and the webhook is told, at once or later.
pub(crate) async fn deliver(state: &Arc<State>, inbound: Inbound) -> InboundResult {
    let (generation, message, sid, delay) = {
        let mut inner = state.inner();
        let (message, sid) = take(state, &mut inner, inbound);
        let delay = delay(state, &mut inner, message, &sid);
        (inner.generation(), message, sid, delay)
    };
    let answered = match delay {
        Some(Delay::None) => tell(state, generation, message).await,
        Some(Delay::Scheduled) | None => None,
    };
    InboundResult { sid, answered }
}

/// Takes what a person writes; returns its place and its SID. One whose SID is known is the same
/// message again.
fn take(state: &State, inner: &mut Inner, mut inbound: Inbound) -> (usize, String) {
    inner.inbound_count += 1;
    let who = inner.person(&inbound.from);
    let from = address(inner, &who, &inbound.from);
    if let Some(user) = inner.user(&inbound.from) {
        let ids = (user.user_id.clone(), user.parent_user_id.clone());
        inbound.external_user_id.get_or_insert(ids.0);
        inbound.parent_external_user_id = inbound.parent_external_user_id.or(ids.1);
    }
    let ago = real(inbound.written_ms_ago);
    if let Some(written) = Instant::now().checked_sub(ago) {
        let last = inner.last_inbound.entry(who.clone()).or_insert(written);
        *last = written.max(*last);
    }
    let mut rng = Rng::of_part(state.settings.seed, key(&who), inner.inbound_count);
    let kind = if inbound.media.is_empty() { "SM" } else { "MM" };
    let drawn = format!("{kind}{}", rng.hex());
    let sid = inbound.sid.clone().unwrap_or(drawn);
    if let Some(Entry::Inbound(known)) = inner.by_sid.get(&sid) {
        return (*known, sid);
    }
    let to = inbound.to.clone();
    let to = with_prefix(&to.unwrap_or_else(|| state.sender_of_service()));
    let lag = inbound.list_lag_ms.unwrap_or(inner.faults.list_lag_ms);
    let before = |now: jiff::Timestamp| now.checked_sub(ago).unwrap_or(now);
    let created = before(state.now());
    let index = inner.inbound.len();
    inner.inbound.push(InboundRecord {
        truth: TruthInbound {
            sid: sid.clone(),
            from: with_prefix(&from),
            to: to.clone(),
            body: text(&inbound),
            written_at: rfc3339(before(jiff::Timestamp::now())),
            webhook: TruthWebhook::Pending,
            tries: Vec::new(),
        },
        key: key(&sid),
        inbound,
        created,
        listed_from: Instant::now() + state.scaled(lag),
        redacted: false,
        deleted: false,
    });
    inner.by_sid.insert(sid.clone(), Entry::Inbound(index));
    inner.put_in_list(&to, created, Entry::Inbound(index));
    (index, sid)
}

/// The address that a person's message comes from.
fn address(inner: &Inner, who: &str, from: &str) -> String {
    if let Some(user) = inner.user(from).filter(|user| user.hides_number) {
        return user.user_id.clone();
    }
    // WhatsApp knows this phone only without the ninth digit, so its messages come from there.
    if inner.phones.get(who) == Some(&PhoneBehavior::OnlyWithoutNinthDigit) {
        return who.to_owned();
    }
    from.strip_prefix("whatsapp:").unwrap_or(from).to_owned()
}

/// When the webhook is told.
enum Delay {
    None,
    Scheduled,
}

/// Decides when the webhook is told of a message, and schedules what is not told at once. `None`
/// when it is not told at all.
fn delay(state: &State, inner: &mut Inner, message: usize, sid: &str) -> Option<Delay> {
    let mut rng = Rng::of_part(state.settings.seed, key(sid), 4);
    let faults = inner.faults.clone();
    let lost = rng.happens(faults.inbound_lost);
    let late = rng.happens(faults.inbound_late);
    let doubled = rng.happens(faults.inbound_doubled);
    let has_webhook = inner.inbound_url.is_some();
    let record = inner.inbound.get_mut(message)?;
    if lost || !has_webhook {
        record.truth.webhook = if has_webhook {
            TruthWebhook::Lost
        } else {
            TruthWebhook::None
        };
        return None;
    }
    let asked = record.inbound.late_ms;
    let late = late.then_some(faults.inbound_late_ms);
    let after = asked.or(late);
    let again = Scheduled::Inbound { message };
    if doubled {
        let after = after.unwrap_or_default() + rng.between(1.0, 500.0);
        state.schedule(inner, state.scaled(after), again);
    }
    let Some(after) = after else {
        return Some(Delay::None);
    };
    let scheduled = Scheduled::Inbound { message };
    state.schedule(inner, state.scaled(after), scheduled);
    Some(Delay::Scheduled)
}

/// Tells the webhook of a message; returns the status of its last response.
pub(crate) async fn tell(state: &State, generation: u64, message: usize) -> Option<u16> {
    let (url, sid, fields) = {
        let inner = state.inner();
        let url = inner.inbound_url.clone()?;
        let record = inner.inbound_of(generation, message)?;
        (url, record.truth.sid.clone(), fields(state, record))
    };
    let call = Call {
        url: &url,
        fields,
        token: &state.settings.auth_token,
        idempotency: Rng::of_part(state.settings.seed, key(&sid), 3).hex(),
    };
    let tries = state.caller.send(&call).await;
    let answered = tries.last().and_then(|last| last.answered);
    let mut inner = state.inner();
    if let Some(record) = inner.inbound_of_mut(generation, message) {
        record.truth.tries.extend(tries);
        // Once it has taken a message, a later copy changes nothing about that.
        let taken = record.truth.webhook == TruthWebhook::Taken
            || answered.is_some_and(|status| (200..300).contains(&status));
        record.truth.webhook = if taken {
            TruthWebhook::Taken
        } else {
            TruthWebhook::GivenUp
        };
    }
    answered
}

/// The fields with the ids by which WhatsApp knows a person.
pub(crate) fn user_fields(user: Option<&User>) -> Vec<(&'static str, String)> {
    let Some(user) = user else {
        return Vec::new();
    };
    id_fields(Some(&user.user_id), user.parent_user_id.as_ref())
}

fn id_fields(id: Option<&String>, parent: Option<&String>) -> Vec<(&'static str, String)> {
    let named = [("ExternalUserId", id), ("ParentExternalUserId", parent)];
    let named = named
        .into_iter()
        .filter_map(|(name, id)| Some((name, with_prefix(id?))));
    named.collect()
}

/// The text of a message; a tapped button writes its label.
fn text(inbound: &Inbound) -> String {
    let label = inbound.button.as_ref().map(|(text, _)| text);
    label.or(inbound.body.as_ref()).cloned().unwrap_or_default()
}

/// The fields, in Twilio's order.
fn fields(state: &State, record: &InboundRecord) -> Vec<(&'static str, String)> {
    let (inbound, truth) = (&record.inbound, &record.truth);
    let (sid, from) = (&truth.sid, &truth.from);
    let mut fields = Vec::with_capacity(20);
    fields.push(("SmsMessageSid", sid.clone()));
    fields.push(("NumMedia", inbound.media.len().to_string()));
    if let Some(name) = &inbound.profile_name {
        fields.push(("ProfileName", name.clone()));
    }
    fields.push(("MessageType", message_type(inbound).to_owned()));
    fields.push(("SmsSid", sid.clone()));
    if let Some(digits) = from.strip_prefix("whatsapp:+") {
        fields.push(("WaId", digits.to_owned()));
    }
    fields.push(("SmsStatus", "received".to_owned()));
    fields.push(("Body", truth.body.clone()));
    fields.push(("To", truth.to.clone()));
    if let Some(service) = &inbound.messaging_service_sid {
        fields.push(("MessagingServiceSid", service.clone()));
    }
    fields.push(("NumSegments", "1".to_owned()));
    fields.push(("ReferralNumMedia", "0".to_owned()));
    fields.push(("MessageSid", sid.clone()));
    fields.push(("AccountSid", state.settings.account_sid.clone()));
    fields.push(("From", from.clone()));
    fields.extend(id_fields(
        inbound.external_user_id.as_ref(),
        inbound.parent_external_user_id.as_ref(),
    ));
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
        fields.push(("OriginalRepliedMessageSender", truth.to.clone()));
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
