//! A store under test with a clock that stands until a case moves it, and helpers that speak of
//! messages and people. Everything goes through the traits.

use std::collections::HashMap;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use delivery::address::{Address, Context};
use delivery::counter::Metric;
use delivery::event::Source;
use delivery::message::{Message, SenderName};
use delivery::outcome::{Outcome, ProviderStatus, UnknownCause};
use delivery::row::{MessageRow, SenderRow};
use delivery::sid::Sid;
use delivery::state::State;
use delivery::time::Timestamp;
use recado::store::{
    AcceptRefusal, AcceptResult, AttemptId, CloseRequest, CloseResult, CommandResult, CounterGroup,
    CounterQuery, CounterRow, DuePage, DueQuery, Finding, Idempotency, InboundResult,
    MessageCommand, MessageId, MessageView, NewInbound, NewMessage, OpenAttempt, OpenRequest,
    OpenResult, Report, ReportResult, Stamp, Store, new_message_id,
};

use super::engine::{Engine, Setup, master_key};
use super::samples::{accepted_by_provider, number};
use crate::rng::Rng;

/// Our two senders.
pub(crate) const FIRST: &str = "+551140000000";
pub(crate) const SECOND: &str = "+551140000001";
/// When every case begins.
pub(crate) const START: Timestamp = Timestamp::from_seconds(1_767_225_600);
pub(crate) const SECOND_LONG: Duration = Duration::from_secs(1);
pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const HOUR: Duration = Duration::from_secs(3_600);
pub(crate) const DAY: Duration = Duration::from_secs(24 * 3_600);

/// A store, a clock and what a case wants to remember.
pub(crate) struct StoreFixture {
    engine: Box<dyn Engine>,
    store: Option<Arc<dyn Store>>,
    pub(crate) now: Timestamp,
    pub(crate) random: Arc<Rng>,
    keys: HashMap<MessageId, MessageRow>,
    serial: u64,
}

/// An attempt that the provider has accepted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    pub(crate) attempt: AttemptId,
    pub(crate) sid: Sid,
}

impl StoreFixture {
    pub(crate) async fn new(engine: impl Engine + 'static) -> Self {
        Self::seeded(engine, 1).await
    }

    pub(crate) async fn seeded(engine: impl Engine + 'static, seed: u64) -> Self {
        let mut fixture = Self {
            engine: Box::new(engine),
            store: None,
            now: START,
            random: Arc::new(Rng::new(seed)),
            keys: HashMap::new(),
            serial: 0,
        };
        assert_eq!(fixture.reopen().await, 0, "an empty store has nothing open");
        fixture
    }

    /// Ends the server and starts another one. Returns the attempts that were left open.
    pub(crate) async fn reopen(&mut self) -> usize {
        self.reopen_with(&[FIRST, SECOND]).await
    }

    pub(crate) async fn reopen_with(&mut self, senders: &[&str]) -> usize {
        self.store = None;
        let setup = Setup {
            master_key: master_key(),
            senders: senders.iter().copied().map(SenderName::new).collect(),
            random: self.random.clone(),
            now: self.now,
        };
        let opened = self.engine.open(setup).await.unwrap();
        self.store = Some(opened.store);
        opened.left_open
    }

    /// Ends the server.
    pub(crate) fn stop(&mut self) {
        self.store = None;
    }

    pub(crate) fn store(&self) -> &dyn Store {
        &**self.store.as_ref().expect("the store is open")
    }

    pub(crate) fn shared_store(&self) -> Arc<dyn Store> {
        Arc::clone(self.store.as_ref().expect("the store is open"))
    }

    pub(crate) fn pass(&mut self, duration: Duration) {
        self.now = self.now.plus(duration);
    }

    pub(crate) fn serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// A provider's id that was not used before.
    pub(crate) fn sid(&mut self) -> Sid {
        let serial = self.serial();
        Sid::parse_message(&format!("SM{serial:032x}")).unwrap()
    }

