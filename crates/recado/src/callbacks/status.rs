//! Status callbacks: what Twilio says about a message that we sent.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use delivery::address::{Address, Context};
use delivery::event::Source;
use delivery::outcome::ProviderStatus;
use delivery::sid::Sid;

use super::answer::not_stored;
use super::form::{Form, hex_byte};
use super::handles::Callbacks;
use crate::store::{AttemptId, Report, ReportResult, Stamp};

/// The query parameter of our status-callback URL that names the attempt.
pub const CORRELATION_PARAMETER: &str = "c";

/// One status callback. It borrows from the verified form, and has no `Debug`: addresses are
/// personal data. Every field may be missing, because Twilio's products send different sets.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct StatusCallback<'a> {
    /// Which message, by Twilio's id.
    pub message_sid: Option<Sid>,
    /// Which attempt, by the id that we put into the callback URL.
    pub correlation: Option<[u8; 16]>,
    /// Where Twilio says the message is.
    pub status: ProviderStatus,
    /// Twilio's word, when `status` is [`ProviderStatus::Other`]. Cut it before it goes into a
    /// log.
    pub unknown_word: Option<&'a str>,
    /// Twilio's error code, with `failed` and `undelivered`.
    pub error_code: Option<u32>,
    /// Recipient as sent, with the `whatsapp:` prefix.
    pub to: Option<&'a str>,
    /// Sender as sent, with the `whatsapp:` prefix.
    pub from: Option<&'a str>,
    /// The person's id at this business: `whatsapp:CC.id`.
    pub external_user_id: Option<&'a str>,
    /// Their id at all businesses of the same owner: `whatsapp:CC.ENT.id`.
    pub parent_user_id: Option<&'a str>,
}

impl<'a> StatusCallback<'a> {
    /// Reads a verified form and the query of its request; `None` when it carries no status.
    pub fn read(form: &'a Form, query: Option<&str>) -> Option<Self> {
        let word = form
            .get_filled("MessageStatus")
            .or_else(|| form.get_filled("SmsStatus"))?;
        let status = ProviderStatus::read(word);
        let sid = form
            .get_filled("MessageSid")
            .or_else(|| form.get_filled("SmsSid"));
        Some(Self {
            message_sid: sid.and_then(|sid| Sid::parse_message(sid).ok()),
            correlation: query.and_then(correlation),
            status,
            unknown_word: (status == ProviderStatus::Other).then_some(word),
            error_code: form
                .get("ErrorCode")
                .and_then(decimal)
                .filter(|code| *code != 0),
            to: form.get_filled("To"),
            from: form.get_filled("From"),
            external_user_id: form.get_filled("ExternalUserId"),
            parent_user_id: form.get_filled("ParentExternalUserId"),
        })
    }
}

/// Stores what a status callback reports, and then answers it.
pub(super) async fn receive(callbacks: &Callbacks, query: Option<&str>, form: &Form) -> Response {
    let Some(callback) = StatusCallback::read(form, query) else {
        return StatusCode::NO_CONTENT.into_response();
    };
    let attempt = callback.correlation.and_then(AttemptId::from_bytes);
    if attempt.is_none() && callback.message_sid.is_none() {
        tracing::warn!("a signed status callback names no message; it is ignored");
        return StatusCode::NO_CONTENT.into_response();
    }
    let word = callback.unknown_word.map(plain_word);
    if let Some(word) = &word {
        tracing::warn!(
            status = word,
            "Twilio reported a status that this version does not know"
        );
    }
    let report = Report {
        attempt,
        sid: callback.message_sid,
        status: callback.status,
        word,
        code: callback.error_code,
        names: names(&callback),
        source: Source::Callback,
        stamp: Stamp::of(&callbacks.effects),
    };
    match callbacks.reports.report(vec![report]).await {
        Ok(results) => {
            if results.contains(&ReportResult::Parked) {
                tracing::info!("a report about a message that nobody knows is kept for a day");
            }
            StatusCode::NO_CONTENT.into_response()
        }
        Err(error) => not_stored(&error),
    }
}

/// What the callback calls the person, when it carries an id of theirs; usually it carries none.
fn names(callback: &StatusCallback<'_>) -> Vec<Address> {
    let ids = [callback.external_user_id, callback.parent_user_id];
    if ids.iter().all(Option::is_none) {
        return Vec::new();
    }
    let mut names: Vec<Address> = Vec::new();
    for name in [callback.to].into_iter().chain(ids).flatten() {
        if let Ok(parsed) = Address::parse(name, Context::Inbound)
            && !names.contains(&parsed.address)
        {
            names.push(parsed.address);
        }
    }
    names
}

/// Whether a form is a status callback rather than an inbound message: it has `MessageStatus`, or
/// an `SmsStatus` that no inbound message has.
pub fn is_status_callback(form: &Form) -> bool {
    form.get("MessageStatus").is_some()
        || form
            .get("SmsStatus")
            .is_some_and(|word| !matches!(word, "received" | "receiving"))
}

/// The correlation id in a callback's query: the first `c`, 32 hexadecimal digits.
pub fn correlation(query: &str) -> Option<[u8; 16]> {
    let digits = query
        .split('&')
        .find_map(|pair| pair.strip_prefix(CORRELATION_PARAMETER)?.strip_prefix('='))?;
    if digits.len() != 32 {
        return None;
    }
    let mut id = [0u8; 16];
    for (byte, pair) in id.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = hex_byte(*high, *low)?;
    }
    Some(id)
}

/// A number in plain digits: `parse` alone would also take a sign.
fn decimal(text: &str) -> Option<u32> {
    text.bytes()
        .all(|digit| digit.is_ascii_digit())
        .then(|| text.parse().ok())?
}

/// A word of Twilio, cut to what may stand in a log: letters, digits and underscores.
fn plain_word(word: &str) -> String {
    word.chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '_')
        .take(32)
        .collect()
}

#[cfg(test)]
mod tests;
