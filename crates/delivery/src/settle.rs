//! What to conclude about attempts whose outcome is unknown, from what the provider lists.
//!
//! The provider's message carries neither our correlation id nor the template, so evidence is
//! circumstantial: the recipient in either ninth-digit form, the sender, the time, the text, the
//! number of media, and that the SID belongs to no other attempt. All unknown attempts to one
//! person are matched with all free messages at once, so that what is attached is explained best
//! by the whole. What another attempt of different content explains as well is attached to none.

mod matching;
mod score;
#[cfg(test)]
mod tests;

use crate::limits::{SETTLE_BEFORE, SETTLE_MATCHES_MAX};
use crate::sid::Sid;
use crate::time::{ClockDifference, Timestamp};

use matching::{Weights, best};
use score::{CLOSENESS_MAX, Score};

/// An attempt whose outcome is unknown.
#[derive(Clone)]
#[cfg_attr(test, derive(Debug))]
pub struct UnknownAttempt<K> {
    /// The store's key of the attempt.
    pub key: K,
    /// When the attempt was opened.
    pub started_at: Timestamp,
    /// When its request had ended; its message was most likely created before.
    pub ended_at: Timestamp,
    /// Until when its message may have been created.
    pub created_until: Timestamp,
    /// The canonical recipient, without the `whatsapp:` prefix.
    pub to: String,
    /// The recipient's other form, if there is one.
    pub to_alternative: Option<String>,
    /// The number it was sent from; `None` when a Messaging Service chose it.
    pub from: Option<String>,
    /// What tells its content apart although the list does not show it: the template's SID, the
    /// URL of a medium, a place. Attempts that differ in it are not interchangeable.
    pub unlisted: Option<String>,
    /// What its text must look like.
    pub text: TextEvidence,
    /// How many media it carries; `None` when a template decides.
    pub media: Option<u32>,
}

/// What the text of a message must look like to be ours.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub enum TextEvidence {
    /// Exactly this text: free-form bodies and captions. An empty one is no evidence.
    Exact(String),
    /// All of these, anywhere in it: the values of a template whose wording is not known here.
    Contains(Vec<String>),
}

/// A message as the provider lists it.
#[derive(Clone)]
#[cfg_attr(test, derive(Debug))]
pub struct Listed {
    /// The provider's id.
    pub sid: Sid,
    /// Recipient, without the `whatsapp:` prefix.
    pub to: String,
    /// Sender, without the `whatsapp:` prefix, when known.
    pub from: Option<String>,
    /// Its text, when the provider shows it.
    pub body: Option<String>,
    /// How many media it carries, when the provider says so.
    pub media: Option<u32>,
    /// Whether it went from the business to the person.
    pub outbound: bool,
    /// When it was created, to the second, by the provider's clock.
    pub created_at: Timestamp,
}

/// Attaches listed messages to unknown attempts, as the best of all matchings does. `attempts` must
/// be all unknown attempts to the person, those included that are not looked for now. `taken` tells
/// which SIDs belong to an attempt already.
///
/// Attempts without a match are left out: by itself that proves nothing. So are attempts and
/// messages beyond [`SETTLE_MATCHES_MAX`]: then nothing is attached at all.
pub fn settle<K: Clone + Ord>(
    attempts: &[UnknownAttempt<K>],
    listed: &[Listed],
    clock: ClockDifference,
    taken: impl Fn(Sid) -> bool,
) -> Vec<(K, Sid)> {
    let mut attempts: Vec<_> = attempts.iter().collect();
    attempts.sort_by(|a, b| (a.started_at, &a.key).cmp(&(b.started_at, &b.key)));
    let mut free: Vec<_> = listed
        .iter()
        .filter(|message| message.outbound && !taken(message.sid))
        .collect();
    free.sort_by_key(|message| (message.created_at, message.sid));
    free.dedup_by_key(|message| message.sid);
    free.retain(|message| attempts.iter().any(|a| score(a, message, clock).is_some()));
    if attempts.len() > SETTLE_MATCHES_MAX || free.len() > SETTLE_MATCHES_MAX {
        return Vec::new();
    }
    let scores: Vec<Vec<Option<Score>>> = attempts
        .iter()
        .map(|a| {
            free.iter()
                .map(|message| score(a, message, clock))
                .collect()
        })
        .collect();
    let weights = Weights::new(&scores);
    let matched = best(&weights);
    let mut pairs: Vec<(usize, usize)> = Vec::new();
    for (row, column) in matched.pairs(&weights) {
        let alike: Vec<usize> = (0..attempts.len())
            .filter(|other| same(&attempts, row, *other))
            .collect();
        // Without any of these attempts, would the rest be explained as well?
        let others = best(&weights.without(&alike, column));
        if others.points() < matched.points() && has_evidence(&scores, row, column) {
            pairs.push((row, column));
        }
    }
    in_order(&attempts, &scores, &mut pairs);
    let of = |(row, column): &(usize, usize)| {
        Some((attempts.get(*row)?.key.clone(), free.get(*column)?.sid))
    };
    pairs.iter().filter_map(of).collect()
}

/// Any message to the person at the time.
const POSSIBLE: i64 = 1;
/// Created while the request was under way.
const IN_TIME: i64 = 500;
/// A template's value that is found, without its characters.
const VALUE: i64 = 1_000;
/// Each character of a template's value.
const CHARACTER: i64 = 100;
/// The same number of media, one at least.
const MEDIA: i64 = 1_000_000;
/// The whole text.
const WHOLE_TEXT: i64 = 2_000_000;
/// A value of this length is told apart from other texts.
const TELLING_CHARACTERS: usize = 4;

