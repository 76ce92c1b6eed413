//! One sender's lane: reads what is due, opens attempts in batches, sends, records.

use std::sync::Arc;
use std::time::{Duration, Instant};

use delivery::message::SenderName;
use delivery::outcome::Outcome;
use delivery::row::{AttemptRow, MessageRow, PersonRow, SenderRow};
use delivery::sid::Sid;
use delivery::time::Timestamp;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::busy::BusyPersons;
use super::handles::Dispatch;
use super::limiter::{Grant, Permit, RequestLimiter};
use super::ramp::Ramp;
use super::rate::{PairRateLimit, TokenBucket};
use crate::provider::CreateRequest;
use crate::store::{
    CloseRequest, DueMessage, DuePage, DueQuery, OpenAttempt, OpenRequest, OpenResult, Stamp,
};

/// Attempts opened with one commit.
const BATCH_MAX: usize = 256;
/// How long a lane rests without a notification: another process, a tool for example, may have
/// added messages.
const IDLE_MAX: Duration = Duration::from_secs(1);
/// How long until a result that could not be stored is tried again.
const STORE_WAIT: Duration = Duration::from_millis(500);

/// One of the lanes that share a limiter.
pub(super) struct LaneOf {
    /// The sender.
    pub row: SenderRow,
    /// Its name.
    pub name: SenderName,
    /// Messages per second; `None` for no limit.
    pub rate: Option<f64>,
    /// Its place among the lanes.
    pub number: usize,
}

pub(super) struct Lane {
    dispatch: Dispatch,
    of: LaneOf,
    limiter: Arc<RequestLimiter>,
    limiter_changed: watch::Receiver<()>,
    bucket: TokenBucket,
    pair_limit: PairRateLimit,
    ramp: Ramp,
    busy: BusyPersons,
    /// Whether the lane waits for the limiter.
    at_limit: bool,
    /// Whether the last look met messages whose person or template is held; more are likely to
    /// follow.
    meets_held: bool,
    /// Each gives the person that its request was to.
    sends: JoinSet<PersonRow>,
}

impl Lane {
    pub(super) fn new(dispatch: Dispatch, of: LaneOf, limiter: Arc<RequestLimiter>) -> Self {
        let bucket = TokenBucket::new(of.rate, dispatch.effects.clock.monotonic());
        let pair_limit = PairRateLimit::new(dispatch.settings.person_interval);
        let ramp = Ramp::new(dispatch.settings.clock_scale);
        Self {
            dispatch,
            of,
            limiter_changed: limiter.changed(),
            limiter,
            bucket,
            pair_limit,
            ramp,
            busy: BusyPersons::default(),
            at_limit: false,
            meets_held: false,
            sends: JoinSet::new(),
        }
    }

