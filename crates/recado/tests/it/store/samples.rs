//! Made-up numbers, messages and outcomes.

use delivery::address::{Address, Context};
use delivery::message::{
    Content, DedupeChoice, Kind, Message, Policy, Priority, SenderName, WindowChoice,
};
use delivery::outcome::{NotSentCause, Outcome, ProviderStatus};
use delivery::sid::Sid;

use super::fixture::FIRST;

/// The number of the `n`th made-up person: a Brazilian mobile that also has a form without the 9.
pub(crate) fn number(n: u32) -> String {
    format!("+55859888{n:05}")
}

/// The same person's number as old accounts have it.
pub(crate) fn old_number(n: u32) -> String {
    format!("+5585888{n:05}")
}

pub(crate) fn person(n: u32) -> Address {
    address(&number(n))
}

pub(crate) fn address(text: &str) -> Address {
    Address::parse(text, Context::Typed).unwrap().address
}

/// A template with one variable: needs no window, and no two of them are alike unless `body` is.
pub(crate) fn notice(to: u32, body: &str) -> Message {
    Message {
        to: person(to),
        sender: Some(SenderName::new(FIRST)),
        content: Content::Template {
            content_sid: template_sid(1),
            variables: vec![("1".into(), body.into())],
        },
        kind: Kind::Utility,
        priority: Priority::Normal,
        policy: Policy::AtMostOnce,
        window: WindowChoice::Enforce,
        send_at: None,
        expires_at: None,
        business_key: None,
        metadata: None,
        dedupe: DedupeChoice::Refuse,
    }
}

/// Free-form text: needs the window.
pub(crate) fn text(to: u32, body: &str) -> Message {
    Message {
        content: Content::Text {
            body: body.into(),
            persistent_action: None,
        },
        kind: Kind::Service,
        ..notice(to, body)
    }
}

pub(crate) fn template_sid(n: u64) -> Sid {
    Sid::parse(&format!("HX{n:032x}"), &["HX"]).unwrap()
}

pub(crate) fn accepted_by_provider(sid: Sid) -> Outcome {
    Outcome::Sent {
        sid,
        status: ProviderStatus::Queued,
    }
}

pub(crate) fn no_connection() -> Outcome {
    Outcome::NotSent {
        cause: NotSentCause::Connect,
        retry_after: None,
    }
}

pub(crate) fn refused(code: u32) -> Outcome {
    Outcome::Refused {
        http_status: 400,
        code: Some(code),
    }
}
