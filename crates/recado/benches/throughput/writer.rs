//! The store alone, without HTTP: a fixed amount of work whose data, times and random bits are the
//! same each time, so that the instructions of two revisions can be compared. One call is awaited
//! before the next is made; otherwise it would be chance which calls share a commit.

mod inputs;

use std::sync::Arc;
use std::time::{Duration, Instant};

use delivery::outcome::{Outcome, ProviderStatus};
use delivery::progress::WatchKind;
use delivery::row::{MessageRow, SenderRow};
use delivery::sid::Sid;
use recado::store::sqlite::SqliteStore;
use recado::store::{
    AcceptResult, AttemptId, CloseRequest, Consents, CounterGroup, CounterQuery, Counters,
    DueQuery, DueWatch, Events, Finding, Health, Inbounds, Maintenance, MessageCommand,
    MessageFilter, MessageId, Messages, NextWatch, OpenRequest, OpenResult, Queue, Reports,
    Senders, Settlement, Stamp, WatchQuery, Watches,
};

use self::inputs::{Inputs, SENDERS, START, Seeded, address};
use super::setup::{Folder, open_store_with, random_sid};

/// Items of one call.
const BATCH: usize = 100;
/// Inbound messages of one call.
const INBOUND_BATCH: usize = 20;
const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// How much work.
struct Size {
    messages: usize,
    attempts: usize,
    reports: usize,
    inbound: usize,
    /// Commands of each kind, changes of consent, messages that are looked at.
    singles: usize,
}

const FULL: Size = Size {
    messages: 3_000,
    attempts: 2_000,
    reports: 6_000,
    inbound: 300,
    singles: 100,
};
const ONCE: Size = Size {
    messages: 300,
    attempts: 200,
    reports: 600,
    inbound: 40,
    singles: 10,
};

/// The store and what later parts need of earlier ones.
struct Workload {
    store: SqliteStore,
    inputs: Inputs,
    size: Size,
    senders: Vec<SenderRow>,
    accepted: Vec<MessageId>,
    sent: Vec<(AttemptId, Sid)>,
}

/// Runs every part once and prints its rate.
pub(crate) fn measure(once: bool) {
    // One thread, so that nothing but the store's own threads depends on the scheduler.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let folder = Folder::new();
        let mut work = Workload::new(&folder, if once { ONCE } else { FULL }).await;
        println!("the store alone, one call at a time");
        timed("messages", work.accept()).await;
        timed("attempts, opened and closed", work.attempts()).await;
        timed("reports", work.reports()).await;
        timed("inbound messages", work.inbound()).await;
        timed("watches settled", work.settle()).await;
        timed("commands", work.commands()).await;
        timed("deferrals", work.defer()).await;
        timed("changes of consent and pauses", work.parties()).await;
        timed("messages and events read", work.reads()).await;
        timed("messages, keys and reports cleared away", work.maintain()).await;
        let report = work.store.verify().await.unwrap();
        assert_eq!(report.differences, Vec::<String>::new());
    });
}

async fn timed(what: &str, part: impl Future<Output = usize>) {
    let start = Instant::now();
    let count = part.await;
    let seconds = start.elapsed().as_secs_f64();
    println!("  {count:>5} {what}: {:.0}/s", count as f64 / seconds);
    assert!(count > 0, "there were no {what}");
}

impl Workload {
    async fn new(folder: &Folder, size: Size) -> Self {
        let store = open_store_with(folder, Arc::new(Seeded::new(1)), &SENDERS, START);
        let senders = store.senders().await.unwrap();
        Self {
            senders: senders.iter().map(|sender| sender.row).collect(),
            store,
            inputs: Inputs::new(),
            size,
            accepted: Vec::new(),
            sent: Vec::new(),
        }
    }

    /// New messages, a third of them to people who have one, and then some requests repeated.
    async fn accept(&mut self) -> usize {
        let people = self.size.messages * 2 / 3;
        for start in (0..self.size.messages).step_by(BATCH) {
            let batch = (start..start + BATCH)
                .map(|n| self.inputs.message(n, people))
                .collect();
            for result in self.store.accept(batch).await.unwrap() {
                if let AcceptResult::Accepted { id, .. } = result {
                    self.accepted.push(id);
                }
            }
            self.inputs.pass(SECOND);
        }
        assert_eq!(self.accepted.len(), self.size.messages);
        let repeated = (0..BATCH)
            .map(|n| self.inputs.repeated(n, people))
            .collect();
        let results = self.store.accept(repeated).await.unwrap();
        let accepted = |result: &AcceptResult| matches!(result, AcceptResult::Accepted { .. });
        assert!(!results.iter().any(accepted));
        self.size.messages + results.len()
    }

