//! What a person writes, and what is kept of it.

use std::time::Instant;

use serde::Deserialize;

use crate::truth::TruthInbound;

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
    /// The Messaging Service that our sender is in.
    #[serde(default)]
    pub messaging_service_sid: Option<String>,
    /// The person's user id (`BR.…`); by default that of the user whose number it is.
    #[serde(default)]
    pub external_user_id: Option<String>,
    /// The same within the parent business.
    #[serde(default)]
    pub parent_external_user_id: Option<String>,
    /// How long ago the person wrote it, in milliseconds of real time: its dates say so.
    #[serde(default)]
    pub written_ms_ago: f64,
    /// How long until the webhook is told of it, in milliseconds (scaled). The response does not
    /// wait for that.
    #[serde(default)]
    pub late_ms: Option<f64>,
    /// How long it takes to appear in the list, in milliseconds (scaled); that of the faults by
    /// default.
    #[serde(default)]
    pub list_lag_ms: Option<f64>,
}

/// An inbound message, with what the truth log leaves out.
pub(crate) struct InboundRecord {
    pub(crate) truth: TruthInbound,
    pub(crate) inbound: Inbound,
    pub(crate) key: u64,
    pub(crate) created: jiff::Timestamp,
    pub(crate) listed_from: Instant,
    pub(crate) redacted: bool,
    pub(crate) deleted: bool,
}
