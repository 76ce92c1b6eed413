//! What an answer says about messages that people wrote. Nothing here does I/O.

use delivery::sid::Sid;
use delivery::time::Timestamp;
use hyper::header::DATE;
use serde::Deserialize;

use super::answer::{Loose, Object, bare, found, object, text, timestamp};
use super::connection::{Answer, Failure};
use super::retry_after::http_date;
use crate::provider::{
    InboundListed, InboundPage, InboundRecipient, ProviderError, ProviderMedium,
};

/// One page of what was written to `recipient`. What cannot be read is counted, because it may be an
/// opt-out; a page of which nothing can be read is none.
pub(super) fn page(
    result: Result<Answer, Failure>,
    recipient: &InboundRecipient,
) -> Result<InboundPage, ProviderError> {
    let answered_at = result.as_ref().ok().and_then(|answer| {
        let date = answer.headers.get(DATE)?;
        http_date(date.to_str().ok()?)
    });
    let wire: PageWire = object(&found(result)?).ok_or(ProviderError::Garbage)?;
    let mut page = InboundPage {
        messages: Vec::new(),
        unreadable: Vec::new(),
        newest: None,
        next: wire.next_page_uri.filter(|uri| !uri.is_empty()),
        answered_at,
    };
    let listed = wire.messages.len();
    for message in wire.messages {
        let Loose::Is(Object(message)) = message else {
            page.unreadable.push(None);
            continue;
        };
        let created_at = message.created_at();
        page.newest = page.newest.max(created_at);
        match message.read(recipient) {
            Some((message, true)) => page.messages.push(message),
            Some((_, false)) => {}
            None => page.unreadable.push(created_at),
        }
    }
    if listed > 0 && page.unreadable.len() == listed {
        return Err(ProviderError::Garbage);
    }
    Ok(page)
}

/// The media of a message whose media stand below `url`.
pub(super) fn media(
    result: Result<Answer, Failure>,
    url: &str,
) -> Result<Vec<ProviderMedium>, ProviderError> {
    let wire: MediaWire = object(&found(result)?).ok_or(ProviderError::Garbage)?;
    let read = |Object(medium): Object<MediumWire>| {
        let sid = text(medium.sid)?;
        Sid::parse(&sid, &["ME"]).ok()?;
        Some(ProviderMedium {
            url: format!("{url}/{sid}"),
            content_type: text(medium.content_type),
        })
    };
    let media: Option<Vec<_>> = wire.media_list.into_iter().map(read).collect();
    media.ok_or(ProviderError::Garbage)
}

/// The envelope of a list.
#[derive(Deserialize)]
struct PageWire {
    messages: Vec<Loose<Object<MessageWire>>>,
    next_page_uri: Option<String>,
}

/// A message in Twilio's JSON, as far as it matters in one that a person wrote. Each field may be
/// missing, null or of another type.
#[derive(Deserialize)]
struct MessageWire {
    sid: Option<Loose<String>>,
    messaging_service_sid: Option<Loose<String>>,
    from: Option<Loose<String>>,
    body: Option<Loose<String>>,
    direction: Option<Loose<String>>,
    num_media: Option<Loose<String>>,
    date_created: Option<Loose<String>>,
}

/// The media of a message in Twilio's JSON.
#[derive(Deserialize)]
struct MediaWire {
    media_list: Vec<Object<MediumWire>>,
}

/// A medium in Twilio's JSON.
#[derive(Deserialize)]
struct MediumWire {
    sid: Option<Loose<String>>,
    content_type: Option<Loose<String>>,
}

impl MessageWire {
    fn created_at(&self) -> Option<Timestamp> {
        match &self.date_created {
            Some(Loose::Is(date)) => timestamp(date),
            Some(Loose::Other(_)) | None => None,
        }
    }