    /// The store's number of a sender.
    pub(crate) async fn sender(&self, name: &str) -> SenderRow {
        let senders = self.store().senders().await.unwrap();
        senders
            .iter()
            .find(|sender| sender.name == name)
            .expect("the sender is configured")
            .row
    }

    // -- accepting ---------------------------------------------------------------------------

    pub(crate) fn new_message(&mut self, message: Message) -> NewMessage {
        NewMessage {
            id: new_message_id(self.now, &*self.random),
            message,
            idempotency: None,
            now: self.now,
            dedupe_window: 10 * MINUTE,
        }
    }

    pub(crate) async fn accept_all(&mut self, batch: Vec<NewMessage>) -> Vec<AcceptResult> {
        let results = self.store().accept(batch).await.unwrap();
        for result in &results {
            if let AcceptResult::Accepted { id, state } = result
                && matches!(state, State::Accepted | State::Scheduled)
            {
                self.keys.insert(*id, MessageRow(0));
            }
        }
        results
    }

    pub(crate) async fn try_accept(&mut self, message: Message) -> AcceptResult {
        let new = self.new_message(message);
        let id = new.id;
        let before: Vec<MessageRow> = self.waiting().await;
        let result = self.store().accept(vec![new]).await.unwrap().remove(0);
        let after = self.waiting().await;
        if let Some(key) = after.iter().find(|key| !before.contains(key)) {
            self.keys.insert(id, *key);
        }
        result
    }

    /// The keys of everything that waits, whenever it is due.
    pub(crate) async fn waiting(&self) -> Vec<MessageRow> {
        let mut keys = Vec::new();
        for sender in self.store().senders().await.unwrap() {
            let page = self
                .store()
                .due(DueQuery {
                    sender: sender.row,
                    now: Timestamp::from_micros(i64::MAX),
                    limit: 100_000,
                    urgent_only: false,
                })
                .await
                .unwrap();
            keys.extend(page.due.iter().map(|due| due.message));
        }
        keys
    }

    /// Accepts a message that must be accepted.
    #[track_caller]
    pub(crate) fn accept(&mut self, message: Message) -> impl Future<Output = MessageId> {
        let caller = Location::caller();
        async move {
            match self.try_accept(message).await {
                AcceptResult::Accepted { id, .. } => id,
                other => panic!("{caller}: not accepted: {other:?}"),
            }
        }
    }

    #[track_caller]
    pub(crate) fn refusal(&mut self, message: Message) -> impl Future<Output = AcceptRefusal> {
        let caller = Location::caller();
        async move {
            match self.try_accept(message).await {
                AcceptResult::Refused(refusal) => refusal,
                other => panic!("{caller}: not refused: {other:?}"),
            }
        }
    }

    // -- attempts ----------------------------------------------------------------------------

    pub(crate) fn key(&self, id: MessageId) -> MessageRow {
        self.keys[&id]
    }

    pub(crate) async fn due(&self, sender: &str) -> DuePage {
        let query = DueQuery {
            sender: self.sender(sender).await,
            now: self.now,
            limit: 100,
            urgent_only: false,
        };
        self.store().due(query).await.unwrap()
    }

    /// The messages that are due now, by both senders, as public ids; our own questions, which no
    /// case has accepted, are left out.
    pub(crate) async fn due_ids(&self) -> Vec<MessageId> {
        let mut due = self.due(FIRST).await.due;
        due.extend(self.due(SECOND).await.due);
        let id = |key: MessageRow| self.keys.iter().find(|(_, known)| **known == key);
        due.iter()
            .filter_map(|due| Some(*id(due.message)?.0))
            .collect()
    }

    pub(crate) async fn open_key(&self, message: MessageRow) -> OpenResult {
        let request = OpenRequest {
            message,
            stamp: Stamp {
                now: self.now,
                random: self.random.next(),
            },
        };
        let mut results = self.store().open_attempts(vec![request]).await.unwrap();
        results.remove(0)
    }

