//! Pages of a list: where the next one begins, and how long it is.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::problem::FieldProblem;

/// Items of a page.
const ITEMS_MAX: usize = 200;
/// Items of a page for which no limit was given.
const ITEMS_DEFAULT: usize = 50;
/// The layout of a cursor. A new layout gets a new number, so that an old cursor is refused
/// instead of being read as something else.
const CURSOR_VERSION: u8 = 1;

/// A list that comes in pages. Its cursors fit no other list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    /// `GET /api/v1/messages`.
    Messages,
    /// `GET /api/v1/inbound`.
    Inbound,
    /// `GET /api/v1/holds`.
    Holds,
    /// `POST /api/v1/messages/retry` and `/cancel`.
    Commands,
}

impl List {
    fn number(self) -> u8 {
        match self {
            Self::Messages => 1,
            Self::Inbound => 2,
            Self::Holds => 3,
            Self::Commands => 4,
        }
    }
}

/// Where the next page begins, as a token: callers need not know what is in it.
///
/// Version, list, key, and a checksum, so that a mistyped cursor is refused. It protects nothing:
/// whoever makes up a valid one only reads from another place of the same list.
pub(super) fn cursor(list: List, key: i64) -> String {
    let mut bytes = vec![CURSOR_VERSION, list.number()];
    bytes.extend(key.to_be_bytes());
    let checksum = cursor_checksum(&bytes);
    bytes.extend(checksum);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads a cursor of this list.
pub(super) fn parse_cursor(list: List, text: &str) -> Result<i64, FieldProblem> {
    cursor_key(list, text).ok_or_else(|| {
        FieldProblem::new(
            "cursor",
            "cursor_invalid",
            "Use next_cursor from the previous page of the same list.",
        )
    })
}

/// How many items a page may have.
pub(super) fn page_limit(limit: Option<usize>) -> Result<usize, FieldProblem> {
    match limit.unwrap_or(ITEMS_DEFAULT) {
        limit @ 1..=ITEMS_MAX => Ok(limit),
        _ => Err(FieldProblem::new(
            "limit",
            "limit_invalid",
            format!("Must be a number from 1 to {ITEMS_MAX}."),
        )),
    }
}

fn cursor_key(list: List, text: &str) -> Option<i64> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (content, checksum) = bytes.split_last_chunk()?;
    if *checksum != cursor_checksum(content) {
        return None;
    }
    let [version, number, key @ ..] = content else {
        return None;
    };
    let key = key.try_into().ok()?;
    (*version == CURSOR_VERSION && *number == list.number()).then(|| i64::from_be_bytes(key))
}

fn cursor_checksum(content: &[u8]) -> [u8; 2] {
    let hash = Sha256::new()
        .chain_update(b"recado cursor")
        .chain_update(content)
        .finalize();
    let [first, second, ..]: [u8; 32] = hash.into();
    [first, second]
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTS: [List; 4] = [List::Messages, List::Inbound, List::Holds, List::Commands];

    #[test]
    fn a_cursor_fits_its_list_and_no_other() {
        for key in [0, 1, 35, 36, 65_536, i64::MAX - 1, i64::MAX] {
            for list in LISTS {
                let text = cursor(list, key);
                assert_eq!(text.len(), 16);
                for other in LISTS {
                    let expected = (other == list).then_some(key);
                    assert_eq!(
                        cursor_key(other, &text),
                        expected,
                        "{list:?} {other:?} {key}"
                    );
                }
            }
        }
    }

    #[test]
    fn any_changed_character_is_noticed() {
        let text = cursor(List::Messages, 123_456);
        let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        for place in 0..text.len() {
            for other in alphabet.chars() {
                let (before, rest) = text.split_at(place);
                let changed = format!("{before}{other}{}", &rest[1..]);
                let expected = (changed == text).then_some(123_456);
                assert_eq!(cursor_key(List::Messages, &changed), expected, "{changed}");
            }
            assert_eq!(cursor_key(List::Messages, &text[..place]), None);
        }
    }

    #[test]
    fn another_version_or_length_is_refused_although_its_checksum_is_right() {
        let sealed = |content: &[u8]| {
            let mut bytes = content.to_vec();
            bytes.extend(cursor_checksum(content));
            URL_SAFE_NO_PAD.encode(bytes)
        };
        let key = 7i64.to_be_bytes();
        let with = |version: u8, key: &[u8]| sealed(&[&[version, 1], key].concat());
        assert_eq!(cursor_key(List::Messages, &with(1, &key)), Some(7));
        for version in [0, 2, 255] {
            assert_eq!(cursor_key(List::Messages, &with(version, &key)), None);
        }
        for key in [&key[..7], &[key.as_slice(), &[0]].concat(), &[]] {
            assert_eq!(cursor_key(List::Messages, &with(1, key)), None);
        }
        assert_eq!(cursor_key(List::Messages, &sealed(&[])), None);
        assert_eq!(cursor_key(List::Messages, &sealed(&[1])), None);
    }

    #[test]
    fn words_are_not_cursors() {
        let long = "A".repeat(60_000);
        let padded = format!("{}=", cursor(List::Messages, 1));
        for word in [
            "",
            " ",
            "!",
            "x",
            "-5",
            "+5",
            "hello",
            "AAAAAAAAAAAAAAAA",
            "zzzzzzzzzzzzzzzz",
            "ção",
            &long,
            &padded,
        ] {
            for list in LISTS {
                assert_eq!(cursor_key(list, word), None, "{word}");
            }
        }
    }
}
