//! What a caller asks us to deliver, parsed once at the door.

mod draft;

pub use draft::{Draft, DraftError, Problem};

use crate::address::Address;
use crate::sid::Sid;
use crate::time::Timestamp;

/// A message that may be stored: every field was checked, and nothing inside checks it again.
#[derive(Clone, Debug)]
pub struct Message {
    /// Who shall receive it.
    pub to: Address,
    /// Which of our senders shall send it; `None` leaves the choice to us.
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

macro_rules! named {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vmeta])* $variant),+ }

        impl $name {
            /// Every value, in the order of their numbers in the store.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word used by the API and the command line.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// Reads the word; `None` when it is not one of them.
            pub fn from_name(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

named! {
    /// What a message is for, in WhatsApp's categories.
    Kind {
        /// About something the person asked for or takes part in.
        Utility = "utility",
        /// A one-time code.
        Authentication = "authentication",
        /// Promotion.
        Marketing = "marketing",
        /// Free-form conversation inside the window.
        Service = "service",
    }
}

named! {
    /// What may overtake what. An urgent message never waits behind a campaign.
    Priority {
        /// Before everything else.
        Urgent = "urgent",
        /// The default.
        Normal = "normal",
        /// Campaigns: whatever the others leave over.
        Bulk = "bulk",
    }
}

named! {
    /// What may be done when nobody can say whether an attempt was sent.
    Policy {
        /// Never sent again by machine; rests as `unknown`. The default.
        AtMostOnce = "at_most_once",
        /// Sent once more, marked as a possible duplicate.
        AtLeastOnce = "at_least_once",
        /// Held until the operator decides.
        Ask = "ask",
    }
}

named! {
    /// How the 24-hour window is treated.
    WindowChoice {
        /// Free-form content is refused when the window is closed.
        Enforce = "enforce",
        /// The caller knows better, for example from another system.
        AssumeOpen = "assume_open",
    }
}

named! {
    /// Whether repeated content is refused.
    DedupeChoice {
        /// The same content to the same person within the dedupe window is refused.
        Refuse = "refuse",
        /// It is accepted like any other.
        Allow = "allow",
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
}

impl BusinessKey {
    /// Splits a key into subject and version.
    pub fn parse(text: &str) -> Self {
        if let Some((subject, version)) = text.rsplit_once(":v")
            && !subject.is_empty()
            && let Ok(version) = version.parse()
        {
            return Self {
                subject: subject.to_owned(),
                version: Some(version),
            };
        }
        Self {
            subject: text.to_owned(),
            version: None,
        }
    }
}