    pub(crate) async fn try_open(&self, id: MessageId) -> OpenResult {
        self.open_key(self.key(id)).await
    }

    /// Opens an attempt that must open.
    #[track_caller]
    pub(crate) fn open(&self, id: MessageId) -> impl Future<Output = OpenAttempt> {
        let caller = Location::caller();
        async move {
            match self.try_open(id).await {
                OpenResult::Open(attempt) => {
                    assert_eq!(attempt.id, id, "{caller}");
                    *attempt
                }
                OpenResult::Busy => panic!("{caller}: busy"),
                OpenResult::Held => panic!("{caller}: held"),
                OpenResult::Gone => panic!("{caller}: gone: {:?}", self.state(id).await),
            }
        }
    }

    pub(crate) async fn is_gone(&self, id: MessageId) -> bool {
        matches!(self.try_open(id).await, OpenResult::Gone)
    }

    /// Whether a message waits for the end of a hold of its person or its template.
    pub(crate) async fn is_held_back(&self, id: MessageId) -> bool {
        matches!(self.try_open(id).await, OpenResult::Held)
    }

    pub(crate) async fn close(&self, attempt: AttemptId, outcome: Outcome) -> CloseResult {
        let request = CloseRequest {
            attempt: attempt.row,
            outcome,
            stamp: Stamp {
                now: self.now,
                random: u64::MAX,
            },
        };
        let mut results = self.store().close_attempts(vec![request]).await.unwrap();
        results.remove(0)
    }

    /// Opens an attempt and closes it with an outcome.
    pub(crate) async fn attempt(&self, id: MessageId, outcome: Outcome) -> AttemptId {
        let attempt = self.open(id).await.attempt;
        self.close(attempt, outcome).await;
        attempt
    }

    /// Sends a message: the provider answers with a SID and `queued`.
    pub(crate) async fn send(&mut self, id: MessageId) -> Sent {
        let sid = self.sid();
        let attempt = self.attempt(id, accepted_by_provider(sid)).await;
        Sent { attempt, sid }
    }

    /// Opens an attempt about which nobody knows anything afterwards.
    pub(crate) async fn lose(&self, id: MessageId) -> AttemptId {
        self.attempt(id, Outcome::Unknown(UnknownCause::Timeout))
            .await
    }

    // -- reports -----------------------------------------------------------------------------

    pub(crate) fn report_of(
        &self,
        attempt: AttemptId,
        sid: Option<Sid>,
        status: ProviderStatus,
    ) -> Report {
        Report {
            attempt: Some(attempt),
            sid,
            status,
            word: None,
            code: None,
            names: Vec::new(),
            source: Source::Callback,
            stamp: Stamp {
                now: self.now,
                random: u64::MAX,
            },
        }
    }

    pub(crate) async fn tell(&self, report: Report) -> ReportResult {
        let mut results = self.store().report(vec![report]).await.unwrap();
        results.remove(0)
    }

    pub(crate) async fn report(&self, sent: Sent, status: ProviderStatus) -> ReportResult {
        self.tell(self.report_of(sent.attempt, Some(sent.sid), status))
            .await
    }

    pub(crate) async fn fail(&self, sent: Sent, status: ProviderStatus, code: u32) -> ReportResult {
        let mut report = self.report_of(sent.attempt, Some(sent.sid), status);
        report.code = Some(code);
        self.tell(report).await
    }

    // -- people ------------------------------------------------------------------------------

    pub(crate) fn inbound_from(&mut self, who: &str, to: &str, body: &str) -> NewInbound {
        let parsed = Address::parse(who, Context::Inbound).unwrap();
        NewInbound {
            sid: self.sid(),
            from: parsed.address,
            also: Vec::new(),
            sent_form: parsed.sent_form,
            to: Some(SenderName::new(to)),
            message_type: "text".into(),
            payload: format!("{{\"body\":\"{body}\"}}"),
            media: 0,
            reply_to: None,
            body: body.into(),
            button_payload: None,
            provider_keyword: None,
            question_id: new_message_id(self.now, &*self.random),
            // In the order of these calls.
            written_at: Some(self.now.plus(Duration::from_micros(self.serial))),
            listed: false,
            now: self.now,
        }
    }

