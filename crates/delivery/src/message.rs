//! What a caller asks us to deliver, parsed once when it arrives.

mod draft;

pub use draft::{Draft, DraftError, Problem};

use crate::address::Address;
use crate::sid::Sid;
use crate::time::Timestamp;

/// A message that may be stored: every field was checked, and nothing inside checks it again.
#[derive(Clone, Debug)]
pub struct Message {
    /// Who receives it.
    pub to: Address,
    /// Which of our senders sends it; `None` leaves the choice to us.
    pub sender: Option<SenderName>,
    /// What it says.
    pub content: Content,
    /// What it is for; decides price and some refusals.
    pub kind: Kind,
    /// What may overtake what.
    pub priority: Priority,
    /// What may happen when we cannot know whether it was sent.
    pub policy: Policy,
    /// Whether the 24-hour window is checked or taken for granted.
    pub window: WindowChoice,
    /// Not before this instant.
    pub send_at: Option<Timestamp>,
    /// Never sent at or after this instant.
    pub expires_at: Option<Timestamp>,
    /// Names the thing that the message is about; a newer version supersedes an unsent older one.
    pub business_key: Option<BusinessKey>,
    /// The caller's own data, returned as given: compact JSON of an object.
    pub metadata: Option<String>,
    /// Whether the same content to the same person within the dedupe window is refused.
    pub dedupe: DedupeChoice,
}

/// The content of a message. Its `Debug` shows the kind alone, never the words.
#[derive(Clone, PartialEq, Eq)]
pub enum Content {
    /// Free-form text; only inside the 24-hour window. May carry a place (`PersistentAction`).
    Text {
        /// 1 to 1,600 characters.
        body: String,
        /// `geo:LAT,LON` or `geo:LAT,LON|Label`; `body` then holds the name of the place.
        persistent_action: Option<String>,
    },
    /// An approved template with its variables.
    Template {
        /// `HX` and 32 hexadecimal digits.
        content_sid: Sid,
        /// Names and values in the order of their names.
        variables: Vec<(String, String)>,
    },
    /// One medium that Twilio downloads; only inside the 24-hour window.
    Media {
        /// Public `http` or `https` URL.
        url: String,
        /// Shown under images, videos and documents.
        caption: Option<String>,
    },
}

impl Content {
    /// Whether WhatsApp takes it only inside the 24-hour window.
    pub fn needs_window(&self) -> bool {
        match self {
            Self::Text { .. } | Self::Media { .. } => true,
            Self::Template { .. } => false,
        }
    }
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Text { .. } => "Text(..)",
            Self::Template { .. } => "Template(..)",
            Self::Media { .. } => "Media(..)",
        })
    }
}

/// The name of one of our senders as configured: `+E164` of a WhatsApp sender, or the SID of a
/// Messaging Service (`MG…`). It is the business's own address, not a person's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SenderName(String);

impl SenderName {
    /// Wraps a name that configuration or the store has already read as one.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it names a Messaging Service rather than one number.
    pub fn is_messaging_service(&self) -> bool {
        self.0.starts_with("MG")
    }
}

crate::stored! {
    /// What a message is for, in WhatsApp's categories.
    Kind {
        /// About something the person asked for or takes part in.
        Utility = 0 "utility",
        /// A one-time code.
        Authentication = 1 "authentication",
        /// Promotion.
        Marketing = 2 "marketing",
        /// Free-form conversation inside the window.
        Service = 3 "service",
    }
}

crate::stored! {
    /// What may overtake what. An urgent message never waits behind a campaign.
    Priority {
        /// Before everything else.
        Urgent = 0 "urgent",
        /// The default.
        Normal = 1 "normal",
        /// Campaigns: whatever the others leave over.
        Bulk = 2 "bulk",
    }
}

crate::stored! {
    /// What may be done when nobody can say whether an attempt was sent.
    Policy {
        /// Never sent again by machine; rests as `unknown`.
        AtMostOnce = 0 "at_most_once",
        /// Sent once more, marked as a possible duplicate.
        AtLeastOnce = 1 "at_least_once",
        /// Held until the operator decides.
        Ask = 2 "ask",
        /// Sent again only when it is proven that the provider never created the message; else it
        /// rests as `unknown`. The default.
        Once = 3 "once",
    }
}

crate::stored! {
    /// How the 24-hour window is treated.
    WindowChoice {
        /// Free-form content is refused when the window is closed.
        Enforce = 0 "enforce",
        /// The caller knows better, for example from another system.
        AssumeOpen = 1 "assume_open",
    }
}

crate::stored! {
    /// Whether repeated content is refused.
    DedupeChoice {
        /// The same content to the same person within the dedupe window is refused.
        Refuse = 0 "refuse",
        /// It is accepted like any other.
        Allow = 1 "allow",
    }
}

crate::stored! {
    /// Whose subject a business key names.
    BusinessScope {
        /// The person's: the same key to somebody else is another subject.
        Person = 0 "person",
        /// The account's: one message for everybody.
        Account = 1 "account",
    }
}

/// What a message is about, and which version of the news it carries:
/// `interview:42:reminder:v3` is subject `interview:42:reminder`, version 3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BusinessKey {
    /// The part that stays the same between versions.
    pub subject: String,
    /// The number after a trailing `:v`; `None` when the key carries no version, in which case
    /// each later message replaces an unsent earlier one.
    pub version: Option<u64>,
    /// Whose subject it is.
    pub scope: BusinessScope,
}

impl BusinessKey {
    /// Splits a key into subject and version. The subject is the person's.
    pub fn parse(text: &str) -> Self {
        if let Some((subject, version)) = text.rsplit_once(":v")
            && !subject.is_empty()
            && let Ok(version) = version.parse::<u64>()
        {
            // What is larger than a signed number can be counts as the largest.
            let version = version.min(i64::MAX.unsigned_abs());
            return Self {
                subject: subject.to_owned(),
                version: Some(version),
                scope: BusinessScope::Person,
            };
        }
        Self {
            subject: text.to_owned(),
            version: None,
            scope: BusinessScope::Person,
        }
    }
}
