//! Looks for unknown attempts in the provider's list.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use delivery::absence::{Doubt, Reading, Verdict, is_horizon, judge, next_look, wants_absence};
use delivery::limits::{ABSENT_READING_AFTER, ABSENT_UNCOMPARED_AFTER, SETTLE_BEFORE};
use delivery::message::Policy;
use delivery::outcome::SettledBy;
use delivery::progress::WatchKind;
use delivery::row::AttemptRow;
use delivery::settle::{Listed, UnknownAttempt, settle};
use delivery::sid::Sid;
use delivery::time::{ClockDifference, Timestamp};

use super::context::Context;
use crate::provider::{ListQuery, ProviderError, ProviderMessage};
use crate::store::{DueWatch, Finding, Holder, NextWatch, Settlement, StoreError, UnknownView};

/// How long until a look that failed is repeated.
const RETRY_WAIT: Duration = Duration::from_secs(5);
/// How long until one that failed because the provider cannot be reached is repeated.
const UNREACHABLE_WAIT: Duration = Duration::from_secs(30);
/// The longest wait: of an attempt whose rows cannot be read, and of one whose looks fail for long.
const UNREADABLE_WAIT: Duration = Duration::from_secs(60 * 60);

/// Everything that one look at one person has brought.
struct Sight {
    /// All unknown attempts to the person.
    unknown: Vec<UnknownView>,
    /// How long after the end of each of them the look began.
    ages: HashMap<AttemptRow, Duration>,
    /// What the provider lists.
    listed: Vec<ProviderMessage>,
    /// Whose those messages are, as far as anybody knows.
    holders: HashMap<Sid, Holder>,
    /// The largest lag of the list within a day.
    lag: Option<Duration>,
    /// How far the provider's clock may be from ours.
    clock: ClockDifference,
    /// When the look began.
    now: Timestamp,
}

