//! What goes wrong, by probability or by script.

use serde::{Deserialize, Deserializer, Serialize};

/// Probabilities from 0 to 1, and times in milliseconds. Everything is off by default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// How long a create takes, from and to, in milliseconds of real time.
    pub latency_ms: (f64, f64),
    /// What creates meet, each with its share.
    pub create: Vec<Share>,
    /// Callbacks that never come.
    pub callback_lost: f64,
    /// Callbacks that come late.
    pub callback_late: f64,
    /// How late, in milliseconds (scaled).
    pub callback_late_ms: f64,
    /// Callbacks that come twice.
    pub callback_doubled: f64,
    /// Messages whose callbacks come in another order: the first one after the second, unless the
    /// second status itself takes longer than two seconds.
    pub callback_reordered: f64,
    /// Callbacks that come before the create was answered.
    pub callback_before_answer: f64,
    /// Forged copies, with a wrong signature, beside the real callback.
    pub callback_forged: f64,
    /// How long until a message shows in the list, in milliseconds (scaled).
    pub list_lag_ms: f64,
}

/// One fault with its share of the creates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// Probability from 0 to 1.
    pub share: f64,
    /// What happens.
    pub fault: CreateFault,
}

/// What a create can meet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum CreateFault {
    /// 429 (20429); not processed.
    TooMany {
        /// The `Retry-After` header as written.
        #[serde(default)]
        retry_after: Option<String>,
    },
    /// A 5xx (or another status) with nothing accepted.
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
    /// The connection is reset with nothing accepted.
    #[serde(deserialize_with = "no_fields")]
    ResetBefore,
    /// The message is accepted and the connection reset, after so many bytes of the answer's body
    /// (none: before the first byte of the answer).
    ResetAfter {
        /// Bytes of the body that still go out.
        #[serde(default)]
        after_bytes: Option<usize>,
    },
    /// Accepted, and never answered.
    #[serde(deserialize_with = "no_fields")]
    Hang,
    /// Accepted, answered 201 with this body.
    Garbage {
        /// The body.
        body: String,
    },
    /// A redirect with nothing accepted.
    #[serde(deserialize_with = "no_fields")]
    Redirect,
    /// A Twilio error with nothing accepted.
    Refuse {
        /// HTTP status.
        status: u16,
        /// Twilio's code.
        code: u32,
    },
    /// Nothing at all: for scripts that let a request through before others.
    #[serde(deserialize_with = "no_fields")]
    None,
}

/// What the next creates shall meet.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Script {
    /// Only creates to this address.
    #[serde(default)]
    pub(crate) to: Option<String>,
    /// How many creates.
    #[serde(default = "once")]
    pub(crate) times: u32,
    /// What they meet.
    pub(crate) fault: CreateFault,
}

fn once() -> u32 {
    1
}

/// Refuses fields where a fault has none, which serde would overlook beside a tag.
fn no_fields<'de, D: Deserializer<'de>>(fault: D) -> Result<(), D::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct NoFields {}
    NoFields::deserialize(fault).map(|NoFields {}| ())
}
