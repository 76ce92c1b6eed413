//! Senders, paused and resumed by the operator's word.

use delivery::time::Timestamp;

use super::rows::Rows;
use super::transaction::Transaction;
use super::verb::Verb;
use crate::store::{PAUSED_AS_RESTORED, ResumeAfter};

/// Pauses or resumes a sender.
pub(crate) struct PauseSender {
    /// Its name.
    pub(crate) name: String,
    /// Whether it is to send nothing.
    pub(crate) paused: bool,
    /// Now.
    pub(crate) now: Timestamp,
}

impl Verb for PauseSender {
    type Answer = bool;

    fn run<R: Rows>(&self, transaction: &mut Transaction<'_, R>) -> Result<bool, R::Error> {
        // Lanes look again: what waited may leave.
        transaction.pending.queue = true;
        transaction
            .rows
            .set_paused(&self.name, self.paused, self.now)
    }
}

/// Lets a restored database send again.
pub(crate) struct ResumeRestored {
    /// After what.
    pub(crate) after: ResumeAfter,
    /// Now.
    pub(crate) now: Timestamp,
}

impl Verb for ResumeRestored {
    type Answer = usize;

    fn run<R: Rows>(&self, transaction: &mut Transaction<'_, R>) -> Result<usize, R::Error> {
        transaction.pending.queue = true;
        transaction.rows.end_restore(self.after, self.now)?;
        transaction.resumed.get_or_insert(self.after);
        transaction.rows.resume_because(PAUSED_AS_RESTORED)
    }
}
