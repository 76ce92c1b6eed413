//! Rules: what happens to all messages of a sender, by a template or to an address, for a time.

use serde::{Deserialize, Serialize};

use crate::address::same_address;

/// What happens to the messages that it names; to all of them, if it names none. The first rule
/// that says something counts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rule {
    /// Begins so many milliseconds of real time after it is set.
    pub from_ms: f64,
    /// Ends so many milliseconds of real time after it is set; without it, when rules are set the
    /// next time.
    pub to_ms: Option<f64>,
    /// Only messages of this sender.
    pub sender: Option<String>,
    /// Only messages to this address.
    pub to: Option<String>,
    /// Only messages by this template (`HX…`).
    pub template: Option<String>,
    /// Lets so many of these messages through first.
    pub after: u64,
    /// Refuses them: the create is answered with 400 and this code.
    pub refused: Option<u32>,
    /// They are accepted and then `failed` with this code.
    pub fails: Option<u32>,
    /// They are accepted, `sent`, and then `undelivered` with this code.
    pub undelivered: Option<u32>,
    /// How long they take to appear in the list, in milliseconds (scaled).
    pub list_lag_ms: Option<f64>,
}

impl Rule {
    /// Why this rule cannot be.
    pub(crate) fn problem(&self) -> Option<&'static str> {
        let effects = [self.refused, self.fails, self.undelivered];
        if effects.iter().all(Option::is_none) && self.list_lag_ms.is_none() {
            return Some("a rule has one of refused, fails, undelivered, list_lag_ms");
        }
        None
    }

    /// Whether it is about the messages of this sender, to this address, by this template.
    pub(crate) fn names(&self, sender: &str, to: &str, template: Option<&str>) -> bool {
        let is = |wanted: &Option<String>, address: &str| {
            wanted
                .as_deref()
                .is_none_or(|wanted| same_address(wanted, address))
        };
        is(&self.sender, sender)
            && is(&self.to, to)
            && self
                .template
                .as_deref()
                .is_none_or(|sid| template == Some(sid))
    }
}

/// A rule in force, and how many messages it let through.
#[derive(Clone, Debug)]
pub(crate) struct Watched {
    pub(crate) rule: Rule,
    pub(crate) passed: u64,
}

/// What the rules say about one message.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ruling {
    pub(crate) refused: Option<u32>,
    pub(crate) fails: Option<u32>,
    pub(crate) undelivered: Option<u32>,
    pub(crate) list_lag_ms: Option<f64>,
}
