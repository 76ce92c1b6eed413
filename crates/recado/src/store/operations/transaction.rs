//! One transaction under way: its rows, what it counts, and what must be told after its commit.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use delivery::codes::Scope;
use delivery::hold::{NewHold, Standing};
use delivery::progress::{Pause, Progress, ProgressChange, QueueChange, Rules, Transition};
use delivery::row::{CohortRow, SenderRow};
use delivery::time::Timestamp;

use super::columns::{Cohort, CounterKey, Pausing, Total, TotalKey};
use super::rows::Rows;
use crate::secrets::Vault;
use crate::store::ResumeAfter;
use crate::store::notify::{Notice, PendingNotifications};

/// Cohorts remembered. Those of past hours are not asked for again.
const COHORTS_MAX: usize = 10_000;

/// What a database knew when it was restored or copied. What was waiting then may have left from
/// elsewhere since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Restored {
    /// The last message.
    pub(crate) message: i64,
    /// The last attempt.
    pub(crate) attempt: i64,
    /// When it knew the last thing that it knew.
    pub(crate) since: Timestamp,
}

/// What is known of restores of a database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Restores {
    /// What it knew at the last one.
    pub(crate) last: Option<Restored>,
    /// What it knew at the one before.
    pub(crate) earlier: Option<Restored>,
    /// The operator has not said yet what the last one was.
    pub(crate) is_waiting: bool,
}

impl Restores {
    /// The operator has said what has happened. After a mere move there is nothing to be looked for
    /// but what an earlier restore has left.
    fn end(&mut self, after: ResumeAfter) {
        if !std::mem::take(&mut self.is_waiting) {
            return;
        }
        match after {
            ResumeAfter::Restore => {}
            ResumeAfter::Move => self.last = self.earlier,
        }
    }
}

/// What every transaction needs besides its rows.
pub(crate) struct Shared {
    /// Seals and opens columns.
    pub(crate) vault: Vault,
    /// What facts lead to.
    pub(crate) rules: Rules,
    /// How often a server has opened the database.
    pub(crate) epoch: i64,
    /// What must be looked for before it leaves.
    restores: Mutex<Restores>,
    cohorts: Mutex<HashMap<Cohort, CohortRow>>,
}

impl Shared {
    /// Without any cohort.
    pub(crate) fn new(vault: Vault, rules: Rules, epoch: i64, restores: Restores) -> Self {
        Self {
            vault,
            rules,
            epoch,
            restores: Mutex::new(restores),
            cohorts: Mutex::default(),
        }
    }

    /// Since when a waiting message may have left from elsewhere: the database was restored, and no
    /// attempt was opened for it after that.
    pub(crate) fn may_have_left_since(&self, progress: &Progress) -> Option<Timestamp> {
        let restored = self.restores().last?;
        let is_older = progress.message.0 <= restored.message
            && progress
                .attempt
                .is_none_or(|attempt| attempt.0 <= restored.attempt);
        is_older.then_some(restored.since)
    }

    /// Remembers what a commit has made sure; returns what is to be told.
    pub(crate) fn committed(&self, gathered: Gathered) -> PendingNotifications {
        if !gathered.cohorts.is_empty() {
            let mut known = self.cohorts();
            if known.len() > COHORTS_MAX {
                known.clear();
            }
            known.extend(gathered.cohorts);
        }
        if let Some(after) = gathered.resumed {
            self.restores().end(after);
        }
        gathered.pending
    }

    fn restores(&self) -> MutexGuard<'_, Restores> {
        self.restores.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cohorts(&self) -> MutexGuard<'_, HashMap<Cohort, CohortRow>> {
        // A panic while the lock was held has been reported; a map of numbers stays usable.
        self.cohorts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One transaction. It may be run again from its beginning, so it tells nobody anything: what is to
/// be told waits in `pending` for the commit.
pub(crate) struct Transaction<'a, R> {
    /// Its rows.
    pub(crate) rows: R,
    /// What all transactions share.
    pub(crate) shared: &'a Shared,
    /// What is to be told after the commit.
    pub(crate) pending: PendingNotifications,
    /// The operator has said what a restore was; the first word counts.
    pub(crate) resumed: Option<ResumeAfter>,
    counts: HashMap<CounterKey, i64>,
    queued: BTreeMap<SenderRow, i64>,
    cohorts: HashMap<Cohort, CohortRow>,
    /// Kept for its memory between facts.
    change: ProgressChange,
}

