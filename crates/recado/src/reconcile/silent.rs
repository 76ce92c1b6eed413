//! Asks about messages that nobody reports about.

use std::time::Duration;

use delivery::limits::{SILENT_AGE_MAX, SILENT_POLLS};
use delivery::progress::WatchKind;
use delivery::state::state_of;

use super::settlement::Settlements;
use crate::provider::{Provider, ProviderError};
use crate::store::{DueWatch, NextWatch, Settlement};

/// How long until a look that failed is repeated.
const RETRY_WAIT: Duration = Duration::from_secs(60);

/// Fetches one message.
pub(super) async fn ask(
    provider: &dyn Provider,
    settlements: &Settlements,
    watch: &DueWatch,
) -> Settlement {
    let Some(sid) = watch.sid else {
        return settlements.nothing(watch, None);
    };
    match provider.fetch(sid).await {
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
        Err(error) => {
            tracing::warn!(%error, "a silent message cannot be asked about now");
            // A look that failed is no look.
            let at = settlements.later(RETRY_WAIT);
            let next = NextWatch {
                at,
                kind: watch.kind,
                polls: watch.polls,
            };
            let goes_on = settlements.age(watch, at) <= SILENT_AGE_MAX;
            settlements.nothing(watch, goes_on.then_some(next))
        }
    }
}

fn next_poll(settlements: &Settlements, watch: &DueWatch) -> Option<NextWatch> {
    let polls = watch.polls + 1;
    let place = usize::try_from(polls)
        .unwrap_or(usize::MAX)
        .min(SILENT_POLLS.len() - 1);
    let wait = SILENT_POLLS.get(place).copied()?;
    let at = settlements.later(wait);
    (settlements.age(watch, at) <= SILENT_AGE_MAX).then_some(NextWatch {
        at,
        kind: WatchKind::Silent,
        polls,
    })
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
            let settled = ask(&Has(Ok(status)), &settlements, &watch).await;
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
            let settled = ask(&Has(answer), &settlements, &watch).await;
            let next = settled.next.unwrap();
            assert_eq!(next.polls, polls);
            assert_eq!(next.at.since(now) < SILENT_POLLS[0], soon);
        }
    }
}
