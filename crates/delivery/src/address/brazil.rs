//! The Brazilian numbering plan: digits to a line, or the reason why not.
//!
//! libphonenumber is not asked. It calls an old mobile invalid, unless it begins with 7 and is
//! then valid as it stands, which would give one person two identities.

use super::area::area_code;
use super::flag::{Flag, Flags};
use super::rejection::{Known, NonGeographic, Reason, Rejection};

/// A line of the plan, as it was written.
pub(super) struct Line<'a> {
    area: &'a [u8],
    subscriber: &'a [u8],
    pub(super) form: Form,
}

/// What the subscriber's digits are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Eight digits, the first 2 to 5.
    Fixed,
    /// Nine digits, the first 9.
    Mobile,
    /// Eight digits, the first 6 to 9: as mobiles were before the ninth digit came.
    OldMobile,
}

/// Reads digits that came without a plus.
pub(super) fn read_bare<'a>(digits: &'a [u8], flags: &mut Flags) -> Result<Line<'a>, Rejection> {
    match digits {
        [b'0', b'0', rest @ ..] => read_after_00(rest, flags),
        // Ten and eleven digits are the area code 55; from twelve up, 55 is the country.
        [b'5', b'5', rest @ ..] if rest.len() >= 10 => {
            flags.add(Flag::CcBare);
            read_national(rest, flags)
        }
        // A collect call: 90, the carrier, and the number with its area code.
        [b'9', b'0', rest @ ..] if matches!(rest.len(), 12 | 13) => read_trunk(rest, flags),
        _ => read_national(digits, flags),
    }
}

/// Reads what follows the country code.
pub(super) fn read_national<'a>(
    digits: &'a [u8],
    flags: &mut Flags,
) -> Result<Line<'a>, Rejection> {
    match digits {
        [b'0', rest @ ..] => read_trunk(rest, flags),
        [b'5', b'5', rest @ ..] if rest.len() >= 10 => {
            flags.add(Flag::DupCc);
            let line = match rest {
                [b'0', rest @ ..] => read_trunk(rest, flags),
                _ => Line::read(rest, flags),
            };
            // Taking digits for a repetition is only right when what is left is a number.
            line.map_err(|_| Reason::BadLength.into())
        }
        _ => Line::read(digits, flags),
    }
}

/// Reads what follows the international prefix: the country code, with or without a carrier.
fn read_after_00<'a>(digits: &'a [u8], flags: &mut Flags) -> Result<Line<'a>, Rejection> {
    flags.add(Flag::Intl00);
    match digits {
        [b'5', b'5', rest @ ..] if rest.len() >= 8 => read_national(rest, flags),
        [a, b, b'5', b'5', rest @ ..] if is_carrier(*a, *b) && rest.len() >= 10 => {
            flags.add(Flag::CspStripped);
            read_national(rest, flags)
        }
        _ => Err(Reason::BadLength.into()),
    }
}

/// Reads what follows a trunk prefix: a carrier code and a number, or a number.
fn read_trunk<'a>(digits: &'a [u8], flags: &mut Flags) -> Result<Line<'a>, Rejection> {
    flags.add(Flag::TrunkStripped);
    match digits {
        [a, b, rest @ ..] if matches!(rest.len(), 10 | 11) => {
            if !is_carrier(*a, *b) {
                return Err(Reason::BadLength.into());
            }
            flags.add(Flag::CspStripped);
            Line::read(rest, flags)
        }
        // Behind a 0 this is 0900; alone it would be a mobile without its area code.
        [b'9', b'0', b'0', ..] if digits.len() == 9 => {
            Err(known(NonGeographic::Premium, digits).into())
        }
        _ => Line::read(digits, flags),
    }
}

