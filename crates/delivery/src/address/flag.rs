//! What was repaired in an address, and what is doubtful about it.

use std::fmt;

/// One repair or doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flag {
    /// A plus had become a blank in form decoding.
    PlusLost,
    /// The country code stood without a plus.
    CcBare,
    /// The country code stood twice.
    DupCc,
    /// The number began with the international prefix 00.
    Intl00,
    /// A trunk prefix 0, or a collect prefix 90, was dropped.
    TrunkStripped,
    /// A carrier selection code was dropped.
    CspStripped,
    /// The ninth digit was added.
    NinthAdded,
    /// Eight digits that begin with 9: an old mobile, or a new one that lost a digit. The number
    /// that results is valid and may be a stranger's, so a person should confirm it unless a
    /// provider wrote it.
    MaybeTruncated,
    /// The last eight digits are all the same, as in numbers made up to fill a field.
    SuspectRepeated,
    /// An extension was dropped.
    ExtDropped,
    /// A spreadsheet had turned the number into a decimal fraction.
    SheetDecimal,
    /// The 1 of a Mexican WhatsApp id was dropped.
    Mx1Removed,
    /// An Argentine mobile in its domestic form got the international 9.
    Ar15To9,
    /// The person is known by a scoped user id alone.
    NoPhone,
}

impl Flag {
    /// Every flag, in the order in which [`Flags`] gives them.
    pub const ALL: [Self; 14] = [
        Self::PlusLost,
        Self::CcBare,
        Self::DupCc,
        Self::Intl00,
        Self::TrunkStripped,
        Self::CspStripped,
        Self::NinthAdded,
        Self::MaybeTruncated,
        Self::SuspectRepeated,
        Self::ExtDropped,
        Self::SheetDecimal,
        Self::Mx1Removed,
        Self::Ar15To9,
        Self::NoPhone,
    ];

    /// The word for tables and interfaces.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PlusLost => "plus_lost",
            Self::CcBare => "cc_bare",
            Self::DupCc => "dup_cc",
            Self::Intl00 => "intl_00",
            Self::TrunkStripped => "trunk_stripped",
            Self::CspStripped => "csp_stripped",
            Self::NinthAdded => "ninth_added",
            Self::MaybeTruncated => "maybe_truncated",
            Self::SuspectRepeated => "suspect_repeated",
            Self::ExtDropped => "ext_dropped",
            Self::SheetDecimal => "sheet_decimal",
            Self::Mx1Removed => "mx_1_removed",
            Self::Ar15To9 => "ar_15_to_9",
            Self::NoPhone => "no_phone",
        }
    }

    fn bit(self) -> u16 {
        1 << (self as u16)
    }
}

/// A set of flags. It prints as its words with semicolons between them.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Flags(u16);

impl Flags {
    /// Whether the flag is set.
    pub fn contains(self, flag: Flag) -> bool {
        self.0 & flag.bit() != 0
    }

    /// Whether nothing was repaired and nothing is doubtful.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The flags that are set, in the order of [`Flag::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Flag> {
        Flag::ALL
            .into_iter()
            .filter(move |flag| self.contains(*flag))
    }

    /// Sets a flag.
    pub(super) fn add(&mut self, flag: Flag) {
        self.0 |= flag.bit();
    }
}

impl From<Flag> for Flags {
    fn from(flag: Flag) -> Self {
        Self(flag.bit())
    }
}

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, flag) in self.iter().enumerate() {
            if index > 0 {
                f.write_str(";")?;
            }
            f.write_str(flag.as_str())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
