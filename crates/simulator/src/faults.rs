//! Faults, injected by probability or by script.

use serde::{Deserialize, Deserializer, Serialize};

/// Probabilities from 0 to 1, and times in milliseconds. Everything is off by default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// Shortest and longest time that a create takes, in milliseconds of real time.
    pub latency_ms: (f64, f64),
    /// Faults of creates, each with its share.
    pub create: Vec<Share>,
    /// Callbacks that are never sent.
    pub callback_lost: f64,
    /// Callbacks that are sent late.
    pub callback_late: f64,
    /// How late, in milliseconds (scaled).
    pub callback_late_ms: f64,
    /// Callbacks that are sent twice.
    pub callback_doubled: f64,
    /// Messages whose callbacks are sent out of order: the first after the second, unless the
    /// second status itself takes longer than two seconds.
    pub callback_reordered: f64,
    /// Messages whose first callback is sent before the create is answered.
    pub callback_before_answer: f64,
    /// Callbacks that are accompanied by a forged copy with a wrong signature.
    pub callback_forged: f64,
    /// How long a message takes to appear in the list, in milliseconds (scaled).
    pub list_lag_ms: f64,
    /// Which texts Twilio shows: in answers to creates, in fetches and in lists.
    pub bodies: Bodies,
    /// Inbound messages that the webhook is never told of; only the list has them.
    pub inbound_lost: f64,
    /// Inbound messages that the webhook is told of late.
    pub inbound_late: f64,
    /// How late, in milliseconds (scaled).
    pub inbound_late_ms: f64,
    /// Inbound messages that the webhook is told of twice.
    pub inbound_doubled: f64,
}

/// Which texts Twilio shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bodies {
    /// All of them.
    #[default]
    All,
    /// None: every `body` is null.
    Null,
    /// Those of templates are null.
    NullForTemplates,
}

/// A fault and its share of the creates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// Probability from 0 to 1.
    pub share: f64,
    /// What happens.
    pub fault: CreateFault,
}

/// What can go wrong with a create.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum CreateFault {
    /// 429 (20429); nothing is accepted.
    TooMany {
        /// The `Retry-After` header as written.
        #[serde(default)]
        retry_after: Option<String>,
    },
    /// A 5xx (or another status); nothing is accepted.
    ErrorBefore {
        /// The status.
        status: u16,
        /// Whether the body is HTML instead of Twilio's JSON.
        #[serde(default)]
        html: bool,
    },
    /// A 5xx although the message was accepted.
    ErrorAfter {
        /// The status.
        status: u16,
    },
    /// The connection is reset; nothing is accepted.
    #[serde(deserialize_with = "no_fields")]
    ResetBefore,
    /// The message is accepted and the connection is reset, either before the first byte of the
    /// response or after this many bytes of its body.
    ResetAfter {
        /// How many bytes of the body are sent; `None` sends nothing at all.
        #[serde(default)]
        after_bytes: Option<usize>,
    },
    /// The message is accepted and the request never answered.
    #[serde(deserialize_with = "no_fields")]
    Hang,
    /// The request is never answered; nothing is accepted.
    #[serde(deserialize_with = "no_fields")]
    HangBefore,
    /// The request is answered as usual, but late.
    Slow {
        /// How much later, in milliseconds of real time.
        ms: f64,
        /// Whether the message is accepted before the wait, and not after it. A client that gives
        /// up in between has sent it all the same.
        #[serde(default)]
        accepted_first: bool,
    },
    /// The message is accepted and answered with 201 and this body.
    Garbage {
        /// The body.
        body: String,
    },
    /// A redirect; nothing is accepted.
    #[serde(deserialize_with = "no_fields")]
    Redirect,
    /// A Twilio error; nothing is accepted.
    Refuse {
        /// HTTP status.
        status: u16,
        /// Twilio's code.
        code: u32,
    },
    /// No fault: for scripts that let a request through before others.
    #[serde(deserialize_with = "no_fields")]
    None,
}

/// A fault for the next creates.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Script {
    /// Only creates to this address.
    #[serde(default)]
    pub(crate) to: Option<String>,
    /// How many creates.
    #[serde(default = "once")]
    pub(crate) times: u32,
    /// What happens to them.
    pub(crate) fault: CreateFault,
}

fn once() -> u32 {
    1
}

/// Refuses fields of a fault that has none; serde itself ignores them beside a tag.
fn no_fields<'de, D: Deserializer<'de>>(fault: D) -> Result<(), D::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct NoFields {}
    NoFields::deserialize(fault).map(|NoFields {}| ())
}
