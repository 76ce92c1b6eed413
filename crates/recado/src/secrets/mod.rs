//! Keys, sealing and the blind index; values that cannot be printed.

mod master;
mod vault;

pub use master::{MasterKey, MasterKeyError};
pub use vault::{DecryptError, PersonKey, Vault, WrappedKeys};

use zeroize::Zeroizing;

/// A secret text: it has no `Debug` and no `Display`, and its memory is cleared when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Wraps a secret text.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}
