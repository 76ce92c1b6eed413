//! What is done by time alone.

use delivery::departure::due_after_clock_step;
use delivery::progress::Watch;
use delivery::time::Timestamp;

use super::SqliteStore;
use super::account;
use super::counter;
use super::event::newest_at;
use super::hold::holds_later;
use super::queue::due_later;
use super::watch::watches_later;
use crate::store::operations::columns::HoldStep;
use crate::store::operations::maintenance::{
    FollowClock, ForgetZeroCounts, Maintain, NoteClock, Retain,
};
use crate::store::{
    ClockNote, ClockStep, ClockStepCursor, ClockStepResult, Health, Maintenance, MaintenanceResult,
    RetentionQuery, RetentionResult, StoreError, StoreFuture, ZeroCountQuery, ZeroCountResult,
};

/// Rows of each table that one commit moves.
const CLOCK_STEP_ROWS_MAX: usize = 500;

impl Maintenance for SqliteStore {
    fn maintain(&self, now: Timestamp) -> StoreFuture<'_, MaintenanceResult> {
        let in_doubt = false;
        Box::pin(self.writer.run(Maintain { now, in_doubt }))
    }

    fn maintain_in_doubt(&self, now: Timestamp) -> StoreFuture<'_, MaintenanceResult> {
        let in_doubt = true;
        Box::pin(self.writer.run(Maintain { now, in_doubt }))
    }

    fn note_clock(&self, note: ClockNote) -> StoreFuture<'_, ()> {
        Box::pin(self.writer.run(NoteClock(note)))
    }

    fn noted_clock(&self) -> StoreFuture<'_, Option<ClockNote>> {
        Box::pin(self.read(account::noted_clock))
    }

    fn retain(&self, query: RetentionQuery) -> StoreFuture<'_, RetentionResult> {
        Box::pin(self.writer.run(Retain(query)))
    }

    fn forget_zero_counts(&self, query: ZeroCountQuery) -> StoreFuture<'_, ZeroCountResult> {
        Box::pin(async move {
            let young = query.before.hour()..=query.now.hour();
            let found = self
                .read_long(&self.readers.work, move |db, _| {
                    counter::zero_counts(db, query.after, &young)
                })
                .await?;
            if !found.counts.is_empty() {
                self.writer.run(ForgetZeroCounts(found.counts)).await?;
            }
            Ok(found.walked)
        })
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

    fn newest_event_at(&self) -> StoreFuture<'_, Option<Timestamp>> {
        Box::pin(self.read(newest_at))
    }

    fn follow_clock(&self, step: ClockStep) -> StoreFuture<'_, ClockStepResult> {
        Box::pin(self.follow(step))
    }
}

impl SqliteStore {
    async fn follow(&self, step: ClockStep) -> Result<ClockStepResult, StoreError> {
        let ClockStep { now, by, from } = step;
        let read = self
            .read_long(&self.readers.work, move |db, _| {
                let messages = due_later(db, now, from.queue, CLOCK_STEP_ROWS_MAX)?;
                let watches = watches_later(db, now, from.watch, CLOCK_STEP_ROWS_MAX)?;
                let holds = holds_later(db, now, from.hold, CLOCK_STEP_ROWS_MAX)?;
                Ok((messages, watches, holds))
            })
            .await?;
        let (messages, watches, holds) = read;
        let more = messages.len().max(watches.len()).max(holds.len()) >= CLOCK_STEP_ROWS_MAX;
        let next = more.then(|| ClockStepCursor {
            queue: messages.last().map_or(from.queue, |last| last.key),
            watch: watches.last().map_or(from.watch, |last| {
                [last.watch.at.micros(), last.watch.attempt.0]
            }),
            // Those that begin from now on are of the new time.
            hold: match holds.last() {
                Some((last, _)) if holds.len() >= CLOCK_STEP_ROWS_MAX => last.0,
                _ => i64::MAX,
            },
        });
        let verb = FollowClock {
            messages: messages
                .iter()
                .filter_map(|later| {
                    let new = due_after_clock_step(later.due_at, later.send_at, by)?;
                    Some((later.message, later.due_at, new))
                })
                .collect(),
            watches: watches
                .iter()
                .map(|later| {
                    let at = later.watch.at;
                    let watch = Watch {
                        at: at.minus(by),
                        ..later.watch
                    };
                    (at, watch, later.polls)
                })
                .collect(),
            holds: holds
                .iter()
                .map(|&(hold, ends_at)| (hold, HoldStep { ends_at, by }))
                .collect(),
        };
        let nothing = verb.messages.is_empty() && verb.watches.is_empty() && verb.holds.is_empty();
        let moved = if nothing {
            0
        } else {
            self.writer.run(verb).await?
        };
        Ok(ClockStepResult { moved, next })
    }
}
