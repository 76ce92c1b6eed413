//! What errors of SQLite mean, and the one that ends the process.

use rusqlite::ErrorCode;

use crate::secrets::DecryptError;
use crate::store::StoreError;

/// After a failed fsync the kernel may drop what it could not write and report success the next
/// time: nothing this process knows can be trusted any more, so it ends.
pub(super) fn stop_on_failed_sync(error: &rusqlite::Error) {
    let extended = error.sqlite_error().map(|error| error.extended_code);
    let sync_codes = [
        rusqlite::ffi::SQLITE_IOERR_FSYNC,
        rusqlite::ffi::SQLITE_IOERR_DIR_FSYNC,
    ];
    if extended.is_some_and(|code| sync_codes.contains(&code)) {
        tracing::error!(%error, "the disk failed to store a commit; stopping so that nothing is lost");
        std::process::exit(70);
    }
}

/// Codes of a write that the system did not take.
const CANNOT_GROW: [i32; 2] = [
    rusqlite::ffi::SQLITE_IOERR_WRITE,
    rusqlite::ffi::SQLITE_IOERR_SHMSIZE,
];

/// What an engine error means for whoever asked.
pub(super) fn store_error(error: &rusqlite::Error) -> StoreError {
    match error {
        rusqlite::Error::SqliteFailure(failure, text) => {
            let text = text.clone().unwrap_or_else(|| failure.to_string());
            match failure.code {
                ErrorCode::DiskFull => StoreError::Full,
                ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => StoreError::Busy,
                ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied => {
                    StoreError::ReadOnly(text)
                }
                ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => StoreError::Corrupt(text),
                // A quota or a size limit; only a full disk has a code of its own.
                ErrorCode::SystemIoFailure if CANNOT_GROW.contains(&failure.extended_code) => {
                    StoreError::Full
                }
                _ => StoreError::Engine(text),
            }
        }
        rusqlite::Error::FromSqlConversionFailure(_, _, cause) if cause.is::<DecryptError>() => {
            StoreError::DecryptError
        }
        other => StoreError::Engine(other.to_string()),
    }
}
