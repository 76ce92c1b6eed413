//! Why a run of an operation ends before its end, in the engine's own words and in ours.

use crate::secrets::DecryptError;

/// Why an operation cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    /// A sealed value cannot be opened.
    #[error(transparent)]
    Decrypt(#[from] DecryptError),
    /// A row that must be there is not.
    #[error("a row of {0} is missing")]
    Gone(&'static str),
}

/// What a failure looks like in an engine.
pub(crate) trait Halting {
    /// The engine's own error.
    type Error: From<Broken>;

    /// Whether the rest of a batch is run all the same, to learn what else is missing. Nothing that
    /// it writes counts then.
    fn goes_on_after(_error: &Self::Error) -> bool {
        false
    }
}

/// What an engine returns.
pub(crate) type Read<R, T> = Result<T, <R as Halting>::Error>;
