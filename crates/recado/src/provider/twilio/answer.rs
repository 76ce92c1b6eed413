//! What an answer means. Nothing here does I/O.

use bytes::Bytes;
use delivery::outcome::{NotSentCause, Outcome, ProviderStatus, UnknownCause};
use delivery::sid::Sid;
use delivery::time::Timestamp;
use jiff::fmt::rfc2822;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

use super::connection::{Answer, Failure};
use super::retry_after::retry_after;
use crate::provider::{ProviderError, ProviderMessage};

/// One page of a list.
pub(super) struct Page {
    pub(super) messages: Vec<ProviderMessage>,
    pub(super) next_page_uri: Option<String>,
}

/// The outcome of a create request of `account_sid`.
pub(super) fn outcome(result: Result<Answer, Failure>, account_sid: &str) -> Outcome {
    match result {
        Ok(answer) => classify(&answer, account_sid),
        Err(Failure::NotSent(cause)) => Outcome::NotSent {
            cause,
            retry_after: None,
        },
        Err(Failure::TimedOut) => Outcome::Unknown(UnknownCause::Timeout),
        Err(Failure::Lost) => Outcome::Unknown(UnknownCause::ConnectionLost),
        // There is no status.
        Err(Failure::NotHttp) => Outcome::Unknown(UnknownCause::Garbage(0)),
    }
}

/// What a complete answer to a create request means. Whatever is not certainly Twilio's answer
/// is unknown: a gateway in between may have sent it after Twilio took the message.
pub(super) fn classify(answer: &Answer, account_sid: &str) -> Outcome {
    let status = answer.status;
    let garbage = Outcome::Unknown(UnknownCause::Garbage(status));
    match status {
        200..=299 => created(answer.body.as_ref(), account_sid).unwrap_or(garbage),
        // Twilio says that it did not process the request (20429), and so does every gateway.
        429 => Outcome::NotSent {
            cause: NotSentCause::RateLimited,
            retry_after: retry_after(&answer.headers),
        },
        408 | 500..=599 => Outcome::Unknown(UnknownCause::ServerError(status)),
        400..=499 => match refusal(answer) {
            Some(code) => Outcome::Refused {
                http_status: status,
                code,
            },
            None => garbage,
        },
        _ => garbage,
    }
}

/// The message `sid` from the answer to a request about it.
pub(super) fn message(
    result: Result<Answer, Failure>,
    sid: Sid,
) -> Result<ProviderMessage, ProviderError> {
    let body = found(result)?;
    let wire: MessageWire = object(&body).ok_or(ProviderError::Garbage)?;
    let message = wire.read().ok_or(ProviderError::Garbage)?;
    if message.sid == sid {
        Ok(message)
    } else {
        Err(ProviderError::Garbage)
    }
}

/// One page from the answer to a list request. A page with one unreadable message is unreadable:
/// what is missing in a list counts as evidence.
pub(super) fn page(result: Result<Answer, Failure>) -> Result<Page, ProviderError> {
    let body = found(result)?;
    let wire: PageWire = object(&body).ok_or(ProviderError::Garbage)?;
    let messages: Option<Vec<_>> = wire
        .messages
        .into_iter()
        .map(|Object(message)| message.read())
        .collect();
    let next_page_uri = wire.next_page_uri.filter(|uri| !uri.is_empty());
    Ok(Page {
        messages: messages.ok_or(ProviderError::Garbage)?,
        next_page_uri,
    })
}

fn created(body: Option<&Bytes>, account_sid: &str) -> Option<Outcome> {
    let wire: MessageWire = object(body?)?;
    // A message of another account is not the one that we asked for.
    if text(wire.account_sid).is_some_and(|other| !other.eq_ignore_ascii_case(account_sid)) {
        return None;
    }
    let sid = Sid::parse_message(&text(wire.sid)?).ok()?;
    // The SID alone proves that the message exists; the status may come later.
    let status =
        text(wire.status).map_or(ProviderStatus::Other, |word| ProviderStatus::read(&word));
    Some(Outcome::Sent { sid, status })
}

/// The code in a Twilio error body; `None` when the body is not one.
fn refusal(answer: &Answer) -> Option<Option<u32>> {
    let wire: ErrorWire = object(answer.body.as_ref()?)?;
    let code = match wire.code {
        None => None,
        Some(Loose::Is(code)) => Some(code),
        Some(Loose::Other(_)) => return None,
    };
    let says_status =
        matches!(wire.status, Some(Loose::Is(status)) if status == u32::from(answer.status));
    let says_why = matches!(wire.message, Some(Loose::Is(_)));
    (says_status && says_why).then_some(code)
}

