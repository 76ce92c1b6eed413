//! Where the text of an address comes from.

use super::channel::CHANNEL;

/// How the text reached us; decides which artifacts of spreadsheets and providers are tolerated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    /// A person or a program wrote it into a field.
    Typed,
    /// A cell of a spreadsheet: a leading apostrophe and a trailing `.0` are dropped.
    Sheet,
    /// The provider's `From` or `To`: a blank in front stands for a plus lost in form decoding.
    Inbound,
    /// The provider's `WaId`: always international, never with a plus.
    InboundWaid,
}

impl Context {
    /// The context of a field into which an address may also be copied from the provider, with its
    /// channel.
    pub fn of_field(text: &str) -> Self {
        if text.starts_with(CHANNEL) {
            Self::Inbound
        } else {
            Self::Typed
        }
    }

    /// Whether the provider wrote the text, so that an account exists under exactly that form.
    pub(super) fn is_provider(self) -> bool {
        match self {
            Self::Inbound | Self::InboundWaid => true,
            Self::Typed | Self::Sheet => false,
        }
    }
}
