//! Form bodies (`application/x-www-form-urlencoded`) as Twilio sends them, decoded in one pass.

/// Fields of one body; Twilio sends about 40 at most.
pub const FIELDS_MAX: usize = 256;

/// The decoded fields of a body in the order in which they came.
///
/// Names and values are bytes, because the signature covers bytes. All of them lie in one piece
/// of memory, so that a body costs two allocations however many fields it has. There is no
/// `Debug`: the values are personal data.
pub struct Form {
    decoded: Vec<u8>,
    fields: Vec<Span>,
}

/// Where one field lies: its name ends where its value starts.
#[derive(Clone, Copy)]
struct Span {
    start: usize,
    name_end: usize,
    end: usize,
}

/// The body has more than [`FIELDS_MAX`] fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body has more than {FIELDS_MAX} fields")]
pub struct TooManyFields;

impl Form {
    /// Decodes a body: `+` is a space, `%` and two hexadecimal digits are a byte, and a `%`
    /// without them stays as it is. A field without `=` has an empty value; nothing between two
    /// `&` is no field.
    ///
    /// # Errors
    /// [`TooManyFields`]; nothing else about a body can be wrong here.
    pub fn parse(raw: &[u8]) -> Result<Self, TooManyFields> {
        let mut form = Self {
            decoded: Vec::with_capacity(raw.len()),
            fields: Vec::with_capacity(16),
        };
        for field in raw.split(|byte| *byte == b'&') {
            if field.is_empty() {
                continue;
            }
            if form.fields.len() == FIELDS_MAX {
                return Err(TooManyFields);
            }
            let equals = field
                .iter()
                .position(|byte| *byte == b'=')
                .unwrap_or(field.len());
            let (name, value) = field.split_at(equals);
            let start = form.decoded.len();
            decode_into(&mut form.decoded, name);
            let name_end = form.decoded.len();
            decode_into(&mut form.decoded, value.strip_prefix(b"=").unwrap_or(value));
            form.fields.push(Span {
                start,
                name_end,
                end: form.decoded.len(),
            });
        }
        Ok(form)
    }

    /// The value of the first field of this name, when it is UTF-8.
    pub fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.iter().find(|(field, _)| *field == name.as_bytes())?;
        std::str::from_utf8(value).ok()
    }

    /// The value of the first field of this name, when it is UTF-8 and not empty: Twilio sends
    /// some fields empty instead of leaving them out.
    pub fn get_filled(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// All names and values in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields.iter().map(|span| {
            let name = self
                .decoded
                .get(span.start..span.name_end)
                .unwrap_or_default();
            (
                name,
                self.decoded
                    .get(span.name_end..span.end)
                    .unwrap_or_default(),
            )
        })
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether there are no fields.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }
}

fn decode_into(out: &mut Vec<u8>, mut raw: &[u8]) {
    while let Some(special) = raw.iter().position(|byte| matches!(byte, b'+' | b'%')) {
        let (plain, rest) = raw.split_at(special);
        out.extend_from_slice(plain);
        raw = match rest {
            [b'%', high, low, after @ ..] if let Some(byte) = hex_byte(*high, *low) => {
                out.push(byte);
                after
            }
            [b'%', after @ ..] => {
                out.push(b'%');
                after
            }
            [_, after @ ..] => {
                out.push(b' ');
                after
            }
            [] => rest,
        };
    }
    out.extend_from_slice(raw);
}

/// The byte that two hexadecimal digits of either case name.
pub(super) fn hex_byte(high: u8, low: u8) -> Option<u8> {
    let digit = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    };
    Some(digit(high)? << 4 | digit(low)?)
}

#[cfg(test)]
pub(super) mod tests;
