//! Attempts: their correlation id, and how they are shown.

use delivery::address::AddressVariant;
use delivery::outcome::{OutcomeKind, SettledBy};
use delivery::row::AttemptRow;
use delivery::sid::Sid;
use delivery::time::Timestamp;

/// The correlation id of an attempt: its time-ordered key and 64 random bits, written as 32
/// hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AttemptId {
    /// The row.
    pub row: AttemptRow,
    /// The random bits.
    pub nonce: u64,
}

impl AttemptId {
    /// Reads the 16 bytes that the digits stand for.
    pub fn from_bytes(raw: [u8; 16]) -> Option<Self> {
        let both = u128::from_be_bytes(raw);
        let key = u64::try_from(both >> 64)
            .ok()
            .and_then(|key| i64::try_from(key).ok())?;
        let nonce = u64::try_from(both & u128::from(u64::MAX)).ok()?;
        Some(Self {
            row: AttemptRow(key),
            nonce,
        })
    }
}

impl std::fmt::Display for AttemptId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}{:016x}", self.row.0, self.nonce)
    }
}

/// One attempt.
#[derive(Clone, Debug)]
pub struct AttemptView {
    /// Its number, from 1.
    pub n: u32,
    /// The class of its outcome; `None` while it is open.
    pub outcome: Option<OutcomeKind>,
    /// The provider's id.
    pub sid: Option<Sid>,
    /// How it is known, or that there is none.
    pub settled_by: Option<SettledBy>,
    /// Under which variant of the address it was sent.
    pub variant: AddressVariant,
    /// When it was opened.
    pub started_at: Timestamp,
    /// When its outcome was recorded.
    pub finished_at: Option<Timestamp>,
    /// The provider's code, from its answer or reported later.
    pub code: Option<u32>,
    /// The cause of an outcome that is not `sent`.
    pub cause: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn correlation_ids_read_back_and_nothing_else_does() {
        let id = AttemptId {
            row: AttemptRow(42),
            nonce: u64::MAX - 1,
        };
        let text = id.to_string();
        assert_eq!(text.len(), 32);
        let raw = u128::from_str_radix(&text, 16).unwrap().to_be_bytes();
        assert_eq!(AttemptId::from_bytes(raw), Some(id));
        assert_eq!(AttemptId::from_bytes([0xff; 16]), None);
    }
}
