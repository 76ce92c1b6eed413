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
            let next = if rests {
                None
            } else {
                next_poll(settlements, &watch)
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
