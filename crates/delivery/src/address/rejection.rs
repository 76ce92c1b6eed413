//! Why a text is no address, in words for programs and for people.

use std::fmt;

/// Why a text is no address that can be messaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Whether it is a real number.
    pub status: RejectStatus,
    /// What is wrong.
    pub reason: Reason,
    /// What a real number is, when it is one.
    pub known: Option<Known>,
}

/// Whether a refused text is a number at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejectStatus {
    /// A real number that cannot be messaged.
    NotAddressable,
    /// No number, or none that can be read for certain.
    Invalid,
}

/// What is wrong with a refused text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Nothing in it.
    Empty,
    /// Letters, or signs that stand for digits nobody knows.
    Letters,
    /// More than one number.
    MultipleNumbers,
    /// A spreadsheet rounded it.
    ScientificNotation,
    /// No area code.
    MissingDdd,
    /// An area code that does not exist.
    InvalidDdd,
    /// Too many or too few digits.
    BadLength,
    /// No line begins with these digits.
    BadSubscriber,
    /// No number of the country that its code names.
    ForeignInvalid,
    /// A foreign number without its plus.
    ForeignNeedsPlus,
    /// A service number such as 0800.
    NonGeographic,
}

/// A real number that cannot be messaged.
#[derive(Clone, PartialEq, Eq)]
pub struct Known {
    /// What it is for.
    pub kind: NonGeographic,
    /// Its international form, when it has one.
    pub e164: Option<String>,
    /// ISO 3166 code of the country.
    pub region: &'static str,
}

/// What a number without an area is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NonGeographic {
    /// 0800: the callee pays.
    TollFree,
    /// 0300, 0303, 4004 and their like: both pay.
    SharedCost,
    /// 0500, 0900: the caller pays for a service.
    Premium,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 11] = [
        Self::Empty,
        Self::Letters,
        Self::MultipleNumbers,
        Self::ScientificNotation,
        Self::MissingDdd,
        Self::InvalidDdd,
        Self::BadLength,
        Self::BadSubscriber,
        Self::ForeignInvalid,
        Self::ForeignNeedsPlus,
        Self::NonGeographic,
    ];

    /// The word for tables and interfaces.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Letters => "letters",
            Self::MultipleNumbers => "multiple_numbers",
            Self::ScientificNotation => "scientific_notation",
            Self::MissingDdd => "missing_ddd",
            Self::InvalidDdd => "invalid_ddd",
            Self::BadLength => "bad_length",
            Self::BadSubscriber => "bad_subscriber",
            Self::ForeignInvalid => "foreign_invalid",
            Self::ForeignNeedsPlus => "foreign_needs_plus",
            Self::NonGeographic => "non_geographic",
        }
    }

    /// What is wrong and what to do, in one sentence that never repeats the text.
    pub fn explain(self) -> &'static str {
        match self {
            Self::Empty => "There is no number; give one, for example +55 11 98765-4321.",
            Self::Letters => {
                "There are letters or signs among the digits; give the number alone, for example \
                 +55 11 98765-4321."
            }
            Self::MultipleNumbers => {
                "There is more than one number, or a sign that separates numbers; give exactly one."
            }
            Self::ScientificNotation => {
                "The spreadsheet has rounded the number, so digits are lost; format the column as \
                 text and enter the number again."
            }
            Self::MissingDdd => {
                "The area code (DDD) is missing; put its two digits in front, for example \
                 (11) 98765-4321."
            }
            Self::InvalidDdd => {
                "No Brazilian area code (DDD) has these two digits; correct them, or write + and \
                 the country code if the number is foreign."
            }
            Self::BadLength => {
                "A digit is missing or too many; a Brazilian number has an area code and 9 digits, \
                 or 8 on a landline."
            }
            Self::BadSubscriber => {
                "No Brazilian line begins like this after the area code; check the number, or \
                 write + and the country code if it is foreign."
            }
            Self::ForeignInvalid => {
                "The country has no such number; check the digits after the plus."
            }
            Self::ForeignNeedsPlus => {
                "This is no Brazilian number; if it is foreign, write it with + and the country \
                 code, and without 00."
            }
            Self::NonGeographic => {
                "Service numbers such as 0800 or 4004 cannot be messaged; give the person's own \
                 number."
            }
        }
    }
}

impl RejectStatus {
    /// The word for tables and interfaces.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotAddressable => "not_addressable",
            Self::Invalid => "invalid",
        }
    }
}

impl NonGeographic {
    /// The word for tables and interfaces.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TollFree => "toll_free",
            Self::SharedCost => "shared_cost",
            Self::Premium => "premium",
        }
    }
}

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Known")
            .field("kind", &self.kind)
            .field("region", &self.region)
            .finish_non_exhaustive()
    }
}

impl From<Reason> for Rejection {
    fn from(reason: Reason) -> Self {
        Self {
            status: RejectStatus::Invalid,
            reason,
            known: None,
        }
    }
}

impl From<Known> for Rejection {
    fn from(known: Known) -> Self {
        let reason = Reason::NonGeographic;
        Self {
            status: RejectStatus::NotAddressable,
            reason,
            known: Some(known),
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason.explain())
    }
}

impl std::error::Error for Rejection {}
