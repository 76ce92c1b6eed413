//! Asks about messages that nobody reports about.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use delivery::limits::{SILENT_AGE_MAX, SILENT_POLLS, SILENT_POLLS_MIN};
use delivery::progress::WatchKind;
use delivery::state::state_of;

use super::settlement::Settlements;
use crate::provider::{Provider, ProviderError};
use crate::store::{DueWatch, NextWatch, Settlement};

/// How long until a look that failed is repeated.
const RETRY_WAIT: Duration = Duration::from_secs(60);
/// How long nothing is asked after a look that failed for a reason that concerns all of them; doubled
/// up to the longest.
const OUTAGE_WAIT: Duration = Duration::from_secs(15);
const OUTAGE_WAIT_MAX: Duration = Duration::from_secs(300);
/// Looks in a row of which each may have failed for a reason of its own, until it is one of all.
const FAILURES_MAX: u32 = 3;

/// Whether silent messages can be asked about now, as the last looks have shown. In an outage one look
/// at a time is made, so that thousands of them cause neither requests nor lines nor commits.
#[derive(Debug)]
pub(super) struct OutageRest {
    clock_scale: u32,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Looks that failed since the last good one.
    failures: u32,
    /// How long to rest, and until when; `None` while there is no outage.
    rest: Option<(Duration, Instant)>,
}

impl OutageRest {
    /// Waits are divided by `clock_scale`.
    pub(super) fn new(clock_scale: u32) -> Self {
        Self {
            clock_scale: clock_scale.max(1),
            state: Mutex::default(),
        }
    }

    /// How many looks may be open, of `most`.
    pub(super) fn places(&self, now: Instant, most: usize) -> usize {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match state.rest {
            None => most,
            Some((_, until)) if now < until => 0,
            Some(_) => 1,
        }
    }

    /// How long no look may be made; `None` when one may.
    pub(super) fn rest(&self, now: Instant) -> Option<Duration> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, until) = state.rest?;
        (now < until).then(|| until.duration_since(now))
    }

    /// The provider has answered.
    fn answered(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.rest.is_some() {
            tracing::info!("silent messages can be asked about again");
        }
        *state = State::default();
    }

    /// A look failed. An outage is said once, when it begins.
    fn failed(&self, now: Instant, error: &ProviderError) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.failures = state.failures.saturating_add(1);
        let may_be_its_own = matches!(
            error,
            ProviderError::Garbage | ProviderError::Refused { .. } | ProviderError::NotFound
        );
        if may_be_its_own && state.failures < FAILURES_MAX && state.rest.is_none() {
            tracing::debug!(%error, "a silent message cannot be asked about now");
            return;
        }
        let wait = match state.rest {
            // It was open when the rest began.
            Some((_, until)) if now < until => return,
            Some((wait, _)) => (wait * 2).min(OUTAGE_WAIT_MAX),
            None => {
                tracing::warn!(%error, "silent messages cannot be asked about now");
                OUTAGE_WAIT
            }
        };
        let until = now.checked_add(wait / self.clock_scale).unwrap_or(now);
        state.rest = Some((wait, until));
    }
}

/// Fetches one message.
pub(super) async fn ask(
    provider: &dyn Provider,
    settlements: &Settlements,
    outage: &OutageRest,
    watch: &DueWatch,
) -> Settlement {
    let Some(sid) = watch.sid else {
        return settlements.nothing(watch, None);
    };
    let answer = provider.fetch(sid).await;
    match &answer {
        Ok(_) | Err(ProviderError::NotFound) => outage.answered(),
        Err(error) => outage.failed(settlements.monotonic(), error),
    }
    match answer {
        Ok(message) => {
            let rests = state_of(message.status).is_some_and(|state| state.is_resting());
            let next = match watch.kind {
                // Whatever settled an unknown attempt has set the watch for its silence.
                WatchKind::Unknown => None,
                WatchKind::Silent if rests => None,
                WatchKind::Silent => next_poll(settlements, watch),
            };
            settlements.found(watch, &message, next)
        }
        Err(ProviderError::NotFound) => settlements.nothing(watch, next_poll(settlements, watch)),
        Err(_) => {
            let at = settlements.later(RETRY_WAIT);
            // A look that failed is no look, unless it comes so late that there must be an end.
            let polls = match settlements.age(watch, at) <= SILENT_AGE_MAX {
                true => watch.polls,
                false => watch.polls.saturating_add(1),
            };
            let next = NextWatch {
                at,
                kind: watch.kind,
                polls,
            };
            settlements.nothing(watch, unless_left_alone(settlements, watch, next))
        }
    }
}

