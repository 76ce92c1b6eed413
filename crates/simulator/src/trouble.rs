//! Which outages and rules hold now.

use std::time::Instant;

use crate::create_params::CreateParams;
use crate::during::During;
use crate::faults::CreateFault;
use crate::outages::{Affected, Outage};
use crate::rules::{Rule, Ruling, Watched};
use crate::state::{Inner, State};

impl State {
    /// Replaces the outages.
    pub(crate) fn set_outages(&self, outages: Vec<Outage>) {
        let outages = outages.into_iter().map(|outage| {
            let (from, to) = (outage.from_ms, outage.to_ms);
            During::new(outage, from, to)
        });
        self.inner().outages = outages.collect();
        self.connections_changed.notify_one();
    }

    /// The fault that a request meets because of an outage. The addresses are those that may be
    /// its sender.
    pub(crate) fn outage(&self, affected: Affected, addresses: &[&str]) -> Option<CreateFault> {
        let now = Instant::now();
        let inner = self.inner();
        let met = inner
            .outages
            .iter()
            .find(|during| during.holds(now) && during.what.meets(affected, addresses))?;
        met.what.fault.clone()
    }

    /// Whether nobody can connect now, and when that may change.
    pub(crate) fn connections(&self) -> (bool, Option<Instant>) {
        let now = Instant::now();
        let inner = self.inner();
        let changes = inner.outages.iter().filter_map(|o| o.next_change(now));
        (inner.connections_refused(now), changes.min())
    }
}

impl Inner {
    fn connections_refused(&self, now: Instant) -> bool {
        self.outages
            .iter()
            .any(|during| during.holds(now) && during.what.meets(Affected::Connections, &[]))
    }
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
            let template = params.content_sid.as_deref();
            if !rule.names(sender, &params.to, template) {
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
