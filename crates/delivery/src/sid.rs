//! Twilio's identifiers: two capital letters that name the kind, then 32 hexadecimal digits.

use std::fmt;

/// Why a text is not a SID of the wanted kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotASid;

/// A SID as 16 bytes and the two letters of its kind, for example `SM` or `HX`.
///
/// The hexadecimal digits are kept in lower case, which is how Twilio writes them
/// (`^SM[0-9a-fA-F]{32}$` in its API description allows both).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sid {
    kind: [u8; 2],
    bytes: [u8; 16],
}

impl Sid {
    /// Reads a SID whose kind is one of `kinds`, for example `["SM", "MM"]` for messages.
    ///
    /// # Errors
    /// [`NotASid`] when the length, the kind or a digit is wrong.
    pub fn parse(text: &str, kinds: &[&str]) -> Result<Self, NotASid> {
        let raw = text.as_bytes();
        let (kind, digits) = raw.split_at_checked(2).ok_or(NotASid)?;
        if digits.len() != 32 || !kinds.iter().any(|k| k.as_bytes() == kind) {
            return Err(NotASid);
        }
        let mut bytes = [0u8; 16];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let [high, low] = pair else {
                return Err(NotASid);
            };
            *byte = hex_digit(*high)? << 4 | hex_digit(*low)?;
        }
        let [a, b] = kind else { return Err(NotASid) };
        Ok(Self {
            kind: [*a, *b],
            bytes,
        })
    }

    /// Reads the SID of a message: `SM` without media, `MM` with.
    ///
    /// # Errors
    /// [`NotASid`] when it is anything else.
    pub fn parse_message(text: &str) -> Result<Self, NotASid> {
        Self::parse(text, &["SM", "MM"])
    }

    /// The two letters of the kind and the 16 bytes, as the store keeps them.
    pub fn to_bytes(self) -> [u8; 18] {
        let mut out = [0u8; 18];
        let (kind, rest) = out.split_at_mut(2);
        kind.copy_from_slice(&self.kind);
        rest.copy_from_slice(&self.bytes);
        out
    }

    /// Reads what [`Sid::to_bytes`] wrote; `None` when the length is wrong.
    pub fn from_bytes(raw: &[u8]) -> Option<Self> {
        let (kind, bytes) = raw.split_at_checked(2)?;
        Some(Self {
            kind: kind.try_into().ok()?,
            bytes: bytes.try_into().ok()?,
        })
    }
}

impl fmt::Display for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(34);
        text.extend(self.kind.map(char::from));
        for byte in self.bytes {
            let digits = [byte >> 4, byte & 15].map(|digit| match digit {
                0..=9 => char::from(b'0' + digit),
                _ => char::from(b'a' + digit - 10),
            });
            text.extend(digits);
        }
        f.write_str(&text)
    }
}

impl fmt::Debug for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn hex_digit(digit: u8) -> Result<u8, NotASid> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(NotASid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_and_refuses_other_kinds() {
        let text = "SM0123456789abcdef0123456789ABCDEF";
        let sid = Sid::parse_message(text).unwrap();
        assert_eq!(sid.to_string(), text.to_lowercase().replacen("sm", "SM", 1));
        assert_eq!(Sid::from_bytes(&sid.to_bytes()), Some(sid));
        for bad in [
            "",
            "SM",
            "HX0123456789abcdef0123456789abcdef",
            "SM0123456789abcdef0123456789abcdeg",
            "SM0123456789abcdef0123456789abcdef0",
            "SMé123456789abcdef0123456789abcde",
        ] {
            assert_eq!(Sid::parse_message(bad), Err(NotASid), "{bad}");
        }
    }
}
