//! A lane between a queue and a provider that count what is asked of them.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard};

use delivery::address::{Address, AddressVariant, Context};
use delivery::message::{Content, Priority};
use delivery::outcome::ProviderStatus;

use super::*;
use crate::dispatch::Settings;
use crate::effects::{BoxFuture, Clock, Effects};
use crate::provider::{
    InboundListQuery, InboundPage, ListQuery, Provider, ProviderError, ProviderMedium,
    ProviderMessage,
};
use crate::store::{AttemptId, CloseResult, DuePage, MessageId, Queue, StoreFuture};

const MARIA: PersonRow = PersonRow(1);
const ANSWER: Duration = Duration::from_secs(8);

/// A clock that shows tokio's time, which the test pauses.
struct PausedClock(tokio::time::Instant);

impl Clock for PausedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_seconds(1_800_000_000).plus(self.0.elapsed())
    }

    fn monotonic(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

#[derive(Default)]
struct Counted {
    due: Vec<DueMessage>,
    /// Open attempts, and when somebody else's ends.
    open: HashMap<AttemptRow, PersonRow>,
    others_until: Option<Timestamp>,
    /// Messages whose template is held.
    held: HashSet<MessageRow>,
    ramp_since: Option<Timestamp>,
    opens: usize,
    /// Commits that open attempts or put off what is held.
    commits: usize,
    defers: usize,
    /// Messages in the order in which they left, with the time of each.
    left: Vec<(MessageRow, Timestamp)>,
}

#[derive(Default)]
struct CountingQueue(Mutex<Counted>);

impl CountingQueue {
    fn counted(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().unwrap()
    }
}

impl Queue for CountingQueue {
    fn due(&self, query: DueQuery) -> StoreFuture<'_, DuePage> {
        let counted = self.counted();
        let (mut due, ramp_since) = (counted.due.clone(), counted.ramp_since);
        drop(counted);
        due.sort_by_key(|message| (message.due_at, message.message));
        let next_due_at = due.iter().map(|m| m.due_at).find(|due| *due > query.now);
        due.retain(|message| message.due_at <= query.now);
        due.truncate(query.limit);
        let page = DuePage {
            due,
            next_due_at,
            ramp_since,
            ..DuePage::default()
        };
        Box::pin(async move { Ok(page) })
    }

    fn open_attempts(&self, batch: Vec<OpenRequest>) -> StoreFuture<'_, Vec<OpenResult>> {
        let mut counted = self.counted();
        let mut results = Vec::new();
        counted.commits += 1;
        for request in batch {
            counted.opens += 1;
            if counted.held.remove(&request.message) {
                counted.due.retain(|due| due.message != request.message);
                results.push(OpenResult::Held);
                continue;
            }
            let now = request.stamp.now;
            let person = counted
                .due
                .iter()
                .find(|due| due.message == request.message)
                .unwrap()
                .person;
            let busy = counted.open.values().any(|open| *open == person)
                || counted.others_until.is_some_and(|until| now < until);
            if busy {
                results.push(OpenResult::Busy);
                continue;
            }
            counted.due.retain(|due| due.message != request.message);
            counted.left.push((request.message, now));
            let row = AttemptRow(request.message.0);
            counted.open.insert(row, person);
            results.push(OpenResult::Open(Box::new(OpenAttempt {
                attempt: AttemptId { row, nonce: 0 },
                message: request.message,
                id: MessageId(uuid::Uuid::nil()),
                to: address(),
                variant: AddressVariant::Canonical,
                content: Content::Text {
                    body: "oi".to_owned(),
                    persistent_action: None,
                },
                expires_at: None,
            })));
        }
        Box::pin(async move { Ok(results) })
    }

    fn close_attempts(&self, batch: Vec<CloseRequest>) -> StoreFuture<'_, Vec<CloseResult>> {
        let mut counted = self.counted();
        for request in &batch {
            counted.open.remove(&request.attempt);
        }
        Box::pin(async move { Ok(vec![CloseResult::default(); batch.len()]) })
    }

    fn defer(&self, batch: Vec<(MessageRow, Timestamp)>) -> StoreFuture<'_, ()> {
        let mut counted = self.counted();
        counted.defers += 1;
        for (message, at) in batch {
            for due in counted.due.iter_mut().filter(|due| due.message == message) {
                due.due_at = at;
            }
        }
        Box::pin(async { Ok(()) })
    }

    fn put_off_held(
        &self,
        batch: Vec<MessageRow>,
        _: Timestamp,
    ) -> StoreFuture<'_, Vec<MessageRow>> {
        let mut counted = self.counted();
        counted.commits += 1;
        let is_held = |message: &MessageRow| counted.held.contains(message);
        let held: Vec<MessageRow> = batch.into_iter().filter(is_held).collect();
        counted.due.retain(|due| !held.contains(&due.message));
        Box::pin(async move { Ok(held) })
    }

    fn open_attempts_of(&self, _: PersonRow) -> StoreFuture<'_, u64> {
        unreachable!("a lane does not ask for it")
    }
}

fn address() -> Address {
    Address::parse("+5585988887777", Context::Inbound)
        .unwrap()
        .address
}

/// A provider that takes its time to answer.
struct Slow;

