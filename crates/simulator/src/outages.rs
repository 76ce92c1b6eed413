//! Outages: times in which requests meet a fault or connections are refused.

use serde::{Deserialize, Serialize};

use crate::address::same_address;
use crate::faults::CreateFault;

/// A time in which every request of a kind meets a fault, or in which nobody can connect. It comes
/// before everything else: a request that meets an outage uses up no script and draws no share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outage {
    /// Begins so many milliseconds of real time after it is set.
    #[serde(default)]
    pub from_ms: f64,
    /// Ends so many milliseconds of real time after it is set; without it, when outages are set
    /// the next time.
    #[serde(default)]
    pub to_ms: Option<f64>,
    /// Which requests meet it; creates alone by default.
    #[serde(default = "creates")]
    pub affects: Vec<Affected>,
    /// Only requests of this sender: creates from it, lists that name it, and fetches of its
    /// messages.
    #[serde(default)]
    pub sender: Option<String>,
    /// What happens to them; an outage of connections has none.
    #[serde(default)]
    pub fault: Option<CreateFault>,
}

/// What an outage affects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Affected {
    /// Creates.
    Create,
    /// Lists of messages.
    List,
    /// Fetches, cancellations, redactions and deletions of one message, and lists of its media.
    Fetch,
    /// New connections: they are refused. Requests over connections that stand are reset.
    Connections,
}

fn creates() -> Vec<Affected> {
    vec![Affected::Create]
}

impl Default for Outage {
    /// All creates, from now on, with no fault yet.
    fn default() -> Self {
        Self {
            from_ms: 0.0,
            to_ms: None,
            affects: creates(),
            sender: None,
            fault: None,
        }
    }
}

impl Outage {
    /// Why this outage cannot be.
    pub(crate) fn problem(&self) -> Option<&'static str> {
        let connections = self.affects.contains(&Affected::Connections);
        if self.affects.is_empty() {
            return Some("an outage affects at least one of create, list, fetch, connections");
        }
        if connections && (self.sender.is_some() || self.affects.len() > 1) {
            return Some("who cannot connect can do nothing: name connections alone, no sender");
        }
        if connections != self.fault.is_none() {
            return Some("an outage has a fault, except for one of connections, which has none");
        }
        None
    }

    /// Whether a request meets it. The addresses are those that may be its sender.
    pub(crate) fn meets(&self, affected: Affected, addresses: &[&str]) -> bool {
        self.affects.contains(&affected)
            && self
                .sender
                .as_deref()
                .is_none_or(|sender| addresses.iter().any(|one| same_address(one, sender)))
    }
}
