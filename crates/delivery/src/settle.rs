//! What to conclude about attempts whose outcome is unknown, from what the provider lists.
//!
//! The provider's message carries neither our correlation id nor the template, so evidence is
//! circumstantial: the recipient in either ninth-digit form, the sender, the time, the text, and
//! that the SID belongs to no other attempt. Unknown attempts to one person with the same text
//! are interchangeable, so k of them and m matches are attached in the order of their times.

use crate::limits::{SETTLE_AFTER, SETTLE_BEFORE};
use crate::sid::Sid;
use crate::time::Timestamp;

/// An attempt whose outcome is unknown.
#[derive(Clone)]
pub struct UnknownAttempt<K> {
    /// The store's key of the attempt.
    pub key: K,
    /// When the attempt was opened.
    pub started_at: Timestamp,
    /// The canonical recipient, without the `whatsapp:` prefix.
    pub to: String,
    /// The recipient's other form, if there is one.
    pub to_alternative: Option<String>,
    /// The number it was sent from; `None` when a Messaging Service chose it.
    pub from: Option<String>,
    /// What its text must look like.
    pub text: TextEvidence,
}

/// What the text of a message must look like to be ours.
#[derive(Clone, PartialEq, Eq)]
pub enum TextEvidence {
    /// Exactly this text: free-form bodies and captions.
    Exact(String),
    /// All of these, anywhere in it: the values of a template whose wording is not known here.
    Contains(Vec<String>),
}

/// A message as the provider lists it.
#[derive(Clone)]
pub struct Listed {
    /// The provider's id.
    pub sid: Sid,
    /// Recipient, without the `whatsapp:` prefix.
    pub to: String,
    /// Sender, without the `whatsapp:` prefix, when known.
    pub from: Option<String>,
    /// Its text, when the provider shows it.
    pub body: Option<String>,
    /// Whether it went from the business to the person.
    pub outbound: bool,
    /// When it was created, to the second.
    pub created_at: Timestamp,
}

/// Attaches listed messages to unknown attempts. `taken` tells which SIDs belong to an attempt
/// already. Attempts without a match are left out: absence proves nothing by itself.
pub fn settle<K: Clone>(
    attempts: &[UnknownAttempt<K>],
    listed: &[Listed],
    taken: impl Fn(Sid) -> bool,
) -> Vec<(K, Sid)> {
    let mut attempts: Vec<_> = attempts.iter().collect();
    attempts.sort_by_key(|attempt| attempt.started_at);
    let mut free: Vec<_> = listed
        .iter()
        .filter(|message| message.outbound && !taken(message.sid))
        .collect();
    free.sort_by_key(|message| (message.created_at, message.sid));
    let mut settled = Vec::new();
    for attempt in attempts {
        if let Some(at) = free.iter().position(|message| matches(attempt, message)) {
            settled.push((attempt.key.clone(), free.remove(at).sid));
        }
    }
    settled
}

fn matches<K>(attempt: &UnknownAttempt<K>, message: &Listed) -> bool {
    let to_fits = message.to == attempt.to || attempt.to_alternative.as_ref() == Some(&message.to);
    let from_fits = match (&attempt.from, &message.from) {
        (Some(ours), Some(theirs)) => ours == theirs,
        // A Messaging Service chooses the number, and shows none until it has.
        (None, _) | (_, None) => true,
    };
    let earliest = attempt.started_at.minus(SETTLE_BEFORE);
    let latest = attempt.started_at.plus(SETTLE_AFTER);
    let time_fits = message.created_at >= earliest && message.created_at <= latest;
    to_fits && from_fits && time_fits && text_fits(&attempt.text, message.body.as_deref())
}

/// A value of this length is told apart from other texts.
const TELLING_CHARACTERS: usize = 4;