fn next_poll(settlements: &Settlements, watch: &DueWatch) -> Option<NextWatch> {
    let polls = watch.polls.saturating_add(1);
    let place = usize::try_from(polls)
        .unwrap_or(usize::MAX)
        .min(SILENT_POLLS.len() - 1);
    let wait = SILENT_POLLS.get(place).copied()?;
    let next = NextWatch {
        at: settlements.later(wait),
        kind: WatchKind::Silent,
        polls,
    };
    unless_left_alone(settlements, watch, next)
}

/// The watch goes on until the message is old and was asked about often. Age alone is not enough: one
/// look by a clock that is days ahead would end all of them.
fn unless_left_alone(
    settlements: &Settlements,
    watch: &DueWatch,
    next: NextWatch,
) -> Option<NextWatch> {
    let is_young = settlements.age(watch, next.at) <= SILENT_AGE_MAX;
    (is_young || next.polls < SILENT_POLLS_MIN).then_some(next)
}

#[cfg(test)]
mod tests {
    use delivery::message::Policy;
    use delivery::outcome::{Outcome, ProviderStatus};
    use delivery::row::{AttemptRow, PersonRow};
    use delivery::sid::Sid;
    use delivery::state::State;
    use delivery::time::{ClockDifference, Timestamp};

    use super::*;
    use crate::effects::{BoxFuture, Effects};
    use crate::provider::{
        CreateRequest, InboundListQuery, InboundPage, ListQuery, ProviderMedium, ProviderMessage,
    };

    /// A provider that has every message, in one status.
    struct Has(Result<ProviderStatus, ProviderError>);

    impl Provider for Has {
        fn create<'a>(&'a self, _: &'a CreateRequest) -> BoxFuture<'a, Outcome> {
            unreachable!("nothing is sent")
        }

        fn fetch(&self, sid: Sid) -> BoxFuture<'_, Result<ProviderMessage, ProviderError>> {
            let answer = self.0.clone();
            Box::pin(async move {
                answer.map(|status| ProviderMessage {
                    sid,
                    to: None,
                    from: None,
                    body: None,
                    media: None,
                    status,
                    outbound: true,
                    created_at: None,
                    error_code: None,
                })
            })
        }

