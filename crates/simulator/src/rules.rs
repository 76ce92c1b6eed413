//! Rules: what happens to all messages of a sender, by a template or to an address, for a time.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::create_params::CreateParams;
use crate::outages::During;
use crate::state::{Inner, same_address};

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

    fn names(&self, params: &CreateParams, sender: &str) -> bool {
        let is = |wanted: &Option<String>, address: &str| {
            wanted
                .as_deref()
                .is_none_or(|wanted| same_address(wanted, address))
        };
        is(&self.sender, sender)
            && is(&self.to, &params.to)
            && self
                .template
                .as_ref()
                .is_none_or(|sid| params.content_sid.as_ref() == Some(sid))
    }
}

/// A rule in force, and how many messages it let through.
#[derive(Clone, Debug)]
pub(crate) struct Watched {
    rule: Rule,
    passed: u64,
}

/// What the rules say about one message.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ruling {
    pub(crate) refused: Option<u32>,
    pub(crate) fails: Option<u32>,
    pub(crate) undelivered: Option<u32>,
    pub(crate) list_lag_ms: Option<f64>,
}

impl Inner {
    /// Replaces the rules.
    pub(crate) fn set_rules(&mut self, rules: Vec<Rule>) {
        let rules = rules.into_iter().map(|rule| {
            let (from, to) = (rule.from_ms, rule.to_ms);
            During::new(Watched { rule, passed: 0 }, from, to)
        });
        self.rules = rules.collect();
    }

    /// The rules, also those whose time is over or has not come.
    pub(crate) fn current_rules(&self) -> Vec<Rule> {
        self.rules.iter().map(|r| r.what.rule.clone()).collect()
    }

    /// What the rules say about a message, which counts as one of those that they name.
    pub(crate) fn ruling(&mut self, params: &CreateParams, sender: &str) -> Ruling {
        let now = Instant::now();
        let mut ruling = Ruling::default();
        for during in self.rules.iter_mut().filter(|during| during.holds(now)) {
            let Watched { rule, passed } = &mut during.what;
            if !rule.names(params, sender) {
                continue;
            }
            if *passed < rule.after {
                *passed += 1;
                continue;
            }
            ruling.refused = ruling.refused.or(rule.refused);
            ruling.fails = ruling.fails.or(rule.fails);
            ruling.undelivered = ruling.undelivered.or(rule.undelivered);
            ruling.list_lag_ms = ruling.list_lag_ms.or(rule.list_lag_ms);
        }
        ruling
    }
}