/// What a transaction has gathered for the time after its commit.
pub(crate) struct Gathered {
    pending: PendingNotifications,
    cohorts: HashMap<Cohort, CohortRow>,
    resumed: Option<ResumeAfter>,
}

/// What a fact leads to beyond its own message. The verb acts on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub(crate) struct Consequences {
    /// A delivery has proven the address variant of the reported attempt.
    pub(crate) variant_proven: bool,
    /// The sender or the account must be paused.
    pub(crate) pause: Option<Pause>,
    /// A hold begins.
    pub(crate) hold: Option<NewHold>,
    /// That the message met this code is to be kept as evidence.
    pub(crate) evidence: Option<u32>,
    /// The person must be suppressed.
    pub(crate) suppress_person: bool,
    /// The code of the last event.
    pub(crate) code: Option<u32>,
}

/// When a fact happens, and what chance and the person's record say.
#[derive(Clone, Copy)]
pub(crate) struct TransitionInput {
    /// When.
    pub(crate) now: Timestamp,
    /// 64 random bits, for jitter.
    pub(crate) random: u64,
    /// Whether the other variant of the person's address may be tried.
    pub(crate) variant_untried: bool,
    /// What is known about the code of the fact, where it matters.
    pub(crate) standing: Standing,
}

impl TransitionInput {
    /// The input at a time when no new attempt is decided, so that neither chance nor variants
    /// matter.
    pub(crate) fn at(now: Timestamp) -> Self {
        Self {
            now,
            random: 0,
            variant_untried: false,
            standing: Standing::default(),
        }
    }
}

impl<'a, R: Rows> Transaction<'a, R> {
    /// A transaction in which nothing has happened.
    pub(crate) fn new(rows: R, shared: &'a Shared) -> Self {
        Self {
            rows,
            shared,
            pending: PendingNotifications::default(),
            resumed: None,
            counts: HashMap::new(),
            queued: BTreeMap::new(),
            cohorts: HashMap::new(),
            change: ProgressChange::default(),
        }
    }

    /// Drops what an abandoned run has gathered.
    #[cfg(feature = "sheet")]
    pub(crate) fn restart(&mut self) {
        self.pending = PendingNotifications::default();
        self.resumed = None;
        self.counts.clear();
        self.queued.clear();
        self.cohorts.clear();
    }

