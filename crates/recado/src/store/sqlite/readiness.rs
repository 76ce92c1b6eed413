//! Whether commits go through, by what the last ones showed. Asking costs nothing, so that those who
//! need no API key may ask.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::store::StoreError;

/// A commit that takes longer than this does not go through.
const COMMIT_MAX: Duration = Duration::from_secs(10);
/// A store without a commit for so long is tried.
const IDLE_MAX: Duration = Duration::from_secs(5);

/// What the last commits showed.
pub(super) struct Readiness(Mutex<Last>);

struct Last {
    /// Since when a commit is under way.
    begun: Option<Instant>,
    /// When a commit went through last; at first, the opening.
    stored: Instant,
    /// Why none goes through now.
    failure: Option<StoreError>,
    /// The last request failed for a reason that may be its own or that of the disk.
    doubtful: bool,
}

impl Readiness {
    /// The opening of the database has just committed.
    pub(super) fn new() -> Self {
        Self(Mutex::new(Last {
            begun: None,
            stored: Instant::now(),
            failure: None,
            doubtful: false,
        }))
    }

    /// A transaction begins.
    pub(super) fn begins(&self) {
        self.last().begun = Some(Instant::now());
    }

    /// A transaction that changed nothing has ended.
    pub(super) fn ended(&self) {
        self.last().begun = None;
    }

    /// A commit went through.
    pub(super) fn stored(&self) {
        let mut last = self.last();
        last.begun = None;
        last.stored = Instant::now();
        last.failure = None;
        last.doubtful = false;
    }

    /// A request could not be stored.
    pub(super) fn failed(&self, error: &StoreError) {
        let mut last = self.last();
        last.begun = None;
        match error {
            StoreError::Full | StoreError::ReadOnly(_) | StoreError::Corrupt(_) => {
                last.failure = Some(error.clone());
            }
            StoreError::Busy
            | StoreError::DecryptError
            | StoreError::Locked(_)
            | StoreError::OtherProgram
            | StoreError::OtherAccount
            | StoreError::OtherVersion { .. }
            | StoreError::Closed
            | StoreError::Engine(_) => last.doubtful = true,
        }
    }

    /// A commit that changes nothing did not go through, whatever the reason.
    pub(super) fn probe_failed(&self, error: StoreError) {
        self.last().failure = Some(error);
    }

    /// Whether it takes a commit to know: after a failure, or when there was none for a while.
    pub(super) fn needs_probe(&self) -> bool {
        let last = self.last();
        last.failure.is_some() || last.doubtful || last.stored.elapsed() >= IDLE_MAX
    }

    /// Whether commits go through.
    ///
    /// # Errors
    /// Why they do not.
    pub(super) fn verdict(&self) -> Result<(), StoreError> {
        let last = self.last();
        match (&last.failure, last.begun) {
            (Some(failure), _) => Err(failure.clone()),
            (None, Some(begun)) if begun.elapsed() > COMMIT_MAX => Err(StoreError::Busy),
            (None, _) => Ok(()),
        }
    }

    /// A panic while the lock was held has been reported; times stay usable.
    fn last(&self) -> MutexGuard<'_, Last> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_until_a_commit_goes_through() {
        let readiness = Readiness::new();
        assert!(readiness.verdict().is_ok() && !readiness.needs_probe());
        readiness.begins();
        readiness.failed(&StoreError::Full);
        assert!(matches!(readiness.verdict(), Err(StoreError::Full)));
        assert!(readiness.needs_probe());
        readiness.stored();
        assert!(readiness.verdict().is_ok() && !readiness.needs_probe());
    }

    #[test]
    fn one_bad_request_makes_nobody_unready_but_is_looked_into() {
        let readiness = Readiness::new();
        readiness.failed(&StoreError::DecryptError);
        assert!(readiness.verdict().is_ok());
        assert!(readiness.needs_probe());
        readiness.probe_failed(StoreError::Engine("input/output error".to_owned()));
        assert!(readiness.verdict().is_err());
    }

    #[test]
    fn a_commit_that_hangs_does_not_go_through() {
        let readiness = Readiness::new();
        readiness.begins();
        assert!(readiness.verdict().is_ok());
        readiness.last().begun = Instant::now().checked_sub(COMMIT_MAX * 2);
        assert!(matches!(readiness.verdict(), Err(StoreError::Busy)));
        readiness.stored();
        assert!(readiness.verdict().is_ok());
    }
}
