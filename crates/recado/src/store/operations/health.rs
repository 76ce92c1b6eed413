//! Whether a commit goes through.

use super::rows::Rows;
use super::transaction::Transaction;
use super::verb::Verb;

/// A commit that changes nothing that matters.
pub(crate) struct Probe;

impl Verb for Probe {
    type Answer = ();

    fn run<R: Rows>(&self, transaction: &mut Transaction<'_, R>) -> Result<(), R::Error> {
        transaction.rows.probe()
    }
}
