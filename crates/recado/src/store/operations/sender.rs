//! Senders, paused and resumed by the operator's word.

use delivery::time::Timestamp;

use super::rows::Rows;
use super::transaction::Transaction;
use super::verb::Verb;

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