/// Why a look failed.
enum Failed {
    Store(StoreError),
    Provider(ProviderError),
    /// A request to the person is open, or was opened during the look: what the list shows may be
    /// its message.
    UnderWay,
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<ProviderError> for Failed {
    fn from(error: ProviderError) -> Self {
        Self::Provider(error)
    }
}

/// Looks for the unknown attempts to one person that are due.
pub(super) async fn look_for(context: &Context, group: &[DueWatch]) -> Vec<Settlement> {
    let looked = async {
        let sight = see(context, group).await?;
        let found = find(&sight);
        if !found.is_empty() {
            still_so(context, group, &sight).await?;
        }
        let mut settled = Vec::new();
        for watch in group {
            settled.push(conclude(context, watch, &sight, &found).await?);
        }
        Ok(settled)
    };
    match looked.await {
        Ok(settled) => settled,
        Err(failed) => {
            let wait = match failed {
                Failed::Store(error) => {
                    tracing::warn!(%error, "unknown attempts cannot be looked up now");
                    RETRY_WAIT
                }
                Failed::Provider(error) => {
                    tracing::warn!(%error, "unknown attempts cannot be looked for now");
                    UNREACHABLE_WAIT
                }
                Failed::UnderWay => {
                    let postponed = group.iter().map(|watch| {
                        let next = again(context, watch, RETRY_WAIT);
                        context.settlements.nothing(watch, Some(next))
                    });
                    return postponed.collect();
                }
            };
            let again = group.iter().map(|watch| failed_look(context, watch, wait));
            again.collect()
        }
    }
}

async fn see(context: &Context, group: &[DueWatch]) -> Result<Sight, Failed> {
    let Some(first) = group.first() else {
        return Err(Failed::Provider(ProviderError::NotFound));
    };
    let unknown = context.store.unknown_attempts(first.person).await?;
    if unknown.iter().any(|view| view.is_open) {
        return Err(Failed::UnderWay);
    }
    let now = context.settlements.now();
    // Measured before the list is read: a reading is as old as its beginning.
    let ages = unknown
        .iter()
        .map(|view| (view.attempt, context.readings.age(view)))
        .collect();
    let (lag, clock) = context
        .lag
        .known(&*context.store, &*context.provider)
        .await?;
    let listed = list(context, &unknown, clock).await?;
    let sids = listed.iter().map(|message| message.sid).collect();
    let holders = context.store.holders(sids).await?;
    Ok(Sight {
        unknown,
        ages,
        listed,
        holders: holders
            .into_iter()
            .map(|holder| (holder.sid, holder))
            .collect(),
        lag,
        clock,
        now,
    })
}

/// Makes sure that no request to the person was opened since the look began: it may have created a
/// message before the list was read, and be unknown by now.
async fn still_so(context: &Context, group: &[DueWatch], sight: &Sight) -> Result<(), Failed> {
    let Some(first) = group.first() else {
        return Ok(());
    };
    let unknown = context.store.unknown_attempts(first.person).await?;
    let is_seen = |attempt| sight.unknown.iter().any(|view| view.attempt == attempt);
    if unknown.iter().all(|view| is_seen(view.attempt)) {
        Ok(())
    } else {
        Err(Failed::UnderWay)
    }
}

/// Asks for the messages to one person since the first of the attempts, in both forms of the
/// address and for each sender that was used.
async fn list(
    context: &Context,
    unknown: &[UnknownView],
    clock: ClockDifference,
) -> Result<Vec<ProviderMessage>, ProviderError> {
    let started = unknown.iter().map(|view| view.started_at).min();
    let created_since = earliest(started.unwrap_or_default(), clock);
    let evidence = || unknown.iter().filter_map(|view| view.evidence.as_ref());
    let forms: BTreeSet<&String> = evidence()
        .flat_map(|evidence| [Some(&evidence.to), evidence.to_alternative.as_ref()])
        .flatten()
        .collect();
    let mut senders: BTreeSet<Option<&String>> =
        evidence().map(|evidence| evidence.from.as_ref()).collect();
    if senders.contains(&None) {
        // The list of all senders holds those of each.
        senders = BTreeSet::from([None]);
    }
    let mut listed: HashMap<Sid, ProviderMessage> = HashMap::new();
    for to in forms {
        for from in &senders {
            let query = ListQuery {
                to: to.clone(),
                from: from.cloned(),
                created_since,
            };
            for message in context.provider.list(&query).await? {
                listed.insert(message.sid, message);
            }
        }
    }
    Ok(listed.into_values().collect())
}

fn earliest(started_at: Timestamp, clock: ClockDifference) -> Timestamp {
    clock
        .earliest(started_at)
        .min(started_at)
        .minus(SETTLE_BEFORE)
}

/// Which free messages are whose.
fn find(sight: &Sight) -> HashMap<AttemptRow, Sid> {
    let attempts: Vec<_> = sight.unknown.iter().filter_map(unknown_attempt).collect();
    let candidates: Vec<_> = sight.listed.iter().filter_map(listed_message).collect();
    // An attempt that cannot be read could own any of them.
    if sight.unknown.iter().any(|view| view.is_unreadable) {
        return HashMap::new();
    }
    let is_taken = |sid| sight.holders.contains_key(&sid);
    settle(&attempts, &candidates, sight.clock, is_taken)
        .into_iter()
        .collect()
}

async fn conclude(
    context: &Context,
    watch: &DueWatch,
    sight: &Sight,
    found: &HashMap<AttemptRow, Sid>,
) -> Result<Settlement, Failed> {
    let settlements = &context.settlements;
    let attempt = watch.attempt;
    let postponed = again(context, watch, RETRY_WAIT);
    let view = sight.unknown.iter().find(|view| view.attempt == attempt);
    if let Some(view) = view.filter(|view| view.is_unreadable) {
        if context.readings.is_newly_unreadable(view.attempt) {
            tracing::warn!(%attempt, "an unknown attempt cannot be read, and is left for an hour");
        }
        let next = again(context, watch, UNREADABLE_WAIT);
        return Ok(in_vain(context, watch, Doubt::Unreadable, next));
    }
    let sid = found.get(&attempt);
    let message = sid.and_then(|sid| sight.listed.iter().find(|message| message.sid == *sid));
    if let Some(message) = message {
        context.readings.forget(attempt);
        return Ok(settlements.found_unknown(watch, message, postponed));
    }
    let doubt = match view.zip(view.and_then(|view| sight.ages.get(&view.attempt))) {
        Some((view, age)) if wants_absence(watch.policy) => {
            match read(context, view, sight, *age).await? {
                Verdict::Absent(proof) => {
                    let absent = Finding::Absent(proof);
                    return Ok(settlements.unknown(watch, absent, None, postponed));
                }
                Verdict::Unproven(doubt) => Some(doubt),
            }
        }
        _ => None,
    };
    Ok(not_found(context, watch, doubt))
}

/// Adds what this look has shown to the readings of an attempt, and judges them.
async fn read(
    context: &Context,
    view: &UnknownView,
    sight: &Sight,
    age: Duration,
) -> Result<Verdict, Failed> {
    // How the list shows messages to user ids, and under which address, is not documented.
    let to = view.evidence.as_ref().map(|evidence| evidence.to.as_str());
    if !to.is_some_and(|to| to.starts_with('+')) {
        return Ok(Verdict::Unproven(Doubt::Address));
    }
    if seems_to_begin_later(view, sight) {
        context.readings.distrust(view.attempt);
    }
    if context.readings.is_distrusted(view.attempt) {
        return Ok(Verdict::Unproven(Doubt::Clock));
    }
    let holds_candidate = sight
        .listed
        .iter()
        .any(|message| could_be(view, message, sight));
    let younger = if holds_candidate || age < ABSENT_READING_AFTER {
        None
    } else {
        let youngest = context.lag.youngest(&*context.provider).await?;
        let ended_at = sight.clock.latest(view.ended_at);
        let youngest = youngest.filter(|created| *created > ended_at);
        youngest.map(|created| created.since(ended_at))
    };
    let reading = Reading {
        at: age,
        is_complete: true,
        holds_candidate,
        younger,
    };
    let readings = context.readings.add(view.attempt, reading);
    Ok(judge(&readings, sight.lag))
}

/// Whether the window in which the message may have been created begins after it was: our clock was
/// ahead, and no answer of the provider has told us by how much.
fn seems_to_begin_later(view: &UnknownView, sight: &Sight) -> bool {
    let ended_at = view.ended_at.min(sight.now);
    earliest(view.started_at, sight.clock) > sight.clock.latest(ended_at)
}

/// Whether a message could be the attempt's, whatever it says: it was not created before, and it is
/// not proven that it is another's.
fn could_be(view: &UnknownView, message: &ProviderMessage, sight: &Sight) -> bool {
    let since = earliest(view.started_at, sight.clock);
    // Creation times have whole seconds.
    let is_older = message
        .created_at
        .is_some_and(|created| created.plus(Duration::from_secs(1)) < since);
    let is_anothers = sight.holders.get(&message.sid).is_some_and(|holder| {
        holder.attempt != view.attempt
            && match holder.settled_by {
                SettledBy::Answer | SettledBy::Callback => true,
                // Of two attempts of the same content it does not matter which one it is.
                SettledBy::List => holder.content_index == view.content_index,
                SettledBy::Absence => false,
            }
    });
    !is_older && !is_anothers
}

fn not_found(context: &Context, watch: &DueWatch, doubt: Option<Doubt>) -> Settlement {
    let looks = usize::try_from(watch.polls)
        .unwrap_or(usize::MAX)
        .saturating_add(1);
    let next = next_look(looks, watch.policy);
    let last = next_look(looks.saturating_sub(1), watch.policy);
    let next = next.zip(last).map(|(next, last)| NextWatch {
        at: context.settlements.later(next.saturating_sub(last)),
        kind: WatchKind::Unknown,
        polls: watch.polls.saturating_add(1),
    });
    if next.is_none() {
        context.readings.forget(watch.attempt);
    }
    if next.is_none() || is_horizon(looks, watch.policy) {
        let doubt = doubt.filter(|_| watch.policy == Policy::Once);
        context.settlements.horizon_passed(watch, doubt, next)
    } else {
        context.settlements.nothing(watch, next)
    }
}

/// The look failed: it is repeated, and does not count.
fn failed_look(context: &Context, watch: &DueWatch, wait: Duration) -> Settlement {
    // The longer nobody can look, the less it helps to try often.
    let long = unknown_for(context, watch) / 12;
    let next = again(context, watch, wait.max(long.min(UNREADABLE_WAIT)));
    in_vain(context, watch, Doubt::Unreachable, next)
}

/// There was no look worth the name. After an hour that is said, and the policy of the message
/// decides as if nothing had been found.
fn in_vain(context: &Context, watch: &DueWatch, doubt: Doubt, next: NextWatch) -> Settlement {
    let settlements = &context.settlements;
    if unknown_for(context, watch) >= ABSENT_UNCOMPARED_AFTER {
        settlements.horizon_passed(watch, Some(doubt), Some(next))
    } else {
        settlements.nothing(watch, Some(next))
    }
}

/// How long ago the request ended, as the waits count.
fn unknown_for(context: &Context, watch: &DueWatch) -> Duration {
    context.settlements.since(watch.ended_at)
}

fn again(context: &Context, watch: &DueWatch, wait: Duration) -> NextWatch {
    NextWatch {
        at: context.settlements.later(wait),
        kind: watch.kind,
        polls: watch.polls,
    }
}

fn unknown_attempt(view: &UnknownView) -> Option<UnknownAttempt<AttemptRow>> {
    let evidence = view.evidence.as_ref()?;
    Some(UnknownAttempt {
        key: view.attempt,
        started_at: view.started_at,
        ended_at: view.ended_at,
        created_until: view.created_until,
        to: evidence.to.clone(),
        to_alternative: evidence.to_alternative.clone(),
        from: evidence.from.clone(),
        unlisted: evidence.unlisted.clone(),
        text: evidence.text.clone(),
        media: evidence.media,
    })
}

fn listed_message(message: &ProviderMessage) -> Option<Listed> {
    Some(Listed {
        sid: message.sid,
        to: message.to.clone()?,
        from: message.from.clone(),
        body: message.body.clone(),
        media: message.media,
        outbound: message.outbound,
        created_at: message.created_at?,
    })
}
