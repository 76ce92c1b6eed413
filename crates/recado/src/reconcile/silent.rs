//! Asks about messages that nobody reports about.

use delivery::limits::{SILENT_AGE_MAX, SILENT_POLLS};
use delivery::progress::WatchKind;
use delivery::state::state_of;

use super::settlement::Settlements;
use crate::provider::{Provider, ProviderError};
use crate::store::{DueWatch, NextWatch, Settlement};

/// Fetches one message.
pub(super) async fn ask(
    provider: &dyn Provider,
    settlements: &Settlements,
    watch: DueWatch,
) -> Settlement {
    let Some(sid) = watch.sid else {
        return settlements.nothing(&watch, None);
    };
    match provider.fetch(sid).await {
        Ok(message) => {
            let rests = state_of(message.status).is_some_and(|state| state.is_resting());
            let next = match watch.kind {
                // Whatever settled an unknown attempt has set the watch for its silence.
                WatchKind::Unknown => None,
                WatchKind::Silent if rests => None,
                WatchKind::Silent => next_poll(settlements, &watch),
            };
            settlements.found(&watch, &message, next)
        }
        Err(error) => {
            if !matches!(error, ProviderError::NotFound) {
                tracing::warn!(%error, "a silent message cannot be asked about now");
            }
            settlements.nothing(&watch, next_poll(settlements, &watch))
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
    use delivery::outcome::{Outcome, ProviderStatus};
    use delivery::row::AttemptRow;
    use delivery::sid::Sid;
    use delivery::state::State;

    use super::*;
    use crate::effects::{BoxFuture, Effects};
    use crate::provider::{
        CreateRequest, InboundListQuery, InboundPage, ListQuery, ProviderMedium, ProviderMessage,
    };

    /// A provider that has every message, in one status.
    struct Has(ProviderStatus);

    impl Provider for Has {
        fn create<'a>(&'a self, _: &'a CreateRequest) -> BoxFuture<'a, Outcome> {
            unreachable!("nothing is sent")
        }

        fn fetch(&self, sid: Sid) -> BoxFuture<'_, Result<ProviderMessage, ProviderError>> {
            let status = self.0;
            Box::pin(async move {
                Ok(ProviderMessage {
                    sid,
                    to: None,
                    from: None,
                    body: None,
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
            // Settled by a callback before its poll: that commit set the watch for silence.
            (WatchKind::Unknown, ProviderStatus::Sent, false),
        ] {
            let now = Effects::real().clock.now();
            let watch = DueWatch {
                at: now,
                attempt: AttemptRow(1),
                kind,
                polls: 0,
                sid: Sid::parse_message(&format!("SM{:032x}", 1)).ok(),
                state: State::Queued,
                started_at: now,
                evidence: None,
            };
            let settled = ask(&Has(status), &settlements, watch).await;
            assert_eq!(settled.next.is_some(), goes_on, "{kind:?} {status:?}");
        }
    }
}
