//! What people said about receiving messages.

use delivery::address::Address;
use delivery::time::Timestamp;

use super::SqliteStore;
use super::statements::Statements;
use crate::store::operations::consent::{SetConsent, consent_view};
use crate::store::operations::rows::PersonRows;
use crate::store::person::blind_index;
use crate::store::{ConsentView, Consents, StoreFuture};

impl Consents for SqliteStore {
    fn consent(&self, address: Address) -> StoreFuture<'_, Option<ConsentView>> {
        Box::pin(async move {
            let index = blind_index(&self.shared.vault, &address);
            self.read(|db| {
                let person = Statements { db }.person_of(&index)?;
                Ok(person.map(|person| consent_view(&person, 0)))
            })
            .await
        })
    }

    fn set_consent(
        &self,
        address: Address,
        opted_out: bool,
        now: Timestamp,
    ) -> StoreFuture<'_, ConsentView> {
        Box::pin(self.writer.run(SetConsent {
            address,
            opted_out,
            now,
        }))
    }
}