    async fn attempts(&mut self) -> usize {
        let mut opened = 0;
        while opened < self.size.attempts {
            let before = opened;
            for sender in self.senders.clone() {
                let limit = BATCH.min(self.size.attempts - opened);
                opened += self.attempt_batch(sender, opened, limit).await;
            }
            assert!(opened > before, "too few messages are due");
            self.inputs.pass(SECOND);
        }
        opened
    }

    /// Opens attempts for what is due and closes them, with a few reports that come before.
    async fn attempt_batch(&mut self, sender: SenderRow, first: usize, limit: usize) -> usize {
        let now = self.inputs.now;
        let due = self.due(sender, limit).await;
        let requests = due
            .iter()
            .map(|message| OpenRequest {
                message: *message,
                stamp: Stamp {
                    now,
                    random: self.inputs.bits(),
                },
            })
            .collect();
        let results = self.store.open_attempts(requests).await.unwrap();
        let mut closes = Vec::new();
        let mut early = Vec::new();
        for result in results {
            let OpenResult::Open(open) = result else {
                continue;
            };
            let n = first + closes.len();
            let outcome = self.inputs.outcome(n);
            if let Outcome::Sent { sid, .. } = outcome {
                self.sent.push((open.attempt, sid));
                if n % 20 == 19 {
                    early.push(self.inputs.report(None, sid, ProviderStatus::Sent));
                }
            }
            closes.push(CloseRequest {
                attempt: open.attempt.row,
                outcome,
                stamp: Stamp {
                    now,
                    random: self.inputs.bits(),
                },
            });
        }
        let opened = closes.len();
        self.store.report(early).await.unwrap();
        self.store.close_attempts(closes).await.unwrap();
        opened
    }

    async fn due(&self, sender: SenderRow, limit: usize) -> Vec<MessageRow> {
        let query = DueQuery {
            sender,
            now: self.inputs.now,
            limit,
            urgent_only: false,
        };
        let page = self.store.due(query).await.unwrap();
        page.due.iter().map(|due| due.message).collect()
    }

    /// Every sent message becomes sent, then each delivered, then each read; what is left of the
    /// number repeats these.
    async fn reports(&mut self) -> usize {
        let all: Vec<(usize, usize)> = (0..self.size.reports)
            .map(|k| (k % self.sent.len(), k / self.sent.len()))
            .collect();
        for batch in all.chunks(BATCH) {
            let batch = batch
                .iter()
                .map(|(n, round)| self.inputs.report_of_round(*n, *round, self.sent[*n]))
                .collect();
            self.store.report(batch).await.unwrap();
            self.inputs.pass(SECOND);
        }
        all.len()
    }

    async fn inbound(&mut self) -> usize {
        for start in (0..self.size.inbound).step_by(INBOUND_BATCH) {
            let batch = (start..start + INBOUND_BATCH)
                .map(|n| self.inputs.inbound(n, self.sent[n].1))
                .collect();
            self.store.inbound(batch).await.unwrap();
            self.inputs.pass(SECOND);
        }
        self.size.inbound
    }

    /// Looks at what is unknown or silent: nothing at first, then some are found.
    async fn settle(&mut self) -> usize {
        let mut settled = 0;
        for _ in 0..3 {
            self.inputs.pass(Duration::from_secs(20 * 60));
            let mut due = Vec::new();
            for kind in [WatchKind::Unknown, WatchKind::Silent] {
                let query = WatchQuery {
                    now: self.inputs.now,
                    kind,
                    limit: self.size.attempts,
                };
                due.extend(self.store.due_watches(query).await.unwrap());
            }
            let sids = due.iter().filter_map(|watch| watch.sid).collect();
            self.store.holders(sids).await.unwrap();
            for batch in due.chunks(BATCH) {
                let batch = batch.iter().map(|watch| self.settlement(watch)).collect();
                self.store.settle(batch).await.unwrap();
            }
            settled += due.len();
        }
        settled
    }

