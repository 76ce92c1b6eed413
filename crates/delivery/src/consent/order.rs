//! Which of a person's words stands: the one that was written last, in whatever order they arrived.
//!
//! A webhook carries no time, and a message may arrive long after it was written: again after a
//! failed try, or because it was found in the provider's list after an outage. The provider knows when
//! each was written, to the second, and can be asked. With equal seconds the stricter word stands.

use super::ConsentWord;
use crate::limits::CLOCK_DIFFERENCE_MAX;
use crate::time::Timestamp;

/// A word as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SaidWord {
    /// What it says.
    pub word: ConsentWord,
    /// When it arrived, by our clock.
    pub arrived_at: Timestamp,
    /// When it was written, by the provider's clock; `None` while nobody has asked.
    pub written_at: Option<Timestamp>,
}

/// What can be said about a person's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// They said nothing.
    Silent,
    /// This word stands: none of the others was written later.
    Word(ConsentWord),
    /// It depends on when the word at this place was written.
    Ask(usize),
}

/// Which of a person's words stands. Words of which it is not known when they were written count as
/// written at any time before they arrived; one is asked about only if that could change the answer.
pub fn standing(words: &[SaidWord]) -> Standing {
    let last_known = words
        .iter()
        .filter_map(|said| Some((said.written_at?, said.word.strictness(), said.word)))
        .max_by_key(|(written_at, strictness, _)| (*written_at, *strictness));
    let known = last_known.map(|(written_at, _, _)| written_at);
    let could_be_last = |said: &SaidWord| {
        said.written_at.is_none()
            && known.is_none_or(|known| said.arrived_at.plus(CLOCK_DIFFERENCE_MAX) >= known)
    };
    let contenders = || {
        let unknown = words.iter().enumerate();
        unknown.filter(|(_, said)| could_be_last(said))
    };
    let standing = match last_known {
        Some((_, _, word)) => word,
        None => match words.first() {
            Some(said) => said.word,
            None => return Standing::Silent,
        },
    };
    if contenders().all(|(_, said)| said.word == standing) {
        return Standing::Word(standing);
    }
    match contenders().max_by_key(|(_, said)| said.arrived_at) {
        Some((place, _)) => Standing::Ask(place),
        None => Standing::Word(standing),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: [ConsentWord; 3] = [ConsentWord::OptOut, ConsentWord::Ask, ConsentWord::OptIn];

    fn said(word: ConsentWord, arrived: i64, written: Option<i64>) -> SaidWord {
        SaidWord {
            word,
            arrived_at: Timestamp::from_seconds(arrived),
            written_at: written.map(Timestamp::from_seconds),
        }
    }

    /// Asks as long as it is asked to, with `written` as what the provider says.
    fn settled(mut words: Vec<SaidWord>, written: &[i64]) -> (ConsentWord, usize) {
        for asked in 0..=words.len() {
            match standing(&words) {
                Standing::Word(word) => return (word, asked),
                Standing::Ask(place) => {
                    assert_eq!(words[place].written_at, None, "asked twice");
                    words[place].written_at = Some(Timestamp::from_seconds(written[place]));
                }
                Standing::Silent => panic!("they said something"),
            }
        }
        panic!("it never ends");
    }

    #[test]
    fn the_word_written_last_stands_whatever_arrived_when_and_whatever_is_known() {
        // Three words, each written in one of three seconds, arriving in each order up to ten minutes
        // later, and known or not.
        let orders = [
            [0, 1, 2],
            [0, 2, 1],
            [1, 0, 2],
            [1, 2, 0],
            [2, 0, 1],
            [2, 1, 0],
        ];
        for case in 0..3usize.pow(6) {
            let digit = |place: u32| case / 3usize.pow(place) % 3;
            let words = [0, 1, 2].map(|place| WORDS[digit(place)]);
            let written = [3, 4, 5].map(|place| 1_000 + i64::try_from(digit(place)).unwrap());
            let last = *written.iter().max().unwrap();
            let expected = (0..3)
                .filter(|place| written[*place] == last)
                .map(|place| words[place])
                .max_by_key(|word| word.strictness())
                .unwrap();
            for order in orders {
                for known in 0..8 {
                    let all = (0..3).map(|place| {
                        let arrived = 1_010 + 300 * order[place];
                        let is_known = known & (1 << place) != 0;
                        said(words[place], arrived, is_known.then_some(written[place]))
                    });
                    let (word, asked) = settled(all.collect(), &written);
                    assert_eq!(word, expected, "{words:?} {written:?} {order:?} {known:b}");
                    assert!(asked <= 3);
                }
            }
        }
    }

    #[test]
    fn what_cannot_matter_is_not_asked_about() {
        // The usual opt-in: one question, because the opt-out arrived months before.
        let words = [
            said(ConsentWord::OptIn, 9_000_000, None),
            said(ConsentWord::OptOut, 1_000, None),
        ];
        assert_eq!(standing(&words), Standing::Ask(0));
        assert_eq!(
            settled(words.to_vec(), &[8_999_999, 990]),
            (ConsentWord::OptIn, 1)
        );
        // Twice the same word, whichever was first.
        let twice = [
            said(ConsentWord::OptOut, 20, None),
            said(ConsentWord::OptOut, 10, None),
        ];
        assert_eq!(standing(&twice), Standing::Word(ConsentWord::OptOut));
        assert_eq!(standing(&[]), Standing::Silent);
    }

    #[test]
    fn a_clock_of_ours_that_is_behind_hides_no_later_word() {
        // By our clock the opt-out arrived before the opt-in was written, but only just.
        let words = [
            said(ConsentWord::OptIn, 1_100, Some(1_050)),
            said(ConsentWord::OptOut, 1_000, None),
        ];
        assert_eq!(standing(&words), Standing::Ask(1));
    }
}
