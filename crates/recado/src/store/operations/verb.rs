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

/// Does the same for each item of a batch. The first error ends it, unless the rows want to know what
/// the other items miss.
pub(crate) fn each<R: Rows, I, T>(
    transaction: &mut Transaction<'_, R>,
    items: &[I],
    mut operation: impl FnMut(&mut Transaction<'_, R>, &I) -> Result<T, R::Error>,
) -> Result<Vec<T>, R::Error> {
    let mut results = Vec::with_capacity(items.len());
    let mut first = None;
    for item in items {
        match operation(transaction, item) {
            Ok(result) => results.push(result),
            Err(error) if first.is_none() && !R::goes_on_after(&error) => return Err(error),
            // What comes after the first error ran on what was half done.
            Err(error) => {
                first.get_or_insert(error);
            }
        }
    }
    first.map_or(Ok(results), Err)
}
