//! One sender's lane: reads what is due, opens attempts in batches, sends, records.

use std::sync::Arc;
use std::time::Duration;

use delivery::message::SenderName;
use delivery::outcome::Outcome;
use delivery::row::{AttemptRow, MessageRow, PersonRow, SenderRow};
use delivery::time::Timestamp;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::concurrency::ConcurrencyLimit;
use super::handles::Dispatch;
use super::rate::{PairRateLimit, TokenBucket};
use crate::provider::CreateRequest;
use crate::store::{
    CloseRequest, DueMessage, DueQuery, OpenAttempt, OpenRequest, OpenResult, Stamp,
};

/// Attempts opened with one commit.
const BATCH_MAX: usize = 256;
/// How long a lane rests without a notification: another process, a tool for example, may have
/// added messages.
const IDLE_MAX: Duration = Duration::from_secs(1);
/// How long a message waits while another request to its person is open.
const BUSY_WAIT: Duration = Duration::from_millis(20);
/// How long until a result that could not be stored is tried again.
const STORE_WAIT: Duration = Duration::from_millis(500);

pub(super) struct Lane {
    dispatch: Dispatch,
    row: SenderRow,
    name: SenderName,
    concurrency: Arc<ConcurrencyLimit>,
    bucket: TokenBucket,
    pair_limit: PairRateLimit,
    sends: JoinSet<()>,
}

impl Lane {
    pub(super) fn new(
        dispatch: Dispatch,
        row: SenderRow,
        name: SenderName,
        rate: Option<f64>,
        concurrency: Arc<ConcurrencyLimit>,
    ) -> Self {
        let bucket = TokenBucket::new(rate, dispatch.effects.clock.now());
        let pair_limit = PairRateLimit::new(dispatch.settings.person_interval);
        Self {
            dispatch,
            row,
            name,
            concurrency,
            bucket,
            pair_limit,
            sends: JoinSet::new(),
        }
    }

