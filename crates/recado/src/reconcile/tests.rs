//! The looks of this room, at a provider, in a store and by a clock that the test makes up.

mod lag_probe;
mod unknown;

use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use delivery::message::Policy;
use delivery::outcome::{Outcome, ProviderStatus};
use delivery::row::{AttemptRow, PersonRow};
use delivery::settle::TextEvidence;
use delivery::sid::Sid;
use delivery::state::State;
use delivery::time::{ClockDifference, Timestamp};

use super::*;
use crate::effects::{BoxFuture, Clock};
use crate::provider::{
    CreateRequest, InboundListQuery, InboundPage, ListQuery, ProviderError, ProviderMedium,
    ProviderMessage,
};
use crate::store::{
    Answered, DueWatch, Evidence, Finding, Holder, ListLag, Settlement, StoreFuture, UnknownView,
};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const MARIA: PersonRow = PersonRow(1);
/// Maria's number, as we send to it, and without its ninth digit.
const NUMBER: &str = "+5585988887777";
const OTHER_FORM: &str = "+558588887777";
const SENDER: &str = "+551140000000";
/// A user id, to which messages go as well.
const USER_ID: &str = "BR.1A2B3C";
/// When a test begins.
const NOON: Timestamp = Timestamp::from_seconds(1_763_640_000);

/// Everything around the looks. Time is tokio's, which the test pauses.
struct Surroundings {
    began: tokio::time::Instant,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// How far our clock is ahead of the provider's, which is right.
    ahead: Duration,
    /// What the store has.
    unknown: Vec<UnknownView>,
    holders: Vec<Holder>,
    answered: Option<Answered>,
    noted: Vec<ListLag>,
    /// What the provider has, and from when on its list shows it.
    messages: Vec<(ProviderMessage, Timestamp)>,
    /// What it answers to every question about its list.
    failure: Option<ProviderError>,
    /// What its answers have told of the clocks.
    clock: ClockDifference,
    asked: usize,
}

impl Surroundings {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            began: tokio::time::Instant::now(),
            known: Mutex::default(),
        })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap()
    }

    /// The time that is right.
    fn time(&self) -> Timestamp {
        NOON.plus(self.began.elapsed())
    }

    /// Waits until so long after the beginning.
    async fn until(&self, after: Duration) {
        tokio::time::sleep_until(self.began + after).await;
    }

    /// A process that looks.
    fn process(self: &Arc<Self>) -> Context {
        let effects = Effects {
            clock: self.clone(),
            ..Effects::real()
        };
        Context {
            store: self.clone(),
            provider: self.clone(),
            readings: Readings::new(effects.clone(), 1),
            lag: LagMeter::new(effects.clone(), 1),
            settlements: Settlements::new(effects, 1),
            outage: OutageRest::new(1),
        }
    }

    /// The provider has a message of this text from now on; its list shows it after `lag`.
    fn create(&self, n: u32, to: &str, text: &str, lag: Duration) -> Sid {
        let sid = Sid::parse_message(&format!("SM{n:032x}")).unwrap();
        let message = ProviderMessage {
            sid,
            to: Some(to.to_owned()),
            from: Some(SENDER.to_owned()),
            body: Some(text.to_owned()),
            media: Some(0),
            status: ProviderStatus::Sent,
            outbound: true,
            created_at: Some(Timestamp::from_seconds(self.time().micros() / 1_000_000)),
            error_code: None,
        };
        let listed_at = self.time().plus(lag);
        self.known().messages.push((message, listed_at));
        sid
    }

    /// A message to somebody else, whose own answer named it just now.
    fn answered(&self, n: u32, to: &str, lag: Duration) {
        let sid = self.create(n, to, "a", lag);
        let evidence = evidence(to, None, "a");
        let at = self.now();
        self.known().answered = Some(Answered { sid, at, evidence });
    }

    /// An attempt to Maria that began and ended just now, and nobody knows how.
    fn lose(&self, n: i64, text: &str) -> DueWatch {
        let now = self.now();
        self.known().unknown.push(UnknownView {
            attempt: AttemptRow(n),
            started_at: now,
            ended_at: now,
            created_until: now.plus(15 * MINUTE),
            content_index: [u8::try_from(n).unwrap(); 16],
            evidence: Some(evidence(NUMBER, Some(OTHER_FORM), text)),
            is_open: false,
            is_unreadable: false,
        });
        DueWatch {
            at: now,
            attempt: AttemptRow(n),
            kind: WatchKind::Unknown,
            polls: 0,
            sid: None,
            state: State::Unknown,
            started_at: now,
            ended_at: now,
            policy: Policy::Once,
            person: MARIA,
            is_unknown: true,
        }
    }

    fn shown<T>(&self, of: impl FnOnce(Vec<&ProviderMessage>) -> T) -> Result<T, ProviderError> {
        let now = self.time();
        let mut known = self.known();
        known.asked += 1;
        if let Some(failure) = known.failure.clone() {
            return Err(failure);
        }
        let shown = known.messages.iter();
        let shown = shown.filter(|(_, listed_at)| *listed_at <= now);
        Ok(of(shown.map(|(message, _)| message).collect()))
    }
}