    pub(crate) async fn receive(&mut self, inbound: NewInbound) -> InboundResult {
        let mut results = self.store().inbound(vec![inbound]).await.unwrap();
        results.remove(0)
    }

    /// A person writes to the first sender.
    pub(crate) async fn write(&mut self, person: u32, body: &str) -> InboundResult {
        let inbound = self.inbound_from(&number(person), FIRST, body);
        self.receive(inbound).await
    }

    // -- watches -----------------------------------------------------------------------------

    /// Lets the time for evidence about the one unknown attempt pass.
    #[track_caller]
    pub(crate) fn give_up_looking(&mut self) -> impl Future<Output = ()> {
        let caller = Location::caller();
        async move {
            self.pass(20 * MINUTE);
            let watches = self.watches().await;
            assert_eq!(watches.len(), 1, "{caller}: one attempt is unknown");
            self.settle(&watches[0], Finding::HorizonPassed(None), None)
                .await;
        }
    }

    #[track_caller]
    pub(crate) fn pause(&self, sender: &str, paused: bool) -> impl Future<Output = ()> {
        let caller = Location::caller();
        async move {
            let known = self
                .store()
                .pause_sender(sender.into(), paused, self.now)
                .await;
            assert!(known.unwrap(), "{caller}: {sender} is a sender");
        }
    }

    // -- looking -----------------------------------------------------------------------------

    #[track_caller]
    pub(crate) fn view(&self, id: MessageId) -> impl Future<Output = MessageView> {
        let caller = Location::caller();
        async move {
            let view = self.store().message(id).await.unwrap();
            view.unwrap_or_else(|| panic!("{caller}: the message does not exist"))
        }
    }

    pub(crate) async fn state(&self, id: MessageId) -> State {
        self.view(id).await.summary.state
    }

    /// The last entries of the history, in the words of the log.
    pub(crate) async fn history(&self, id: MessageId) -> Vec<&'static str> {
        let view = self.view(id).await;
        view.history
            .iter()
            .map(|entry| entry.kind.as_str())
            .collect()
    }

    pub(crate) async fn command(&self, id: MessageId, command: MessageCommand) -> CommandResult {
        let results = self.store().command(vec![(id, command)], self.now).await;
        results.unwrap().remove(0)
    }

    /// Every counter that is not zero, by group.
    pub(crate) async fn counters(&self, group: CounterGroup) -> Vec<CounterRow> {
        let query = CounterQuery {
            from_hour: 0,
            to_hour: i64::MAX,
            group,
        };
        let mut rows = self.store().counters(query).await.unwrap();
        rows.retain(|row| row.n != 0);
        rows
    }

    pub(crate) async fn counter(&self, metric: Metric, code: i64) -> i64 {
        let rows = self.counters(CounterGroup::None).await;
        let found = rows
            .iter()
            .find(|row| row.metric == metric && row.code == code);
        found.map_or(0, |row| row.n)
    }

    /// The recount must agree, and must have had something to count.
    #[track_caller]
    pub(crate) fn clean(&self) -> impl Future<Output = ()> {
        let caller = Location::caller();
        async move {
            let report = self.store().verify().await.unwrap();
            assert_eq!(report.differences, Vec::<String>::new(), "{caller}");
            let last = self.store().last_event().await.unwrap();
            assert_eq!(report.events, u64::try_from(last).unwrap(), "{caller}");
        }
    }

    pub(crate) fn idempotency(key: u8, body: u8) -> Option<Idempotency> {
        Some(Idempotency {
            key: [key; 16],
            body: [body; 16],
        })
    }
}
