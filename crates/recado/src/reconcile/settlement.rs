//! What a poll found, as the store takes it, and when to poll again.

use std::time::Duration;

use delivery::time::Timestamp;

use crate::effects::Effects;
use crate::provider::ProviderMessage;
use crate::store::{DueWatch, Finding, NextWatch, Settlement, Stamp};

/// Makes settlements.
pub(super) struct Settlements {
    effects: Effects,
    clock_scale: u32,
}

impl Settlements {
    /// Waits are divided by `clock_scale`.
    pub(super) fn new(effects: Effects, clock_scale: u32) -> Self {
        Self {
            effects,
            clock_scale: clock_scale.max(1),
        }
    }

    /// Nothing was found; `next` says when to poll again.
    pub(super) fn nothing(&self, watch: &DueWatch, next: Option<NextWatch>) -> Settlement {
        self.settlement(watch, Finding::Nothing, next)
    }

    /// It was looked for long enough, and is no longer looked for.
    pub(super) fn horizon_passed(&self, watch: &DueWatch) -> Settlement {
        self.settlement(watch, Finding::HorizonPassed, None)
    }

    /// The provider showed the message.
    pub(super) fn found(
        &self,
        watch: &DueWatch,
        message: &ProviderMessage,
        next: Option<NextWatch>,
    ) -> Settlement {
        let finding = Finding::Found {
            sid: message.sid,
            status: message.status,
            code: message.error_code,
        };
        self.settlement(watch, finding, next)
    }

    fn settlement(
        &self,
        watch: &DueWatch,
        finding: Finding,
        next: Option<NextWatch>,
    ) -> Settlement {
        Settlement {
            watch: (watch.at, watch.attempt),
            finding,
            next,
            stamp: Stamp::of(&self.effects),
        }
    }

    /// The instant after a wait.
    pub(super) fn later(&self, wait: Duration) -> Timestamp {
        self.effects.clock.now().plus(wait / self.clock_scale)
    }

    /// How old an attempt is at an instant, as the waits count.
    pub(super) fn age(&self, watch: &DueWatch, at: Timestamp) -> Duration {
        at.since(watch.started_at).saturating_mul(self.clock_scale)
    }
}
