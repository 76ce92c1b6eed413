//! What is done by time alone.

use delivery::time::Timestamp;

use super::SqliteStore;
use crate::store::operations::maintenance::Maintain;
use crate::store::{Maintenance, MaintenanceResult, StoreFuture};

impl Maintenance for SqliteStore {
    fn maintain(&self, now: Timestamp) -> StoreFuture<'_, MaintenanceResult> {
        Box::pin(self.writer.run(Maintain { now }))
    }
}
