//! Chores: deadlines that passed, questions that were not answered, rows that have served.

use std::time::Duration;

use delivery::consent::{Consent, ConsentKind};
use delivery::event::Source;
use delivery::limits::CONSENT_ANSWER_MAX;
use delivery::time::Timestamp;
use rusqlite::params;

use super::SqliteStore;
use super::context::{Context, TransitionInput};
use super::person::ConsentCause;
use crate::store::{MaintenanceResult, StoreError};

/// Rows that one run changes, so that no commit takes long.
const RUN_MAX: i64 = 500;
/// How long an idempotency key is kept.
const IDEMPOTENCY_AGE_MAX: Duration = Duration::from_secs(7 * 24 * 3_600);
/// How long a report waits for somebody to know its message.
const PARKED_AGE_MAX: Duration = Duration::from_secs(24 * 3_600);

impl SqliteStore {
    pub(super) async fn run_maintenance(
        &self,
        now: Timestamp,
    ) -> Result<MaintenanceResult, StoreError> {
        self.writer.run(move |context| context.maintain(now)).await
    }
}

impl Context<'_> {
    fn maintain(&mut self, now: Timestamp) -> rusqlite::Result<MaintenanceResult> {
        let mut result = MaintenanceResult::default();
        let expired = self.keys(
            "SELECT message_id FROM progress WHERE due_at IS NOT NULL AND expires_at IS NOT NULL \
             AND expires_at <= ?1 LIMIT ?2",
            now.micros(),
        )?;
        for message in &expired {
            if let Some(mut progress) = self.progress(*message)? {
                let done = self.apply(&mut progress, TransitionInput::at(now), |transition| {
                    transition.expire()
                })?;
                result.expired += u64::from(done);
            }
        }
        let asking = format!(
            "SELECT id FROM person WHERE consent = {} AND consent_at <= ?1 LIMIT ?2",
            ConsentKind::Asking.number()
        );
        let unanswered = self.keys(&asking, now.minus(CONSENT_ANSWER_MAX).micros())?;
        for person in &unanswered {
            let cause = ConsentCause {
                source: Source::Recipient,
                now,
                inbound: None,
                message: None,
                code: None,
            };
            self.change_consent(*person, Consent::OptedOut, cause)?;
            result.opted_out += 1;
        }
        result.pruned = self.prune(now)?;
        let limit = usize::try_from(RUN_MAX).unwrap_or(usize::MAX);
        let full = |n: usize| n >= limit;
        result.more = full(expired.len())
            || full(unanswered.len())
            || result.pruned >= RUN_MAX.unsigned_abs();
        Ok(result)
    }

    fn prune(&self, now: Timestamp) -> rusqlite::Result<u64> {
        let keys = self
            .db
            .prepare_cached(
                "DELETE FROM idempotency WHERE key IN (SELECT key FROM idempotency \
                 WHERE created_at <= ?1 LIMIT ?2)",
            )?
            .execute(params![now.minus(IDEMPOTENCY_AGE_MAX).micros(), RUN_MAX])?;
        let parked = self
            .db
            .prepare_cached(
                "DELETE FROM parked_report WHERE (sid, status, code) IN (SELECT sid, status, code \
                 FROM parked_report WHERE received_at <= ?1 LIMIT ?2)",
            )?
            .execute(params![now.minus(PARKED_AGE_MAX).micros(), RUN_MAX])?;
        Ok(u64::try_from(keys + parked).unwrap_or(u64::MAX))
    }

    fn keys(&self, sql: &str, before: i64) -> rusqlite::Result<Vec<i64>> {
        let mut statement = self.db.prepare_cached(sql)?;
        statement
            .query_map(params![before, RUN_MAX], |row| row.get(0))?
            .collect()
    }
}
