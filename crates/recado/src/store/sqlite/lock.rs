//! The lock of the one server that has the database open.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::Path;

use crate::store::StoreError;

/// The locks that a server holds as long as it has the database open.
pub(super) struct ServerLock {
    /// Beside the database, by its path; it says who is there.
    named: File,
    /// The database itself, which a hard link or a second mount shows under another path.
    database: File,
}

impl Drop for ServerLock {
    fn drop(&mut self) {
        // Closing is not enough at once: a child process that is just being started holds a copy
        // of every handle until it becomes another program.
        for file in [&self.database, &self.named] {
            if let Err(error) = file.unlock() {
                tracing::debug!(%error, "the lock of the database ends with the process");
            }
        }
    }
}

/// A second server would send what the first one is sending. The locks live as long as the file
/// handles, so a killed server leaves none behind.
pub(super) fn lock(path: &Path) -> Result<ServerLock, StoreError> {
    let named = lock_named(path)?;
    // Only now, and for as long as the database is open: closing a handle of a file ends the locks
    // that SQLite holds on it in the same process.
    let database = File::open(path).map_err(|error| unusable(path, &error))?;
    match database.try_lock() {
        Ok(()) => Ok(ServerLock { named, database }),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked(format!(
            "{}, which it has under another path",
            path.display()
        ))),
        Err(TryLockError::Error(error)) => Err(unusable(path, &error)),
    }
}

fn lock_named(path: &Path) -> Result<File, StoreError> {
    let mut lock_path = path.as_os_str().to_owned();
    lock_path.push(".lock");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&lock_path)
        .map_err(|error| unusable(path, &error))?;
    match file.try_lock() {
        Ok(()) => {
            // Only for the message below: the lock itself is what counts.
            let written = file
                .set_len(0)
                .and_then(|()| file.write_all(std::process::id().to_string().as_bytes()));
            if let Err(error) = written {
                tracing::debug!(%error, "the lock file does not say who holds it");
            }
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => {
            let holder = std::fs::read_to_string(&lock_path).unwrap_or_default();
            let holder = match holder.trim().parse::<u32>() {
                Ok(process) => format!("process {process} on {}", path.display()),
                Err(_) => path.display().to_string(),
            };
            Err(StoreError::Locked(holder))
        }
        Err(TryLockError::Error(error)) => Err(unusable(path, &error)),
    }
}

fn unusable(path: &Path, error: &std::io::Error) -> StoreError {
    StoreError::ReadOnly(format!("{}: {error}", path.display()))
}
