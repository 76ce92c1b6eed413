//! What every verb returns, and why it could not be done.

use crate::effects::BoxFuture;

/// What every verb returns.
pub type StoreFuture<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// Why a verb could not be done. Nothing of it was done then.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk is full, or the database may not grow any more. Try again later.
    #[error("the database cannot grow: the disk is full")]
    Full,
    /// The database is busy or its queue of writers is full. Try again soon.
    #[error("the database is busy")]
    Busy,
    /// The folder or the file cannot be written.
    #[error("the database cannot be written: {0}")]
    ReadOnly(String),
    /// The file is damaged. Restore a backup.
    #[error("the database file is damaged: {0}")]
    Corrupt(String),
    /// A sealed value cannot be opened.
    #[error("a sealed value cannot be opened: wrong master key, or damaged data")]
    DecryptError,
    /// Another server uses the database.
    #[error("another server is using this database ({0}); stop it first")]
    Locked(String),
    /// The file is the database of another program.
    #[error("this file is the database of another program; choose another file")]
    OtherProgram,
    /// The database belongs to another account at the provider.
    #[error(
        "this database belongs to another account at the provider; use the settings of that account, \
         or another database"
    )]
    OtherAccount,
    /// The schema is not the one that this program knows, and a tool changes none: a server may be
    /// using it.
    #[error(
        "the database has schema version {stored}, and this recado knows version {known}; use the \
         recado of the server, or start the server with this one first"
    )]
    OtherVersion {
        /// The version in the file.
        stored: String,
        /// The version that this program knows.
        known: String,
    },
    /// The store has stopped.
    #[error("the database has been closed")]
    Closed,
    /// Anything else, with the engine's own words for the operator.
    #[error("the database failed: {0}")]
    Engine(String),
}
