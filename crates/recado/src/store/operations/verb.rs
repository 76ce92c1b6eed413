//! Verbs: what the store is asked to write, as values that a writer can run on any rows.

use super::rows::Rows;
use super::transaction::Transaction;

/// One request to the store. It may run twice: a batch that fails is rolled back, and its requests
/// run again one by one, so that one bad request does not take others with it.
pub(crate) trait Verb: Send + 'static {
    /// What it returns.
    type Answer: Send + 'static;

    /// Does it inside a transaction.
    fn run<R: Rows>(&self, transaction: &mut Transaction<'_, R>) -> Result<Self::Answer, R::Error>;
}