    pub(super) async fn run(mut self, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            let rest = self.round().await;
            if !rest.is_zero() {
                self.rest(rest, &shutdown).await;
            }
            while self.sends.try_join_next().is_some() {}
        }
        self.drain().await;
    }

    /// Reads what is due and sends it. Returns how long to rest when nothing changes; zero to go on
    /// at once.
    async fn round(&mut self) -> Duration {
        let now = self.dispatch.effects.clock.now();
        let stopped = self.concurrency.stopped_until().since(now);
        if !stopped.is_zero() {
            return stopped;
        }
        let free = self
            .concurrency
            .lane_limit()
            .saturating_sub(self.sends.len())
            .min(BATCH_MAX);
        if free == 0 {
            return IDLE_MAX;
        }
        let limit = self.bucket.available(now, free);
        if limit == 0 {
            return self.bucket.wait();
        }
        let query = DueQuery {
            sender: self.row,
            now,
            limit,
        };
        let page = match self.dispatch.store.due(query).await {
            Ok(page) => page,
            Err(error) => {
                tracing::error!(%error, "the queue cannot be read");
                return IDLE_MAX;
            }
        };
        if page.due.is_empty() || page.paused {
            return page
                .next_due_at
                .map_or(IDLE_MAX, |due| due.since(now))
                .min(IDLE_MAX);
        }
        self.send_due(&page.due, now).await
    }

    async fn send_due(&mut self, due: &[DueMessage], now: Timestamp) -> Duration {
        let Choice {
            requests,
            persons,
            later,
        } = self.choose(due, now);
        if !later.is_empty()
            && let Err(error) = self.dispatch.store.defer(later).await
        {
            tracing::error!(%error, "due times cannot be moved");
            return IDLE_MAX;
        }
        if requests.is_empty() {
            return Duration::ZERO;
        }
        let messages: Vec<MessageRow> = requests.iter().map(|request| request.message).collect();
        let results = match self.dispatch.store.open_attempts(requests).await {
            Ok(results) => results,
            Err(error) => {
                tracing::error!(%error, "attempts cannot be opened; nothing is sent");
                return IDLE_MAX;
            }
        };
        let mut busy = Vec::new();
        for ((message, person), result) in messages.into_iter().zip(persons).zip(results) {
            if !matches!(result, OpenResult::Open(_)) {
                self.pair_limit.release(person);
            }
            match result {
                OpenResult::Open(attempt) => {
                    self.bucket.take(1);
                    self.spawn_send(*attempt);
                }
                OpenResult::Busy => busy.push((message, now.plus(BUSY_WAIT))),
                OpenResult::Gone => {}
            }
        }
        if !busy.is_empty()
            && let Err(error) = self.dispatch.store.defer(busy).await
        {
            tracing::error!(%error, "due times cannot be moved");
        }
        Duration::ZERO
    }

    /// One message of each person at a time, and not more than the pair's rate allows; the rest
    /// gets a later due time.
    fn choose(&mut self, due: &[DueMessage], now: Timestamp) -> Choice {
        let mut persons: Vec<PersonRow> = Vec::with_capacity(due.len());
        let mut requests = Vec::with_capacity(due.len());
        let mut later = Vec::new();
        for message in due {
            if persons.contains(&message.person) {
                later.push((message.message, now.plus(BUSY_WAIT)));
                continue;
            }
            let allowed = self.pair_limit.reserve(message.person, now);
            if allowed > now {
                later.push((message.message, allowed));
                continue;
            }
            persons.push(message.person);
            let request = OpenRequest {
                message: message.message,
                stamp: Stamp {
                    now,
                    random: self.dispatch.effects.random.next_u64(),
                },
            };
            requests.push(request);
        }
        Choice {
            requests,
            persons,
            later,
        }
    }

    fn spawn_send(&mut self, attempt: OpenAttempt) {
        let dispatch = self.dispatch.clone();
        let concurrency = Arc::clone(&self.concurrency);
        let name = self.name.clone();
        self.sends.spawn(async move {
            let row = attempt.attempt.row;
            let request = create_request(&dispatch, name, attempt);
            let outcome = dispatch.provider.create(&request).await;
            drop(request);
            tracing::debug!(
                attempt = %row,
                outcome = outcome.kind().as_str(),
                "a request to Twilio ended"
            );
            let now = dispatch.effects.clock.now();
            concurrency.observe(&outcome, now);
            record(&dispatch, row, outcome, now).await;
        });
    }

    /// Waits for a change of the queue, the end of a request, the end of the rest, or shutdown.
    async fn rest(&mut self, rest: Duration, shutdown: &CancellationToken) {
        let sleep = self.dispatch.effects.clock.sleep(rest);
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = sleep => {}
            changed = self.dispatch.queue.changed() => {
                if changed.is_err() {
                    // The store is gone; shutdown follows.
                    shutdown.cancelled().await;
                }
            }
            Some(_) = self.sends.join_next() => {}
        }
    }

    /// Waits for open requests as long as the drain allows. What is cut off stays open in the
    /// store and becomes unknown at the next start.
    async fn drain(&mut self) {
        let deadline = self
            .dispatch
            .effects
            .clock
            .sleep(self.dispatch.settings.drain);
        tokio::pin!(deadline);
        loop {
            tokio::select! {
                ended = self.sends.join_next() => if ended.is_none() { return },
                () = &mut deadline => {
                    tracing::warn!(
                        requests = self.sends.len(),
                        "requests were cut off at the end of the drain; they will be looked for"
                    );
                    return;
                }
            }
        }
    }
}

fn create_request(dispatch: &Dispatch, from: SenderName, attempt: OpenAttempt) -> CreateRequest {
    let now = dispatch.effects.clock.now();
    CreateRequest {
        to: attempt.to.in_variant(attempt.variant),
        from,
        messaging_service: dispatch.settings.messaging_service,
        content: attempt.content,
        validity: attempt.expires_at.map(|expires| expires.since(now)),
        correlation_id: attempt.attempt.to_string(),
    }
}

/// Which of the due messages are tried now.
struct Choice {
    requests: Vec<OpenRequest>,
    /// The person of each request.
    persons: Vec<PersonRow>,
    /// The others, with their later times.
    later: Vec<(MessageRow, Timestamp)>,
}

/// Stores the outcome of an attempt, however long the disk takes: a result that is lost would make
/// the attempt unknown.
async fn record(dispatch: &Dispatch, attempt: AttemptRow, outcome: Outcome, now: Timestamp) {
    loop {
        let request = CloseRequest {
            attempt,
            outcome: outcome.clone(),
            stamp: Stamp {
                now,
                random: dispatch.effects.random.next_u64(),
            },
        };
        match dispatch.store.close_attempts(vec![request]).await {
            Ok(_) => return,
            Err(crate::store::StoreError::Closed) => return,
            Err(error) => {
                tracing::error!(%attempt, %error, "an outcome cannot be stored yet");
                dispatch.effects.clock.sleep(STORE_WAIT).await;
            }
        }
    }
}