        fn list<'a>(
            &'a self,
            _: &'a ListQuery,
        ) -> BoxFuture<'a, Result<Vec<ProviderMessage>, ProviderError>> {
            unreachable!("nothing is listed")
        }

        fn youngest(&self) -> BoxFuture<'_, Result<Option<Timestamp>, ProviderError>> {
            unreachable!("nothing is listed")
        }

        fn clock_difference(&self) -> ClockDifference {
            ClockDifference::NONE
        }

        fn list_inbound<'a>(
            &'a self,
            _: &'a InboundListQuery,
        ) -> BoxFuture<'a, Result<InboundPage, ProviderError>> {
            unreachable!("nothing is listed")
        }

        fn media(&self, _: Sid) -> BoxFuture<'_, Result<Vec<ProviderMedium>, ProviderError>> {
            unreachable!("nothing is listed")
        }
    }

    #[tokio::test]
    async fn only_a_watch_for_silence_goes_on_while_the_message_is_under_way() {
        let settlements = Settlements::new(Effects::real(), 1);
        for (kind, status, goes_on) in [
            (WatchKind::Silent, ProviderStatus::Sent, true),
            (WatchKind::Silent, ProviderStatus::Delivered, false),
            // Somebody has canceled it at the provider.
            (WatchKind::Silent, ProviderStatus::Canceled, false),
            // Settled by a callback before its poll: that commit set the watch for silence.
            (WatchKind::Unknown, ProviderStatus::Sent, false),
        ] {
            let now = Effects::real().clock.now();
            let watch = due(kind, now);
            let outage = OutageRest::new(1);
            let settled = ask(&Has(Ok(status)), &settlements, &outage, &watch).await;
            assert_eq!(settled.next.is_some(), goes_on, "{kind:?} {status:?}");
        }
    }

    fn due(kind: WatchKind, now: Timestamp) -> DueWatch {
        DueWatch {
            at: now,
            attempt: AttemptRow(1),
            kind,
            polls: 0,
            sid: Sid::parse_message(&format!("SM{:032x}", 1)).ok(),
            state: State::Queued,
            started_at: now,
            ended_at: now,
            policy: Policy::Once,
            person: PersonRow(1),
            is_unknown: false,
        }
    }

    #[tokio::test]
    async fn a_look_that_failed_is_no_look() {
        let settlements = Settlements::new(Effects::real(), 1);
        let now = Effects::real().clock.now();
        for (answer, polls, soon) in [
            (Err(ProviderError::Unreachable), 2, true),
            (Err(ProviderError::RateLimited), 2, true),
            (Err(ProviderError::NotFound), 3, false),
            (Ok(ProviderStatus::Sent), 3, false),
        ] {
            let watch = DueWatch {
                polls: 2,
                ..due(WatchKind::Silent, now)
            };
            let settled = ask(&Has(answer), &settlements, &OutageRest::new(1), &watch).await;
            let next = settled.next.unwrap();
            assert_eq!(next.polls, polls);
            assert_eq!(next.at.since(now) < SILENT_POLLS[0], soon);
        }
    }

    /// A clock may be days ahead for a minute, and a server may be off for longer than that.
    #[tokio::test]
    async fn an_old_message_is_left_alone_only_after_as_many_looks_as_a_week_has() {
        let settlements = Settlements::new(Effects::real(), 1);
        let now = Effects::real().clock.now();
        let month = Duration::from_secs(30 * 24 * 3_600);
        for (answer, polls, then) in [
            (Ok(ProviderStatus::Queued), 1, Some(2)),
            (Err(ProviderError::Unreachable), 1, Some(2)),
            (Ok(ProviderStatus::Queued), SILENT_POLLS_MIN - 1, None),
            (Err(ProviderError::Unreachable), SILENT_POLLS_MIN - 1, None),
        ] {
            let watch = DueWatch {
                polls,
                started_at: now.minus(month),
                ended_at: now.minus(month),
                ..due(WatchKind::Silent, now)
            };
            let settled = ask(&Has(answer), &settlements, &OutageRest::new(1), &watch).await;
            assert_eq!(settled.next.map(|next| next.polls), then);
        }
    }

    #[tokio::test]
    async fn in_an_outage_one_look_at_a_time_is_made_ever_less_often() {
        let settlements = Settlements::new(Effects::real(), 1);
        let outage = OutageRest::new(1);
        let now = settlements.now();
        let away = Has(Err(ProviderError::Unreachable));
        let watch = due(WatchKind::Silent, now);
        // All that were open fail, and are one failure.
        for _ in 0..6 {
            ask(&away, &settlements, &outage, &watch).await;
        }
        let begun = settlements.monotonic();
        let later = |seconds| begun + Duration::from_secs(seconds);
        assert_eq!(outage.places(begun, 6), 0);
        let rest = outage.rest(begun).unwrap();
        assert!(rest <= OUTAGE_WAIT && outage.rest(begun + rest).is_none());
        assert_eq!(outage.places(later(16), 6), 1);
        let mut at = 16;
        let mut looks = 0;
        while at < 24 * 3_600 {
            if outage.places(later(at), 6) == 1 {
                outage.failed(later(at), &ProviderError::RateLimited);
                looks += 1;
            }
            at += 1;
        }
        assert!((280..300).contains(&looks), "{looks} looks in a day");
        ask(
            &Has(Ok(ProviderStatus::Sent)),
            &settlements,
            &outage,
            &watch,
        )
        .await;
        assert_eq!(outage.places(later(at), 6), 6);
    }

    #[test]
    fn one_message_that_cannot_be_read_stops_no_other() {
        let outage = OutageRest::new(1);
        let now = Instant::now();
        for _ in 0..10 {
            outage.failed(now, &ProviderError::Garbage);
            outage.failed(now, &ProviderError::Garbage);
            assert_eq!(outage.places(now, 6), 6);
            outage.answered();
        }
        // A page of a firewall answers for all.
        for _ in 0..FAILURES_MAX {
            outage.failed(now, &ProviderError::Garbage);
        }
        assert_eq!(outage.places(now, 6), 0);
    }
}