fn text_fits(evidence: &TextEvidence, body: Option<&str>) -> bool {
    match (evidence, body) {
        (TextEvidence::Exact(text), body) => body.unwrap_or_default() == text,
        // Values that would be found in almost any text prove nothing; such an attempt stays
        // unknown, which a person can see, rather than to be taken for another message.
        (TextEvidence::Contains(values), Some(body)) => {
            values
                .iter()
                .any(|value| value.chars().count() >= TELLING_CHARACTERS)
                && values.iter().all(|value| body.contains(value.as_str()))
        }
        // A template that is not rendered yet shows no body; with nothing to compare, the person,
        // the sender and the time must do. Two different templates to one person within the
        // window could be exchanged by this, never doubled.
        (TextEvidence::Contains(_), None) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sid(n: u8) -> Sid {
        Sid::parse_message(&format!("SM{n:032x}")).unwrap()
    }

    fn attempt(key: u8, at: i64, text: &str) -> UnknownAttempt<u8> {
        UnknownAttempt {
            key,
            started_at: Timestamp::from_seconds(at),
            to: "+5585988887777".into(),
            to_alternative: Some("+558588887777".into()),
            from: Some("+551140000000".into()),
            text: TextEvidence::Exact(text.into()),
        }
    }

    fn listed(n: u8, at: i64, body: &str) -> Listed {
        Listed {
            sid: sid(n),
            to: "+5585988887777".into(),
            from: Some("+551140000000".into()),
            body: Some(body.into()),
            outbound: true,
            created_at: Timestamp::from_seconds(at),
        }
    }

    #[test]
    fn matches_attach_in_the_order_of_their_times() {
        let attempts = [
            attempt(2, 1_010, "a"),
            attempt(1, 1_000, "a"),
            attempt(3, 1_020, "a"),
        ];
        let seen = [listed(9, 1_011, "a"), listed(8, 1_001, "a")];
        let settled = settle(&attempts, &seen, |_| false);
        assert_eq!(settled, [(1, sid(8)), (2, sid(9))]);
    }

    #[test]
    fn the_other_ninth_digit_form_is_the_same_person() {
        let mut seen = listed(1, 1_000, "a");
        seen.to = "+558588887777".into();
        assert_eq!(
            settle(&[attempt(1, 1_000, "a")], &[seen], |_| false).len(),
            1
        );
    }

    #[test]
    fn what_does_not_fit_is_no_evidence() {
        let ours = [attempt(1, 1_000, "a")];
        let mut other_person = listed(1, 1_000, "a");
        other_person.to = "+5585988887778".into();
        let mut inbound = listed(2, 1_000, "a");
        inbound.outbound = false;
        let mut other_sender = listed(3, 1_000, "a");
        other_sender.from = Some("+551140000001".into());
        let too_early = listed(4, 939, "a");
        let too_late = listed(5, 1_000 + 901, "a");
        let other_text = listed(6, 1_000, "b");
        let seen = [
            other_person,
            inbound,
            other_sender,
            too_early,
            too_late,
            other_text,
        ];
        assert!(settle(&ours, &seen, |_| false).is_empty());
        let taken = [listed(7, 1_000, "a")];
        assert!(settle(&ours, &taken, |candidate| candidate == sid(7)).is_empty());
        assert_eq!(settle(&ours, &taken, |_| false).len(), 1);
    }

    #[test]
    fn template_values_are_looked_for_in_the_rendered_text() {
        let mut ours = attempt(1, 1_000, "");
        ours.text = TextEvidence::Contains(vec!["Maria".into(), "14:00".into()]);
        let fits = listed(1, 1_000, "Olá Maria, sua entrevista é às 14:00.");
        let other = listed(2, 1_000, "Olá João, sua entrevista é às 14:00.");
        assert_eq!(
            settle(&[ours.clone()], &[other, fits], |_| false),
            [(1, sid(1))]
        );
        let mut unrendered = listed(3, 1_000, "");
        unrendered.body = None;
        assert_eq!(settle(&[ours], &[unrendered], |_| false), [(1, sid(3))]);
    }

    #[test]
    fn values_that_tell_nothing_prove_nothing() {
        let listed = [Listed {
            sid: sid(1),
            to: "+5585988887777".into(),
            from: Some("+551140000000".into()),
            body: Some("1 outra coisa".into()),
            outbound: true,
            created_at: Timestamp::from_seconds(1_000),
        }];
        let with = |values: &[&str]| UnknownAttempt {
            text: TextEvidence::Contains(values.iter().map(|v| (*v).to_owned()).collect()),
            ..attempt(1, 1_000, "")
        };
        assert!(settle(&[with(&[])], &listed, |_| false).is_empty());
        assert!(settle(&[with(&["1"])], &listed, |_| false).is_empty());
        assert_eq!(
            settle(&[with(&["1", "outra"])], &listed, |_| false).len(),
            1
        );
    }
}