impl Provider for Slow {
    fn create<'a>(&'a self, _: &'a CreateRequest) -> BoxFuture<'a, Outcome> {
        Box::pin(async {
            tokio::time::sleep(ANSWER).await;
            Outcome::Sent {
                sid: Sid::parse_message("SM00000000000000000000000000000001").unwrap(),
                status: ProviderStatus::Queued,
            }
        })
    }

    fn fetch(&self, _: Sid) -> BoxFuture<'_, Result<ProviderMessage, ProviderError>> {
        unreachable!("a lane only sends")
    }

    fn list<'a>(
        &'a self,
        _: &'a ListQuery,
    ) -> BoxFuture<'a, Result<Vec<ProviderMessage>, ProviderError>> {
        unreachable!("a lane only sends")
    }

    fn list_inbound<'a>(
        &'a self,
        _: &'a InboundListQuery,
    ) -> BoxFuture<'a, Result<InboundPage, ProviderError>> {
        unreachable!("a lane only sends")
    }

    fn media(&self, _: Sid) -> BoxFuture<'_, Result<Vec<ProviderMedium>, ProviderError>> {
        unreachable!("a lane only sends")
    }
}

/// Runs one lane until nothing is left; gives what was counted, and when it began.
async fn run(messages: i64, others: Duration) -> (Counted, Timestamp) {
    run_with(None, |counted, start| {
        counted.others_until = Some(start.plus(others));
        counted.due.extend((1..=messages).map(|row| DueMessage {
            message: MessageRow(row),
            person: MARIA,
            priority: Priority::Normal,
            due_at: start.minus(Duration::from_secs(60)),
        }));
    })
    .await
}

async fn run_with(
    rate: Option<f64>,
    prepare: impl FnOnce(&mut Counted, Timestamp),
) -> (Counted, Timestamp) {
    let queue = Arc::new(CountingQueue::default());
    let clock = Arc::new(PausedClock(tokio::time::Instant::now()));
    let start = clock.now();
    prepare(&mut queue.counted(), start);
    let (changed, subscribed) = watch::channel(0);
    let (caught_up, known) = watch::channel(true);
    let dispatch = Dispatch {
        store: Arc::clone(&queue) as Arc<dyn Queue>,
        provider: Arc::new(Slow),
        effects: Effects {
            clock,
            ..Effects::real()
        },
        queue: subscribed,
        outages: watch::Sender::new(Vec::new()),
        settings: Settings {
            senders: vec![(SenderRow(1), SenderName::new("+551140000000"), rate)],
            messaging_service: None,
            person_interval: Duration::ZERO,
            clock_scale: 1,
            drain: Duration::from_secs(60),
        },
        caught_up: known,
    };
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(dispatch.run(shutdown.clone()));
    while !queue.counted().due.is_empty() {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    shutdown.cancel();
    running.await.unwrap();
    drop((changed, caught_up));
    let counted = std::mem::take(&mut *queue.counted());
    (counted, start)
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_request_to_the_same_person_costs_two_commits_and_no_time() {
    let (counted, start) = run(3, Duration::ZERO).await;
    let order: Vec<_> = counted.left.iter().map(|(message, _)| message.0).collect();
    assert_eq!(order, [1, 2, 3]);
    for (n, (_, at)) in (0_u32..).zip(&counted.left) {
        let late = at.since(start.plus(ANSWER * n));
        assert!(late < Duration::from_millis(100), "{n}: {late:?}");
    }
    assert_eq!(counted.opens, 3, "nobody asks while a request is open");
    assert!(counted.defers <= 6, "{} defers", counted.defers);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_somebody_else_asks_less_and_less_often() {
    let others = Duration::from_secs(60);
    let (counted, start) = run(1, others).await;
    let (_, at) = counted.left[0];
    let late = at.since(start.plus(others));
    assert!(late < Duration::from_secs(6), "{late:?}");
    assert!(counted.opens < 30, "{} times", counted.opens);
}

/// A held template slows nobody: what it holds takes no turn of the messages behind it, neither of the
/// rate nor of the slow beginning after a pause.
#[tokio::test(start_paused = true)]
async fn what_is_held_goes_out_of_the_way_in_a_few_commits() {
    const HELD: i64 = 3_000;
    for after_a_pause in [false, true] {
        let (counted, start) = run_with(Some(10.0), |counted, start| {
            counted.ramp_since = after_a_pause.then_some(start);
            counted.due.extend((1..=HELD + 2).map(|row| DueMessage {
                message: MessageRow(row),
                person: PersonRow(row),
                priority: Priority::Normal,
                due_at: start.minus(Duration::from_secs(60)),
            }));
            counted.held.extend((1..=HELD).map(MessageRow));
        })
        .await;
        let left: Vec<_> = counted.left.iter().map(|(message, _)| message.0).collect();
        assert_eq!(left, [HELD + 1, HELD + 2]);
        let late = counted.left[0].1.since(start);
        assert!(
            late < Duration::from_millis(500),
            "the first turn is not used up: {late:?}"
        );
        assert!(counted.commits <= 18, "{} commits", counted.commits);
        assert!(counted.opens <= 4, "{} looked at alone", counted.opens);
    }
}