fn evidence(to: &str, to_alternative: Option<&str>, text: &str) -> Evidence {
    Evidence {
        person: MARIA,
        to: to.to_owned(),
        to_alternative: to_alternative.map(str::to_owned),
        from: Some(SENDER.to_owned()),
        unlisted: None,
        text: TextEvidence::Exact(text.to_owned()),
        media: Some(0),
    }
}

impl Clock for Surroundings {
    fn now(&self) -> Timestamp {
        let ahead = self.known().ahead;
        self.time().plus(ahead)
    }

    fn monotonic(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

impl Provider for Surroundings {
    fn create<'a>(&'a self, _: &'a CreateRequest) -> BoxFuture<'a, Outcome> {
        unreachable!("nothing is sent")
    }

    fn fetch(&self, _: Sid) -> BoxFuture<'_, Result<ProviderMessage, ProviderError>> {
        unreachable!("nothing is fetched")
    }

    fn list<'a>(
        &'a self,
        query: &'a ListQuery,
    ) -> BoxFuture<'a, Result<Vec<ProviderMessage>, ProviderError>> {
        let listed = self.shown(|shown| {
            let fits = |message: &&ProviderMessage| {
                message.to.as_ref() == Some(&query.to)
                    && (query.from.is_none() || message.from == query.from)
                    && message.created_at >= Some(query.created_since)
            };
            shown.into_iter().filter(fits).cloned().collect()
        });
        Box::pin(async move { listed })
    }

    fn youngest(&self) -> BoxFuture<'_, Result<Option<Timestamp>, ProviderError>> {
        let created =
            |shown: Vec<&ProviderMessage>| shown.into_iter().filter_map(|m| m.created_at).max();
        let youngest = self.shown(created);
        Box::pin(async move { youngest })
    }

    fn clock_difference(&self) -> ClockDifference {
        self.known().clock
    }

    fn list_inbound<'a>(
        &'a self,
        _: &'a InboundListQuery,
    ) -> BoxFuture<'a, Result<InboundPage, ProviderError>> {
        unreachable!("nobody writes")
    }

    fn media(&self, _: Sid) -> BoxFuture<'_, Result<Vec<ProviderMedium>, ProviderError>> {
        unreachable!("nobody writes")
    }
}

impl Watches for Surroundings {
    fn due_watches(&self, _: WatchQuery) -> StoreFuture<'_, Vec<DueWatch>> {
        unreachable!("the test says what is due")
    }

    fn settle(&self, _: Vec<Settlement>) -> StoreFuture<'_, ()> {
        unreachable!("the test looks at what was found")
    }

    fn unknown_attempts(&self, _: PersonRow) -> StoreFuture<'_, Vec<UnknownView>> {
        let unknown = self.known().unknown.clone();
        Box::pin(async move { Ok(unknown) })
    }

    fn holders(&self, sids: Vec<Sid>) -> StoreFuture<'_, Vec<Holder>> {
        let mut holders = self.known().holders.clone();
        holders.retain(|holder| sids.contains(&holder.sid));
        Box::pin(async move { Ok(holders) })
    }

    fn newest_answered(&self, since: Timestamp) -> StoreFuture<'_, Option<Answered>> {
        let answered = self.known().answered.clone();
        let answered = answered.filter(|answered| answered.at >= since);
        Box::pin(async move { Ok(answered) })
    }

    fn note_list_lag(&self, measured: ListLag) -> StoreFuture<'_, ()> {
        self.known().noted.push(measured);
        Box::pin(async { Ok(()) })
    }

    fn list_lag(&self, since: Timestamp) -> StoreFuture<'_, ListLag> {
        let mut all = ListLag {
            at: since,
            lag: None,
            clock: ClockDifference::NONE,
        };
        for noted in self.known().noted.iter().filter(|noted| noted.at >= since) {
            all.lag = all.lag.max(noted.lag);
            all.clock = all.clock.or(noted.clock);
        }
        Box::pin(async move { Ok(all) })
    }

    fn next_watch(&self) -> StoreFuture<'_, Option<Timestamp>> {
        unreachable!("the test says what is due")
    }
}