/// The body of a good answer to a request that reads.
pub(super) fn found(result: Result<Answer, Failure>) -> Result<Bytes, ProviderError> {
    let answer = result.map_err(|failure| match failure {
        Failure::NotHttp => ProviderError::Garbage,
        Failure::NotSent(_) | Failure::TimedOut | Failure::Lost => ProviderError::Unreachable,
    })?;
    let http_status = answer.status;
    match (http_status, refusal(&answer)) {
        (200..=299, _) => answer.body.ok_or(ProviderError::Garbage),
        // Without Twilio's error body it may come from a gateway in between.
        (401 | 403, Some(code)) => Err(ProviderError::Unauthorized { http_status, code }),
        (404, Some(_)) => Err(ProviderError::NotFound),
        (408 | 500..=599, _) => Err(ProviderError::Unreachable),
        (429, _) => Err(ProviderError::RateLimited),
        (400..=499, Some(code)) => Err(ProviderError::Refused { http_status, code }),
        _ => Err(ProviderError::Garbage),
    }
}

/// A message in Twilio's JSON. Each field may be missing, null or of another type.
#[derive(Deserialize)]
struct MessageWire {
    sid: Option<Loose<String>>,
    account_sid: Option<Loose<String>>,
    to: Option<Loose<String>>,
    from: Option<Loose<String>>,
    body: Option<Loose<String>>,
    status: Option<Loose<String>>,
    num_media: Option<Loose<String>>,
    direction: Option<Loose<String>>,
    date_created: Option<Loose<String>>,
    error_code: Option<Loose<u32>>,
}

/// The envelope of a list.
#[derive(Deserialize)]
struct PageWire {
    messages: Vec<Object<MessageWire>>,
    next_page_uri: Option<String>,
}

/// Twilio's error body.
#[derive(Deserialize)]
struct ErrorWire {
    status: Option<Loose<u32>>,
    message: Option<Loose<String>>,
    code: Option<Loose<u32>>,
}

/// A value of the wanted type, or anything else.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Loose<T> {
    Is(T),
    Other(IgnoredAny),
}

/// A JSON object: structs alone would also be read from arrays, by position.
pub(super) struct Object<T>(pub(super) T);

impl MessageWire {
    fn read(self) -> Option<ProviderMessage> {
        let status = text(self.status);
        Some(ProviderMessage {
            sid: Sid::parse_message(&text(self.sid)?).ok()?,
            to: text(self.to).map(bare),
            from: text(self.from).map(bare),
            body: text(self.body),
            media: text(self.num_media).and_then(|number| number.parse().ok()),
            status: status.map_or(ProviderStatus::Other, |word| ProviderStatus::read(&word)),
            outbound: text(self.direction).is_some_and(|word| word.starts_with("outbound")),
            created_at: text(self.date_created).and_then(|date| timestamp(&date)),
            error_code: match self.error_code {
                Some(Loose::Is(code)) => Some(code),
                Some(Loose::Other(_)) | None => None,
            },
        })
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<T>(std::marker::PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = T;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }

        deserializer
            .deserialize_map(Fields(std::marker::PhantomData))
            .map(Self)
    }
}

/// Reads a JSON object and nothing after it. A name that we read and that comes twice makes it
/// unreadable, because it is not clear which one counts.
pub(super) fn object<T: for<'de> Deserialize<'de>>(body: &Bytes) -> Option<T> {
    serde_json::from_slice(body).ok().map(|Object(value)| value)
}

pub(super) fn text(value: Option<Loose<String>>) -> Option<String> {
    match value {
        Some(Loose::Is(text)) => Some(text),
        Some(Loose::Other(_)) | None => None,
    }
}

/// An address without the name of its channel.
pub(super) fn bare(address: String) -> String {
    match address.strip_prefix("whatsapp:") {
        Some(bare) => bare.to_owned(),
        None => address,
    }
}

/// An RFC 2822 date such as `Thu, 24 Aug 2023 05:01:45 +0000`.
pub(super) fn timestamp(date: &str) -> Option<Timestamp> {
    // A wrong weekday does not make the rest wrong.
    const PARSER: rfc2822::DateTimeParser = rfc2822::DateTimeParser::new().relaxed_weekday(true);
    let instant = PARSER.parse_timestamp(date).ok()?;
    Some(Timestamp::from_micros(instant.as_microsecond()))
}

#[cfg(test)]
mod tests;