    pub(super) async fn run(mut self, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            let rest = self.round().await;
            if !rest.is_zero() {
                self.rest(rest, &shutdown).await;
            }
            while let Some(ended) = self.sends.try_join_next() {
                self.ended(ended);
            }
            self.bring_back().await;
        }
        self.drain().await;
    }

    /// Reads what is due and sends it. Returns how long to rest when nothing changes; zero to go on
    /// at once.
    async fn round(&mut self) -> Duration {
        let clock = Arc::clone(&self.dispatch.effects.clock);
        let time = RoundTime {
            now: clock.now(),
            monotonic: clock.monotonic(),
        };
        self.at_limit = false;
        let wanted = self.bucket.available(time.monotonic, BATCH_MAX);
        if wanted == 0 {
            return self.bucket.wait();
        }
        // What ends after this look wakes the lane.
        self.limiter_changed.mark_unchanged();
        let (mut permits, urgent_only) =
            match self.limiter.ask(self.of.number, wanted, time.monotonic) {
                Grant::Any(permits) => (permits, false),
                Grant::UrgentOnly(permits) => (permits, true),
                Grant::Nothing(wait) => {
                    self.at_limit = true;
                    return wait.unwrap_or(IDLE_MAX);
                }
            };
        self.at_limit = urgent_only;
        let query = DueQuery {
            sender: self.of.row,
            now: time.now,
            limit: if self.meets_held {
                BATCH_MAX
            } else {
                permits.len()
            },
            urgent_only,
        };
        let page = self.dispatch.store.due(query).await;
        let rest = match page {
            Ok(page) if page.due.is_empty() || page.paused => page
                .next_due_at
                .map_or(IDLE_MAX, |due| due.since(time.now))
                .min(IDLE_MAX),
            Ok(page) => self.pass_by_held(page, time, &mut permits).await,
            Err(error) => {
                tracing::error!(%error, "the queue cannot be read");
                IDLE_MAX
            }
        };
        self.limiter.give_back(permits);
        rest
    }

    /// Puts off many held messages at once, as long as any are met: they leave nothing to the others
    /// of a page that has as many places as messages may leave. Sends what is left of the page.
    async fn pass_by_held(
        &mut self,
        mut page: DuePage,
        time: RoundTime,
        permits: &mut Vec<Permit>,
    ) -> Duration {
        if self.meets_held {
            let due = page.due.iter().map(|message| message.message).collect();
            let held = match self.dispatch.store.put_off_held(due, time.now).await {
                Ok(held) => held,
                Err(error) => {
                    tracing::error!(%error, "due times cannot be moved");
                    return IDLE_MAX;
                }
            };
            self.meets_held = !held.is_empty();
            let mut held = held.into_iter().peekable();
            page.due
                .retain(|message| held.next_if_eq(&message.message).is_none());
            page.due.truncate(permits.len());
            if page.due.is_empty() {
                return Duration::ZERO;
            }
        }
        self.begin_again(&page, time, permits).await
    }

    /// Sends as many of the due messages as may leave so soon after a pause or a hold.
    async fn begin_again(
        &mut self,
        page: &DuePage,
        time: RoundTime,
        permits: &mut Vec<Permit>,
    ) -> Duration {
        let (wanted, monotonic) = (page.due.len(), time.monotonic);
        let allowed = self
            .ramp
            .allowed(page.ramp_since, time.now, monotonic, wanted);
        let Some(due) = page.due.get(..allowed).filter(|due| !due.is_empty()) else {
            return self.ramp.wait(monotonic);
        };
        self.send_due(due, time, permits).await
    }

    async fn send_due(
        &mut self,
        due: &[DueMessage],
        time: RoundTime,
        permits: &mut Vec<Permit>,
    ) -> Duration {
        let Choice {
            requests,
            persons,
            later,
        } = self.choose(due, time);
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
        let mut later = Vec::new();
        for ((message, person), result) in messages.into_iter().zip(persons).zip(results) {
            if !matches!(result, OpenResult::Open(_)) {
                self.pair_limit.release(person);
            }
            match result {
                OpenResult::Open(attempt) => {
                    self.bucket.take(1);
                    self.ramp.take(1);
                    // There is one for each message of the page.
                    if let Some(permit) = permits.pop() {
                        self.spawn_send(*attempt, person, permit);
                    }
                }
                OpenResult::Busy => later.push((message, time.now.plus(self.busy.wait(person)))),
                OpenResult::Held => self.meets_held = true,
                OpenResult::Gone => {}
            }
        }
        if !later.is_empty()
            && let Err(error) = self.dispatch.store.defer(later).await
        {
            tracing::error!(%error, "due times cannot be moved");
        }
        Duration::ZERO
    }

    /// One message of each person at a time, and not more than the pair's rate allows; the rest
    /// gets a later due time.
    fn choose(&mut self, due: &[DueMessage], time: RoundTime) -> Choice {
        let mut persons: Vec<PersonRow> = Vec::with_capacity(due.len());
        let mut requests = Vec::with_capacity(due.len());
        let mut later = Vec::new();
        for message in due {
            if persons.contains(&message.person) || self.busy.is_open(message.person) {
                let until = time.now.plus(self.busy.keep(message));
                later.push((message.message, until));
                continue;
            }
            let wait = self.pair_limit.reserve(message.person, time.monotonic);
            if !wait.is_zero() {
                later.push((message.message, time.now.plus(wait)));
                continue;
            }
            persons.push(message.person);
            let request = OpenRequest {
                message: message.message,
                stamp: Stamp {
                    now: time.now,
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

    fn spawn_send(&mut self, attempt: OpenAttempt, person: PersonRow, permit: Permit) {
        self.busy.opened(person);
        let dispatch = self.dispatch.clone();
        let limiter = Arc::clone(&self.limiter);
        let name = self.of.name.clone();
        self.sends.spawn(async move {
            let row = attempt.attempt.row;
            let service = dispatch.settings.messaging_service;
            let request = create_request(name, service, attempt);
            let started = dispatch.effects.clock.monotonic();
            let outcome = dispatch.provider.create(&request).await;
            drop(request);
            tracing::debug!(
                attempt = %row,
                outcome = outcome.kind().as_str(),
                "a request to Twilio ended"
            );
            let now = dispatch.effects.clock.now();
            limiter.ended(permit, &outcome, started);
            record(&dispatch, row, outcome, now).await;
            person
        });
    }

    /// Notes that a request to a person has ended.
    fn ended(&mut self, ended: Result<PersonRow, JoinError>) {
        match ended {
            Ok(person) => self.busy.ended(person),
            // A permit that never comes back would stop the sender without a word.
            Err(error) => {
                if let Ok(panic) = error.try_into_panic() {
                    std::panic::resume_unwind(panic);
                }
            }
        }
    }

    /// Gives what waited for the end of a request its place in the queue back.
    async fn bring_back(&mut self) {
        let waited = self.busy.take_free();
        if !waited.is_empty()
            && let Err(error) = self.dispatch.store.defer(waited).await
        {
            tracing::error!(%error, "due times cannot be moved; these messages leave a little later");
        }
    }

    /// Waits for a change of the queue, the end of a request, the end of the rest, or shutdown.
    async fn rest(&mut self, rest: Duration, shutdown: &CancellationToken) {
        let sleep = self.dispatch.effects.clock.sleep(rest);
        let ended = tokio::select! {
            () = shutdown.cancelled() => None,
            () = sleep => None,
            changed = self.dispatch.queue.changed() => {
                if changed.is_err() {
                    // The store is gone; shutdown follows.
                    shutdown.cancelled().await;
                }
                None
            }
            // The limiter lives as long as the lane.
            _ = self.limiter_changed.changed(), if self.at_limit => None,
            Some(ended) = self.sends.join_next() => Some(ended),
        };
        if let Some(ended) = ended {
            self.ended(ended);
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

/// When a round looks at the queue, by the clock that people set and by the one that nobody sets.
#[derive(Clone, Copy)]
struct RoundTime {
    now: Timestamp,
    monotonic: Instant,
}

fn create_request(
    from: SenderName,
    messaging_service: Option<Sid>,
    attempt: OpenAttempt,
) -> CreateRequest {
    CreateRequest {
        to: attempt.to.in_variant(attempt.variant),
        from,
        messaging_service,
        content: attempt.content,
        expires_at: attempt.expires_at,
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
            Err(crate::store::StoreError::Closed) => {
                tracing::warn!(
                    %attempt,
                    outcome = outcome.kind().as_str(),
                    "an outcome was not stored before the database closed; it will be looked for"
                );
                return;
            }
            Err(error) => {
                tracing::error!(%attempt, %error, "an outcome cannot be stored yet");
                dispatch.effects.clock.sleep(STORE_WAIT).await;
            }
        }
    }
}

#[cfg(test)]
mod tests;