    /// The message, and whether a person wrote it to `recipient`.
    fn read(self, recipient: &InboundRecipient) -> Option<(InboundListed, bool)> {
        let created_at = self.created_at();
        let is_inbound = text(self.direction).is_some_and(|word| word == "inbound");
        let is_ours = match recipient {
            // The list was asked for this number alone.
            InboundRecipient::Number(_) => true,
            InboundRecipient::Service(service) => text(self.messaging_service_sid)
                .and_then(|sid| Sid::parse(&sid, &["MG"]).ok())
                .is_some_and(|sid| sid == *service),
        };
        let message = InboundListed {
            sid: Sid::parse_message(&text(self.sid)?).ok()?,
            from: text(self.from).map(bare),
            body: text(self.body),
            media: text(self.num_media)
                .and_then(|digits| digits.parse().ok())
                .unwrap_or(0),
            created_at,
        };
        Some((message, is_inbound && is_ours))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use delivery::time::Timestamp;
    use hyper::HeaderMap;
    use hyper::header::HeaderValue;

    use super::*;

    const SERVICE: &str = "MG00000000000000000000000000000001";

    fn answer(body: &str, date: &'static str) -> Result<Answer, Failure> {
        let mut headers = HeaderMap::new();
        headers.insert(DATE, HeaderValue::from_static(date));
        Ok(Answer {
            status: 200,
            headers,
            body: Some(Bytes::from(body.to_owned())),
        })
    }

    fn message(n: u32, direction: &str, service: &str, second: u32) -> String {
        format!(
            r#"{{"sid":"SM{n:032x}","direction":"{direction}","messaging_service_sid":{service},
            "from":"whatsapp:+5585988887777","to":"whatsapp:+551140000000","body":"SAIR",
            "num_media":"2","status":"received",
            "date_created":"Thu, 20 Nov 2025 12:00:{second:02} +0000"}}"#
        )
    }

    #[test]
    fn only_what_people_wrote_to_the_recipient_is_returned() {
        let service = format!("\"{SERVICE}\"");
        let messages = [
            message(9, "outbound-api", &service, 50),
            message(8, "inbound", &service, 40),
            message(7, "inbound", "null", 30),
            message(6, "outbound-reply", "null", 20),
        ];
        let body = format!(
            r#"{{"messages":[{}],"next_page_uri":"/x?Page=1"}}"#,
            messages.join(",")
        );
        let noon = 1_763_640_000;
        for (recipient, expected) in [
            (InboundRecipient::Number("+551140000000".into()), vec![8, 7]),
            (
                InboundRecipient::Service(Sid::parse(SERVICE, &["MG"]).unwrap()),
                vec![8],
            ),
        ] {
            let read = page(answer(&body, "Thu, 20 Nov 2025 12:00:51 GMT"), &recipient);
            let read = read.ok().unwrap();
            let sids: Vec<Sid> = read.messages.iter().map(|message| message.sid).collect();
            let expected: Vec<Sid> = expected
                .iter()
                .map(|n| Sid::parse_message(&format!("SM{n:032x}")).unwrap())
                .collect();
            assert_eq!(sids, expected);
            let first = &read.messages[0];
            assert_eq!(first.from.as_deref(), Some("+5585988887777"));
            assert_eq!((first.body.as_deref(), first.media), (Some("SAIR"), 2));
            assert_eq!(first.created_at, Some(Timestamp::from_seconds(noon + 40)));
            // What is not returned counts for when the page begins.
            assert_eq!(read.newest, Some(Timestamp::from_seconds(noon + 50)));
            assert_eq!(read.answered_at, Some(Timestamp::from_seconds(noon + 51)));
            assert_eq!(read.next.as_deref(), Some("/x?Page=1"));
        }
    }

    #[test]
    fn a_page_of_which_nothing_can_be_read_is_no_page() {
        let recipient = InboundRecipient::Number("+551140000000".into());
        for body in [
            r#"{"messages":[{"direction":"inbound"}]}"#,
            r#"{"messages":[1]}"#,
            r#"{"messages":null}"#,
            "<html>",
        ] {
            let read = page(answer(body, "yesterday"), &recipient);
            assert_eq!(read.err(), Some(ProviderError::Garbage), "{body}");
        }
        let empty = page(answer(r#"{"messages":[]}"#, "yesterday"), &recipient);
        let empty = empty.ok().unwrap();
        assert_eq!((empty.newest, empty.answered_at), (None, None));
        assert!(empty.messages.is_empty() && empty.next.is_none());
    }

    #[test]
    fn one_unreadable_message_hides_none_of_the_others() {
        let recipient = InboundRecipient::Number("+551140000000".into());
        let damaged = message(9, "inbound", "null", 50).replace("SM000", "XX000");
        // Not clear which of two counts.
        let twice = message(8, "inbound", "null", 40).replace("{", r#"{"sid":"SM1","#);
        let good = message(7, "inbound", "null", 30);
        let body = format!(r#"{{"messages":[{damaged},17,{good},{twice}]}}"#);
        let read = page(answer(&body, "yesterday"), &recipient).ok().unwrap();
        let noon = 1_763_640_000;
        let at = |second: i64| Some(Timestamp::from_seconds(noon + second));
        assert_eq!(read.unreadable, [at(50), None, None]);
        let sids: Vec<Sid> = read.messages.iter().map(|message| message.sid).collect();
        assert_eq!(
            sids,
            [Sid::parse_message(&format!("SM{:032x}", 7)).unwrap()]
        );
        assert_eq!(read.newest, at(50));
    }

    #[test]
    fn media_are_named_as_a_callback_names_them() {
        let sid = "ME0000000000000000000000000000000a";
        let body = format!(
            r#"{{"media_list":[{{"sid":"{sid}","content_type":"image/jpeg","uri":"/x.json"}}]}}"#
        );
        let read = media(answer(&body, "-"), "https://api.example.com/Media").unwrap();
        let expected = ProviderMedium {
            url: format!("https://api.example.com/Media/{sid}"),
            content_type: Some("image/jpeg".into()),
        };
        assert_eq!(read, [expected]);
        let odd = r#"{"media_list":[{"sid":"../x"}]}"#;
        let read = media(answer(odd, "-"), "https://api.example.com/Media");
        assert_eq!(read, Err(ProviderError::Garbage));
    }
}
