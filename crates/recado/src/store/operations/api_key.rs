//! Keys of the API, made and revoked.

use delivery::time::Timestamp;

use super::rows::Rows;
use super::transaction::Transaction;
use super::verb::Verb;
use crate::store::NewApiKey;

/// Stores a new key.
pub(crate) struct CreateApiKey(pub(crate) NewApiKey);

impl Verb for CreateApiKey {
    type Answer = ();

    fn run<R: Rows>(&self, transaction: &mut Transaction<'_, R>) -> Result<(), R::Error> {
        transaction.rows.insert_api_key(&self.0)
    }
}

/// Revokes a key.
pub(crate) struct RevokeApiKey {
    /// Its public id.
    pub(crate) id: String,
    /// Now.
    pub(crate) now: Timestamp,
}

impl Verb for RevokeApiKey {
    type Answer = bool;

    fn run<R: Rows>(&self, transaction: &mut Transaction<'_, R>) -> Result<bool, R::Error> {
        transaction.rows.revoke_api_key(&self.id, self.now)
    }
}
