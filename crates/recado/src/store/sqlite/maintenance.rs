//! What is done by time alone.

use delivery::time::Timestamp;

use super::SqliteStore;
use crate::store::operations::maintenance::Maintain;
use crate::store::{Health, Maintenance, MaintenanceResult, StoreFuture};

impl Maintenance for SqliteStore {
    fn maintain(&self, now: Timestamp) -> StoreFuture<'_, MaintenanceResult> {
        Box::pin(self.writer.run(Maintain { now }))
    }

    fn probe_when_idle(&self) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            if self.writer.readiness.needs_probe() {
                self.probe().await
            } else {
                Ok(())
            }
        })
    }
}
