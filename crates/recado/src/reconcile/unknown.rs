//! Looks for unknown attempts in the provider's list.

use std::collections::HashMap;
use std::time::Duration;

use delivery::limits::{SETTLE_BEFORE, SETTLE_POLLS};
use delivery::progress::WatchKind;
use delivery::row::AttemptRow;
use delivery::settle::{Listed, UnknownAttempt, settle};
use delivery::sid::Sid;

use super::settlement::Settlements;
use crate::provider::{ListQuery, Provider, ProviderError, ProviderMessage};
use crate::store::{DueWatch, Evidence, NextWatch, Settlement, Watches};

/// How long until a poll that failed is repeated.
const RETRY_WAIT: Duration = Duration::from_secs(5);

/// Looks for the unknown attempts of one sender to one person.
pub(super) async fn look_for(
    store: &dyn Watches,
    provider: &dyn Provider,
    settlements: &Settlements,
    group: Vec<(DueWatch, Evidence)>,
) -> Vec<Settlement> {
    let again = || {
        let watches = group.iter();
        watches
            .map(|(watch, _)| repeat(settlements, watch))
            .collect()
    };
    let listed = match list(provider, &group).await {
        Ok(listed) => listed,
        Err(error) => {
            tracing::warn!(%error, "unknown attempts cannot be looked for now");
            return again();
        }
    };
    let sids = listed.iter().map(|message| message.sid).collect();
    let Ok(known) = store.known_sids(sids).await else {
        return again();
    };
    let attempts: Vec<_> = group
        .iter()
        .map(|(watch, e)| unknown_attempt(watch, e))
        .collect();
    let candidates: Vec<Listed> = listed.iter().filter_map(listed_message).collect();
    let found: HashMap<AttemptRow, Sid> =
        settle(&attempts, &candidates, |sid| known.contains(&sid))
            .into_iter()
            .collect();
    group
        .iter()
        .map(|(watch, _)| {
            let sid = found.get(&watch.attempt);
            match sid.and_then(|sid| listed.iter().find(|message| message.sid == *sid)) {
                // The commit that settles an unknown attempt sets the watch for its silence.
                Some(message) => settlements.found(watch, message, None),
                None => not_found(settlements, watch),
            }
        })
        .collect()
}

/// Asks for the messages to one person, in both forms of the address.
async fn list(
    provider: &dyn Provider,
    group: &[(DueWatch, Evidence)],
) -> Result<Vec<ProviderMessage>, ProviderError> {
    let Some((_, evidence)) = group.first() else {
        return Ok(Vec::new());
    };
    let earliest = group
        .iter()
        .map(|(watch, _)| watch.started_at)
        .min()
        .unwrap_or_default();
    let forms = [Some(evidence.to.clone()), evidence.to_alternative.clone()];
    let mut listed: Vec<ProviderMessage> = Vec::new();
    for to in forms.into_iter().flatten() {
        let query = ListQuery {
            to,
            from: evidence.from.clone(),
            created_since: earliest.minus(SETTLE_BEFORE),
        };
        for message in provider.list(&query).await? {
            if !listed.iter().any(|known| known.sid == message.sid) {
                listed.push(message);
            }
        }
    }
    Ok(listed)
}

fn not_found(settlements: &Settlements, watch: &DueWatch) -> Settlement {
    let polls = watch.polls + 1;
    let place = usize::try_from(polls).unwrap_or(usize::MAX);
    match (
        SETTLE_POLLS.get(place),
        SETTLE_POLLS.get(place.saturating_sub(1)),
    ) {
        (Some(next), Some(last)) => {
            let next = NextWatch {
                at: settlements.later(next.saturating_sub(*last)),
                kind: WatchKind::Unknown,
                polls,
            };
            settlements.nothing(watch, Some(next))
        }
        _ => settlements.horizon_passed(watch),
    }
}

/// The poll failed: it is repeated, and does not count.
fn repeat(settlements: &Settlements, watch: &DueWatch) -> Settlement {
    let next = NextWatch {
        at: settlements.later(RETRY_WAIT),
        kind: watch.kind,
        polls: watch.polls,
    };
    settlements.nothing(watch, Some(next))
}

fn unknown_attempt(watch: &DueWatch, evidence: &Evidence) -> UnknownAttempt<AttemptRow> {
    UnknownAttempt {
        key: watch.attempt,
        started_at: watch.started_at,
        to: evidence.to.clone(),
        to_alternative: evidence.to_alternative.clone(),
        from: evidence.from.clone(),
        text: evidence.text.clone(),
    }
}

fn listed_message(message: &ProviderMessage) -> Option<Listed> {
    Some(Listed {
        sid: message.sid,
        to: message.to.clone()?,
        from: message.from.clone(),
        body: message.body.clone(),
        outbound: message.outbound,
        created_at: message.created_at?,
    })
}