    /// Works a fact into a progress and writes everything it changes.
    pub(crate) fn apply<T>(
        &mut self,
        progress: &mut Progress,
        input: TransitionInput,
        fact: impl FnOnce(&mut Transition<'_>) -> T,
    ) -> Result<(T, Consequences), R::Error> {
        let mut change = std::mem::take(&mut self.change);
        change.clear();
        let due_before = progress.due_at;
        let value = fact(&mut Transition {
            progress,
            change: &mut change,
            rules: &self.shared.rules,
            now: input.now,
            random: input.random,
            variant_untried: input.variant_untried,
            standing: input.standing,
        });
        self.write(progress, &change, due_before, input.now)?;
        let consequences = Consequences {
            variant_proven: change.variant_proven,
            pause: change.pause,
            hold: change.hold,
            evidence: change.evidence,
            suppress_person: change.suppress_person,
            code: change.events.last().and_then(|event| event.code),
        };
        self.change = change;
        Ok((value, consequences))
    }

    /// Works in a fact that concerns nothing but its own message: nobody else is to be paused or
    /// suppressed by it.
    pub(crate) fn apply_alone<T>(
        &mut self,
        progress: &mut Progress,
        input: TransitionInput,
        fact: impl FnOnce(&mut Transition<'_>) -> T,
    ) -> Result<T, R::Error> {
        let (value, consequences) = self.apply(progress, input, fact)?;
        debug_assert!(
            consequences.pause.is_none()
                && consequences.hold.is_none()
                && !consequences.suppress_person,
            "a fact about one message leads to more: {consequences:?}"
        );
        Ok(value)
    }

    fn write(
        &mut self,
        progress: &mut Progress,
        change: &ProgressChange,
        due_before: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(), R::Error> {
        let new = progress.last_event == 0;
        for event in &change.events {
            progress.last_event = self.rows.append_event(progress, event, now)?;
            self.pending.last_event = progress.last_event;
        }
        for count in &change.counts {
            let key = (count.cohort, count.metric, count.code);
            *self.counts.entry(key).or_default() += count.by;
        }
        self.write_queue(progress, change.queue, due_before)?;
        if let Some(watch) = change.watch {
            self.rows.set_watch(watch, 0)?;
            self.pending.watches = true;
        }
        if new {
            self.rows.insert_progress(progress)
        } else {
            self.rows.update_progress(progress)
        }
    }

    fn write_queue(
        &mut self,
        progress: &Progress,
        change: QueueChange,
        due_before: Option<Timestamp>,
    ) -> Result<(), R::Error> {
        if change == QueueChange::Unchanged {
            return Ok(());
        }
        if let Some(due) = due_before {
            self.rows.dequeue(progress, due)?;
            *self.queued.entry(progress.sender).or_default() -= 1;
        }
        if let QueueChange::Enqueue(due) = change {
            self.rows.enqueue(progress, due)?;
            *self.queued.entry(progress.sender).or_default() += 1;
            self.pending.queue = true;
        }
        Ok(())
    }

    /// The row of a cohort, made when it is new.
    pub(crate) fn cohort(&mut self, cohort: Cohort) -> Result<CohortRow, R::Error> {
        let known = self.shared.cohorts().get(&cohort).copied();
        if let Some(row) = known.or_else(|| self.cohorts.get(&cohort).copied()) {
            return Ok(row);
        }
        let row = match self.rows.cohort(&cohort)? {
            Some(row) => row,
            None => self.rows.insert_cohort(&cohort)?,
        };
        self.cohorts.insert(cohort, row);
        Ok(row)
    }

    /// The number of a template, made when it is new; 0 for none.
    pub(crate) fn template(&mut self, content_sid: Option<&str>) -> Result<i64, R::Error> {
        let Some(content_sid) = content_sid else {
            return Ok(0);
        };
        match self.rows.template(content_sid)? {
            Some(number) => Ok(number),
            None => self.rows.insert_template(content_sid),
        }
    }

    /// Pauses the sender or the account when a fact asks for it; returns whether anybody was not
    /// paused already.
    pub(crate) fn pause_for(
        &mut self,
        sender: SenderRow,
        consequences: &Consequences,
        now: Timestamp,
    ) -> Result<bool, R::Error> {
        let Some(pause) = consequences.pause else {
            return Ok(false);
        };
        let whom = match pause.scope {
            Scope::Account => Pausing::All,
            _ => Pausing::One(sender),
        };
        let code = pause
            .code
            .map_or_else(|| "unlisted".to_owned(), |code| code.to_string());
        let senders = self.rows.pause(whom, &code, pause.source, now)?;
        if senders > 0 {
            self.pending.notices.push(Notice::Paused { code, senders });
        }
        Ok(senders > 0)
    }

    /// Writes what was counted, once for each counter.
    pub(crate) fn flush_counts(&mut self) -> Result<(), R::Error> {
        let mut counts: Vec<(CounterKey, i64)> =
            self.counts.drain().filter(|(_, by)| *by != 0).collect();
        counts
            .sort_unstable_by_key(|((cohort, metric, code), _)| (*cohort, metric.number(), *code));
        let mut totals: BTreeMap<TotalKey, i64> = BTreeMap::new();
        for ((_, metric, code), by) in &counts {
            if let Some(total) = Total::of(*metric) {
                *totals.entry((total, *code)).or_default() += by;
            }
        }
        for (sender, by) in std::mem::take(&mut self.queued) {
            totals.insert((Total::Queued, sender.0), by);
        }
        let totals: Vec<_> = totals.into_iter().filter(|(_, by)| *by != 0).collect();
        self.rows.add_counts(&counts)?;
        self.rows.add_totals(&totals)
    }

    /// What waits for the commit.
    pub(crate) fn gathered(self) -> Gathered {
        Gathered {
            pending: self.pending,
            cohorts: self.cohorts,
            resumed: self.resumed,
        }
    }
}
