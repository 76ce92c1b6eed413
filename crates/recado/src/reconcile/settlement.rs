//! What a poll found, as the store takes it, and when to poll again.

use std::time::{Duration, Instant};

use delivery::absence::Doubt;
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

    /// It was looked for as long as evidence usually takes; `doubt` says why absence is not proven.
    pub(super) fn horizon_passed(
        &self,
        watch: &DueWatch,
        doubt: Option<Doubt>,
        next: Option<NextWatch>,
    ) -> Settlement {
        self.settlement(watch, Finding::HorizonPassed(doubt), next)
    }

    /// The provider showed the message of an unknown attempt. The commit that settles it sets the
    /// watch for its silence.
    pub(super) fn found_unknown(
        &self,
        watch: &DueWatch,
        message: &ProviderMessage,
        postponed: NextWatch,
    ) -> Settlement {
        let finding = Finding::Found {
            sid: message.sid,
            status: message.status,
            code: message.error_code,
        };
        self.unknown(watch, finding, None, postponed)
    }

    /// What was concluded about an unknown attempt, which may have to wait.
    pub(super) fn unknown(
        &self,
        watch: &DueWatch,
        finding: Finding,
        next: Option<NextWatch>,
        postponed: NextWatch,
    ) -> Settlement {
        Settlement {
            postponed: Some(postponed),
            ..self.settlement(watch, finding, next)
        }
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
            postponed: next,
            stamp: Stamp::of(&self.effects),
        }
    }

    /// Now.
    pub(super) fn now(&self) -> Timestamp {
        self.effects.clock.now()
    }

    /// Now, by the clock that nobody sets.
    pub(super) fn monotonic(&self) -> Instant {
        self.effects.clock.monotonic()
    }

    /// Returns after a wait of the real clock.
    pub(super) async fn sleep(&self, wait: Duration) {
        self.effects.clock.sleep(wait).await;
    }

    /// What divides every wait.
    pub(super) fn clock_scale(&self) -> u32 {
        self.clock_scale
    }

    /// The instant after a wait.
    pub(super) fn later(&self, wait: Duration) -> Timestamp {
        self.effects.clock.now().plus(wait / self.clock_scale)
    }

    /// How old an attempt is at an instant, as the waits count.
    pub(super) fn age(&self, watch: &DueWatch, at: Timestamp) -> Duration {
        at.since(watch.started_at).saturating_mul(self.clock_scale)
    }

    /// How long ago an instant is, as the waits count.
    pub(super) fn since(&self, at: Timestamp) -> Duration {
        self.now().since(at).saturating_mul(self.clock_scale)
    }
}