impl<'a> Line<'a> {
    /// Reads an area code and a subscriber's number. Anything that is no digit is refused as a
    /// bad number, so text that was never cleaned is safe here.
    pub(super) fn read(digits: &'a [u8], flags: &mut Flags) -> Result<Self, Rejection> {
        if !digits.iter().all(u8::is_ascii_digit) {
            return Err(Reason::Letters.into());
        }
        if let Some(known) = service(digits) {
            return Err(known.into());
        }
        match digits {
            [a, b, subscriber @ ..] if matches!(subscriber.len(), 8 | 9) => {
                let ddd = (a - b'0') * 10 + (b - b'0');
                area_code(ddd).ok_or(Reason::InvalidDdd)?;
                let form = form_of(subscriber, flags).ok_or(Reason::BadSubscriber)?;
                let area = digits.get(..2).unwrap_or_default();
                Ok(Self {
                    area,
                    subscriber,
                    form,
                })
            }
            [b'2'..=b'9', ..] if digits.len() == 8 => Err(Reason::MissingDdd.into()),
            [b'9', ..] if digits.len() == 9 => Err(Reason::MissingDdd.into()),
            _ => Err(Reason::BadLength.into()),
        }
    }

    /// E.164 with the ninth digit.
    pub(super) fn canonical(&self) -> String {
        let ninth: &[u8] = if self.form == Form::OldMobile {
            b"9"
        } else {
            b""
        };
        self.e164(ninth)
    }

    /// E.164 without the ninth digit, when the line was written so.
    pub(super) fn written_old(&self) -> Option<String> {
        (self.form == Form::OldMobile).then(|| self.e164(b""))
    }

    fn e164(&self, ninth: &[u8]) -> String {
        let length = 3 + self.area.len() + ninth.len() + self.subscriber.len();
        let mut out = String::with_capacity(length);
        out.push_str("+55");
        for part in [self.area, ninth, self.subscriber] {
            out.extend(part.iter().copied().map(char::from));
        }
        out
    }
}

fn form_of(subscriber: &[u8], flags: &mut Flags) -> Option<Form> {
    let form = match subscriber {
        [b'9', rest @ ..] if rest.len() == 8 => Form::Mobile,
        [b'2'..=b'5', rest @ ..] if rest.len() == 7 => Form::Fixed,
        [first @ b'6'..=b'9', rest @ ..] if rest.len() == 7 => {
            flags.add(Flag::NinthAdded);
            if *first == b'9' {
                flags.add(Flag::MaybeTruncated);
            }
            Form::OldMobile
        }
        _ => return None,
    };
    // The last eight digits, so that both forms of a mobile are judged alike.
    let mut last = subscriber.iter().rev().take(8);
    if last
        .next()
        .is_some_and(|digit| last.all(|other| other == digit))
    {
        flags.add(Flag::SuspectRepeated);
    }
    Some(form)
}

/// The carrier selection codes that libphonenumber knows for Brazil.
fn is_carrier(a: u8, b: u8) -> bool {
    const CODES: [&[u8; 2]; 13] = [
        b"12", b"14", b"15", b"21", b"22", b"23", b"25", b"31", b"41", b"43", b"55", b"65", b"99",
    ];
    CODES.contains(&&[a, b])
}

/// Numbers without an area. None of the prefixes with three digits is an area code and a
/// subscriber, because no area code contains a 0.
fn service(digits: &[u8]) -> Option<Known> {
    let kind = match (digits, digits.len()) {
        ([b'8', b'0', b'0', ..], 9 | 10) => NonGeographic::TollFree,
        ([b'3', b'0', b'0' | b'3', ..], 9 | 10) => NonGeographic::SharedCost,
        ([b'5', b'0', b'0', ..], 9 | 10) | ([b'9', b'0', b'0', ..], 10) => NonGeographic::Premium,
        // Dialed without an area code, and not from abroad.
        ([b'4', b'0', b'0', ..] | [b'3', b'0', b'0', b'3', ..], 8) => NonGeographic::SharedCost,
        _ => return None,
    };
    Some(known(kind, digits))
}

fn known(kind: NonGeographic, digits: &[u8]) -> Known {
    let has_e164 = digits.len() > 8;
    let e164 = || {
        "+55"
            .chars()
            .chain(digits.iter().copied().map(char::from))
            .collect()
    };
    Known {
        kind,
        e164: has_e164.then(e164),
        region: "BR",
    }
}
