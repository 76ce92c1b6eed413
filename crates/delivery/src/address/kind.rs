//! What an address is: a phone of some kind, or a user id.

/// What an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressKind {
    /// A Brazilian mobile line.
    Mobile,
    /// A Brazilian landline; these have WhatsApp too.
    Fixed,
    /// A phone of any kind in another country.
    Foreign,
    /// A business-scoped user id: WhatsApp hides the phone of people with a username.
    ScopedUserId,
}

impl AddressKind {
    /// The word for tables and interfaces.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mobile => "mobile",
            Self::Fixed => "fixed",
            Self::Foreign => "foreign",
            Self::ScopedUserId => "bsuid",
        }
    }
}
