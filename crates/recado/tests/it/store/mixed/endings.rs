//! What ends or takes back something: findings about attempts, callbacks that contradict them, commands
//! to many messages, and the removal of what is old.

use std::fmt::Write;
use std::sync::Arc;

use delivery::absence::Proof;
use delivery::outcome::ProviderStatus;
use delivery::progress::WatchKind;
use delivery::sid::Sid;
use delivery::state::State;
use recado::store::{
    AttemptId, CommandCondition, DueWatch, Finding, Maintenance, MessageCommand, MessageId,
    Messages, RetentionCursor, RetentionQuery, Settlement, WatchQuery, Watches,
};

use super::{Mixer, Step, outcome};
use crate::store::fixture::{DAY, MINUTE};

impl Mixer {
    /// Answers a watch.
    pub(super) fn settle(&self, watch: &DueWatch, finding: Finding) -> Step<'static> {
        let settlement = Settlement {
            watch: (watch.at, watch.attempt),
            finding,
            next: None,
            postponed: None,
            stamp: self.stamp(),
        };
        let store = Arc::clone(&self.store);
        Box::pin(async move { format!("{:?}", store.settle(vec![settlement]).await.unwrap()) })
    }

    /// The first watch that is due.
    pub(super) async fn watch(&self) -> Option<DueWatch> {
        for kind in [WatchKind::Unknown, WatchKind::Silent] {
            let query = WatchQuery {
                now: self.now,
                kind,
                limit: 1,
            };
            let due = self.store.due_watches(query).await.unwrap().pop();
            if due.is_some() {
                return due;
            }
        }
        None
    }

    /// Closes what is open, and looks for what ended as unknown; a callback may know better.
    pub(super) async fn conclude(&mut self, sids: &mut Vec<Sid>) {
        let mut steps = Vec::new();
        let opened = self.opened();
        for attempt in opened.iter().skip(self.closed) {
            let sid = self.sid();
            sids.push(sid);
            steps.push(self.close(attempt.row, outcome(self, sid)));
        }
        self.closed = opened.len();
        steps.push(self.maintain());
        self.together(steps).await;
        self.now = self.now.plus(MINUTE);
        for _ in 0..4 {
            if let Some(watch) = self.watch().await {
                let finding = self.finding(sids);
                let settle = self.settle(&watch, finding);
                self.together(vec![settle]).await;
                if let Finding::Found { .. } = finding {
                    let other = self.sid();
                    sids.push(other);
                    let known = opened.iter().find(|known| known.row == watch.attempt);
                    let own =
                        self.report_of(known.copied(), other, ProviderStatus::Delivered, None);
                    let claim = self.claim(sids);
                    let steps = [own, claim].into_iter().skip(self.random.below(3));
                    let mut steps: Vec<_> = steps.collect();
                    steps.push(self.maintain());
                    self.together(steps).await;
                }
            }
        }
    }

    /// Every attempt that was opened, oldest first.
    fn opened(&self) -> Vec<AttemptId> {
        let mut opened = self.opened.lock().unwrap().clone();
        opened.sort_by_key(|attempt| attempt.row);
        opened
    }

    /// What is found about an unknown attempt.
    pub(super) fn finding(&mut self, sids: &mut Vec<Sid>) -> Finding {
        match self.random.below(4) {
            0 => Finding::HorizonPassed(None),
            1 => Finding::Absent(Proof::default()),
            _ => {
                let sid = self.sid();
                sids.push(sid);
                Finding::Found {
                    sid,
                    status: ProviderStatus::Sent,
                    code: None,
                }
            }
        }
    }

    /// The callback of an attempt names a message that was perhaps thought to be another's: then what
    /// was concluded from the list is taken back.
    pub(super) fn claim(&self, sids: &[Sid]) -> Step<'static> {
        let opened = self.opened();
        let last = opened.len().saturating_sub(8);
        let attempt = opened.get(last + self.random.below(8)).copied();
        let sid = sids[sids.len() - 1 - self.random.below(sids.len().min(8))];
        self.report_of(attempt, sid, ProviderStatus::Sent, None)
    }

    /// A command to some messages, if they are still in a state.
    pub(super) fn command_if(&self, ids: &[MessageId]) -> Step<'static> {
        let some = (0..3).map(|_| ids[self.random.below(ids.len())]).collect();
        let states = [State::Held, State::Unknown, State::Failed, State::Scheduled];
        let condition = CommandCondition {
            state: states[self.random.below(4)],
            error: None,
            since: None,
            until: (self.random.below(2) == 0).then_some(self.now),
        };
        let command = [MessageCommand::Cancel, MessageCommand::Retry][self.random.below(2)];
        let (store, now) = (Arc::clone(&self.store), self.now);
        Box::pin(async move {
            let done = store.command_if(some, command, condition, now).await;
            format!("if {:?}", done.unwrap())
        })
    }

    /// Long after: every watch ends, and what is old is removed. Some callbacks come after all.
    pub(super) async fn end(&mut self, sids: &[Sid]) {
        self.now = self.now.plus(20 * DAY);
        while let Some(watch) = self.watch().await {
            let step = self.settle(&watch, Finding::Nothing);
            self.together(vec![step]).await;
        }
        assert!(self.retain().await > 0, "something is old");
        for _ in 0..2 {
            let late = |sid: &Sid| self.report(*sid, ProviderStatus::Read, None);
            let steps = sids.iter().take(20).map(late).collect();
            self.together(steps).await;
            self.retain().await;
        }
    }

    /// One step of the removal. A commit of its own: a sheet does not see what it removes.
    async fn retain(&mut self) -> u64 {
        let query = RetentionQuery {
            before: self.now.minus(DAY),
            now: self.now,
            after: RetentionCursor::default(),
        };
        let done = self.store.retain(query).await.unwrap();
        writeln!(self.told, "{done:?}").unwrap();
        done.messages
    }
}