    fn settlement(&self, watch: &DueWatch) -> Settlement {
        let now = self.inputs.now;
        let again = NextWatch {
            at: now.plus(SECOND),
            kind: watch.kind,
            polls: watch.polls + 1,
        };
        let found = |sid: Sid| Finding::Found {
            sid,
            status: ProviderStatus::Delivered,
            code: None,
        };
        let (finding, next) = match (watch.kind, watch.sid) {
            _ if watch.polls == 0 => (Finding::Nothing, Some(again)),
            (WatchKind::Unknown, _) if watch.attempt.0 % 2 == 0 => {
                (Finding::HorizonPassed(None), None)
            }
            (WatchKind::Unknown, _) => {
                let random = Seeded::new(watch.attempt.0.unsigned_abs());
                (found(random_sid(&random)), None)
            }
            (WatchKind::Silent, Some(sid)) => (found(sid), None),
            (WatchKind::Silent, None) => (Finding::Nothing, None),
        };
        Settlement {
            watch: (watch.at, watch.attempt),
            finding,
            next,
            postponed: None,
            stamp: Stamp {
                now,
                random: self.inputs.bits(),
            },
        }
    }

    /// Cancels the latest messages and retries the first, one in a call, as people do.
    async fn commands(&mut self) -> usize {
        let latest = self
            .accepted
            .iter()
            .rev()
            .map(|id| (*id, MessageCommand::Cancel));
        let first = self.accepted.iter().map(|id| (*id, MessageCommand::Retry));
        let commands: Vec<_> = latest
            .take(self.size.singles)
            .chain(first.take(self.size.singles))
            .collect();
        for command in &commands {
            let now = self.inputs.now;
            self.store.command(vec![*command], now).await.unwrap();
            self.inputs.pass(SECOND);
        }
        commands.len()
    }

    async fn defer(&mut self) -> usize {
        let later = self.inputs.now.plus(Duration::from_secs(3_600));
        let mut deferred = 0;
        for sender in &self.senders {
            let due = self.due(*sender, BATCH).await;
            let batch: Vec<_> = due.iter().map(|message| (*message, later)).collect();
            deferred += batch.len();
            self.store.defer(batch).await.unwrap();
        }
        deferred
    }

    async fn parties(&mut self) -> usize {
        for n in 0..self.size.singles {
            let now = self.inputs.now;
            let person = || address(n * 7);
            self.store.consent(person()).await.unwrap();
            self.store.set_consent(person(), true, now).await.unwrap();
            if n % 2 == 0 {
                self.store.set_consent(person(), false, now).await.unwrap();
            }
            self.inputs.pass(SECOND);
        }
        for paused in [true, false] {
            for sender in SENDERS {
                let now = self.inputs.now;
                let known = self.store.pause_sender(sender.into(), paused, now).await;
                assert!(known.unwrap());
            }
        }
        self.size.singles * 3 / 2 + 2 * SENDERS.len()
    }

    /// Messages with their history, pages of messages and events, and the numbers.
    async fn reads(&mut self) -> usize {
        for id in self.accepted.iter().take(self.size.singles) {
            assert!(self.store.message(*id).await.unwrap().is_some());
        }
        let (mut after, mut events_read) = (0, 0);
        loop {
            let events = self.store.events(after, BATCH).await.unwrap();
            let Some(last) = events.last() else { break };
            after = last.key;
            events_read += events.len();
        }
        let filter = MessageFilter {
            limit: BATCH,
            ..MessageFilter::default()
        };
        self.store.messages(filter).await.unwrap();
        let query = CounterQuery {
            from_hour: 0,
            to_hour: i64::MAX,
            group: CounterGroup::None,
        };
        self.store.counters(query).await.unwrap();
        self.store.gauges(self.inputs.now).await.unwrap();
        self.size.singles + events_read
    }

    /// Maintenance a day later, when messages and questions have expired, and a week after that.
    async fn maintain(&mut self) -> usize {
        let mut done = 0;
        for wait in [DAY, 7 * DAY] {
            self.inputs.pass(wait);
            loop {
                let result = self.store.maintain(self.inputs.now).await.unwrap();
                done += result.expired + result.opted_out + result.pruned;
                if !result.more {
                    break;
                }
            }
        }
        self.store.next_watch().await.unwrap();
        usize::try_from(done).unwrap()
    }
}