/// `None` when the message cannot be the attempt's.
fn score<K>(
    attempt: &UnknownAttempt<K>,
    message: &Listed,
    clock: ClockDifference,
) -> Option<Score> {
    let to_fits = message.to == attempt.to || attempt.to_alternative.as_ref() == Some(&message.to);
    let from_fits = match (&attempt.from, &message.from) {
        (Some(ours), Some(theirs)) => ours == theirs,
        // A Messaging Service chooses the number, and shows none until it has.
        (None, _) | (_, None) => true,
    };
    if !to_fits || !from_fits {
        return None;
    }
    let (in_time, distance) = time_fits(attempt, message, clock)?;
    let (text, tells) = text_fits(&attempt.text, message.body.as_deref())?;
    let media = match (attempt.media, message.media) {
        (Some(ours), Some(theirs)) if ours != theirs => return None,
        (Some(ours), Some(_)) if ours > 0 => MEDIA,
        _ => 0,
    };
    let time = if in_time { IN_TIME } else { 0 };
    Some(Score {
        points: POSSIBLE + time + text + media,
        closeness: CLOSENESS_MAX - distance.min(CLOSENESS_MAX),
        is_evidence: tells || media > 0,
    })
}

/// Whether it was created while the request was under way, and how many seconds from its start.
fn time_fits<K>(
    attempt: &UnknownAttempt<K>,
    message: &Listed,
    clock: ClockDifference,
) -> Option<(bool, i64)> {
    let created = message.created_at;
    let latest = attempt.created_until;
    let (from, until) = (
        clock.earliest(attempt.started_at),
        clock.latest(attempt.ended_at.min(latest)),
    );
    if created < from.minus(SETTLE_BEFORE) || created > clock.latest(latest) {
        return None;
    }
    // Creation times are cut off to whole seconds.
    let end_of_second = created.plus(std::time::Duration::from_secs(1));
    let in_time = end_of_second > from && created <= until;
    let distance = created.since(from).max(from.since(created)).as_secs();
    Some((in_time, i64::try_from(distance).unwrap_or(i64::MAX)))
}

/// The points of the text, and whether it shows that the message is ours; `None` when it shows that
/// it is not. A text that the provider does not show yet shows nothing.
fn text_fits(evidence: &TextEvidence, body: Option<&str>) -> Option<(i64, bool)> {
    match (evidence, body) {
        (TextEvidence::Exact(text), Some(body)) if text.trim() != body.trim() => None,
        (TextEvidence::Exact(text), Some(_)) if !text.trim().is_empty() => Some((WHOLE_TEXT, true)),
        (TextEvidence::Contains(values), Some(body)) => {
            if !values.iter().all(|value| body.contains(value.as_str())) {
                return None;
            }
            let points = |value: &String| {
                let characters = i64::try_from(value.chars().count()).unwrap_or(i64::MAX);
                VALUE.saturating_add(CHARACTER.saturating_mul(characters))
            };
            // Values that would be found in almost any text prove nothing; such an attempt stays
            // unknown, which a person can see, rather than to be taken for another message.
            let tells = values
                .iter()
                .any(|value| value.chars().count() >= TELLING_CHARACTERS);
            Some((values.iter().map(points).sum(), tells))
        }
        (TextEvidence::Exact(_) | TextEvidence::Contains(_), _) => Some((0, false)),
    }
}

/// Whether two attempts are interchangeable.
fn same<K>(attempts: &[&UnknownAttempt<K>], one: usize, other: usize) -> bool {
    match (attempts.get(one), attempts.get(other)) {
        (Some(one), Some(other)) => {
            one.unlisted == other.unlisted
                && one.text == other.text
                && one.media == other.media
                && one.from == other.from
        }
        _ => false,
    }
}

fn at(scores: &[Vec<Option<Score>>], row: usize, column: usize) -> Option<Score> {
    *scores.get(row)?.get(column)?
}

fn has_evidence(scores: &[Vec<Option<Score>>], row: usize, column: usize) -> bool {
    at(scores, row, column).is_some_and(|score| score.is_evidence)
}

/// Interchangeable attempts take their messages in the order of their times, when both orders say
/// the same otherwise.
fn in_order<K>(
    attempts: &[&UnknownAttempt<K>],
    scores: &[Vec<Option<Score>>],
    pairs: &mut [(usize, usize)],
) {
    pairs.sort_unstable();
    let gain = |pair: (usize, usize)| at(scores, pair.0, pair.1).map(|score| score.points);
    let places = 0..pairs.len();
    for one in places.clone() {
        for other in places.clone().skip(one + 1) {
            let (Some(&a), Some(&b)) = (pairs.get(one), pairs.get(other)) else {
                continue;
            };
            let (ab, ba) = ((a.0, b.1), (b.0, a.1));
            let both = |x, y| Some(gain(x)? + gain(y)?);
            if a.1 > b.1 && same(attempts, a.0, b.0) && both(ab, ba) == both(a, b) {
                pairs
                    .iter_mut()
                    .skip(one)
                    .take(1)
                    .for_each(|pair| *pair = ab);
                pairs
                    .iter_mut()
                    .skip(other)
                    .take(1)
                    .for_each(|pair| *pair = ba);
            }
        }
    }
}
