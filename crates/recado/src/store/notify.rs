//! Who is told of a commit: watch channels that wake whoever waits for a change.

use std::time::Duration;

use tokio::sync::watch;

use delivery::hold::HoldScope;
use delivery::row::{AttemptRow, PersonRow};

/// What the store tells the rest of the program after each commit.
#[derive(Clone)]
pub struct Notifier {
    /// The key of the last event on disk.
    pub last_event: watch::Sender<i64>,
    /// Changes whenever the queue gained a row that may be due.
    pub queue: watch::Sender<u64>,
    /// Changes whenever a watch was set.
    pub watches: watch::Sender<u64>,
    /// Changes whenever an attempt was closed.
    pub closed: watch::Sender<u64>,
    /// Changes whenever a person's words wait to be put into order.
    pub consent_checks: watch::Sender<u64>,
}

impl Default for Notifier {
    fn default() -> Self {
        Self {
            last_event: watch::Sender::new(0),
            queue: watch::Sender::new(0),
            watches: watch::Sender::new(0),
            closed: watch::Sender::new(0),
            consent_checks: watch::Sender::new(0),
        }
    }
}

/// What is to be told after the commit. A transaction may run twice or be rolled back, so nothing
/// is told before.
#[derive(Debug, Default)]
pub(crate) struct PendingNotifications {
    /// The key of the last event appended.
    pub(crate) last_event: i64,
    /// The queue gained a row.
    pub(crate) queue: bool,
    /// A watch was set.
    pub(crate) watches: bool,
    /// An attempt was closed.
    pub(crate) closed: bool,
    /// A person's words wait to be put into order.
    pub(crate) consent_checks: bool,
    /// What the operator must read.
    pub(crate) notices: Vec<Notice>,
}

/// A line of the log that belongs to a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// The provider gave the SID of another attempt to this one.
    SameSid {
        /// This one.
        attempt: AttemptRow,
    },
    /// Two people turned out to be one.
    Merged {
        /// Who they are now.
        person: PersonRow,
        /// Who the other one was.
        merged: PersonRow,
    },
    /// A template, a sender or the account is held.
    Held {
        /// What is held.
        scope: HoldScope,
        /// The provider's code.
        code: Option<u32>,
        /// For how long; `None` until it is lifted.
        until: Option<Duration>,
    },
    /// The message that the list seemed to show of this attempt was another's.
    Withdrawn {
        /// This one.
        attempt: AttemptRow,
    },
    /// The message of an attempt that was proven absent exists.
    AbsentExists {
        /// The attempt.
        attempt: AttemptRow,
    },
    /// A refusal paused senders.
    Paused {
        /// The provider's code, or `unlisted`.
        code: String,
        /// How many.
        senders: usize,
    },
}

impl Notifier {
    /// Tells what a commit has changed.
    pub(crate) fn notify(&self, pending: PendingNotifications) {
        let tell = |channel: &watch::Sender<u64>, changed: bool| {
            if changed {
                channel.send_modify(|n| *n = n.wrapping_add(1));
            }
        };
        if pending.last_event > 0 {
            self.last_event.send_replace(pending.last_event);
        }
        tell(&self.queue, pending.queue);
        tell(&self.watches, pending.watches);
        tell(&self.closed, pending.closed);
        tell(&self.consent_checks, pending.consent_checks);
        for notice in pending.notices {
            notice.log();
        }
    }
}

impl Notice {
    fn log(self) {
        match self {
            Self::SameSid { attempt } => {
                tracing::warn!(%attempt, "the provider gave two attempts the same id");
            }
            Self::Merged { person, merged } => {
                tracing::info!(%person, %merged, "two people turned out to be one");
            }
            Self::Held { scope, code, until } => {
                let (scope, code) = (scope.as_str(), code.unwrap_or_default());
                match until {
                    Some(wait) => tracing::warn!(
                        scope,
                        code,
                        seconds = wait.as_secs(),
                        "the provider's limit is reached; what it concerns is held for a while"
                    ),
                    None => tracing::error!(
                        scope,
                        code,
                        "the provider refuses what messages need; they are held until the hold is \
                         lifted"
                    ),
                }
            }
            Self::Withdrawn { attempt } => tracing::warn!(
                %attempt,
                "what was concluded from the provider's list was wrong, and is taken back"
            ),
            Self::AbsentExists { attempt } => tracing::warn!(
                %attempt,
                "the provider created a message that its list did not show in time; no absence is \
                 believed for a day"
            ),
            Self::Paused { code, senders } => tracing::error!(
                code,
                senders,
                "the provider refuses what a sender is configured with; it is paused until resumed"
            ),
        }
    }
}
