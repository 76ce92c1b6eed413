//! Batches that mix verbs about the same person, run on SQLite and on a sheet: both must tell the same
//! story. With a mistake planted in the sheet, they must not.

mod endings;
mod words;

use std::fmt::Write;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use delivery::address::{Address, Context};
use delivery::event::Source;
use delivery::message::{Message, SenderName, WindowChoice};
use delivery::outcome::{Outcome, ProviderStatus};
use delivery::row::{HoldRow, MessageRow, SenderRow};
use delivery::sid::Sid;
use delivery::time::Timestamp;
use recado::store::sqlite::SqliteStore;
use recado::store::{
    AttemptId, CloseRequest, Consents, CounterGroup, CounterQuery, Counters, DueQuery, Events,
    FAULTS, Fault, Health, Holds, Idempotency, Maintenance, MessageCommand, MessageId, Messages,
    NewMessage, OpenRequest, OpenResult, Queue, Report, Reports, Senders, Stamp, new_message_id,
};

use super::engine::{Setup, Sqlite, master_key};
use super::fixture::{FIRST, HOUR, MINUTE, SECOND, START};
use super::samples::{notice, number, text};
use crate::rng::Rng;

/// How a run differs from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Statements,
    Sheet(Option<Fault>),
}

type Step<'a> = Pin<Box<dyn Future<Output = String> + Send + 'a>>;

/// A store whose batches a test puts together.
struct Mixer {
    _engine: Sqlite,
    store: Arc<SqliteStore>,
    random: Rng,
    now: Timestamp,
    serial: u64,
    /// What was answered, one line for each step.
    told: String,
    opened: Arc<Mutex<Vec<AttemptId>>>,
    /// How many of them were closed for certain.
    closed: usize,
}

impl Mixer {
    async fn new(way: Way, seed: u64) -> Self {
        let engine = Sqlite::fresh();
        let senders = [FIRST, SECOND].map(SenderName::new).to_vec();
        let store = engine.store(Setup {
            master_key: master_key(),
            senders,
            random: Arc::new(Rng::new(seed)),
            now: START,
        });
        let store = Arc::new(store.unwrap());
        if let Way::Sheet(fault) = way {
            store.run_on_sheet(fault);
        }
        Self {
            _engine: engine,
            store,
            random: Rng::new(seed + 1),
            now: START,
            serial: 0,
            told: String::new(),
            opened: Arc::default(),
            closed: 0,
        }
    }

    fn stamp(&self) -> Stamp {
        Stamp {
            now: self.now,
            random: self.random.next(),
        }
    }

    fn sid(&mut self) -> Sid {
        self.serial += 1;
        Sid::parse_message(&format!("SM{:032x}", self.serial)).unwrap()
    }

    /// Runs some requests in one commit, in this order.
    async fn together(&mut self, steps: Vec<Step<'_>>) {
        self.store.commit_together(steps.len());
        for line in futures_util::future::join_all(steps).await {
            writeln!(self.told, "{line}").unwrap();
        }
    }

    fn new_message(&self, message: Message) -> NewMessage {
        NewMessage {
            id: new_message_id(self.now, &self.random),
            message,
            idempotency: None,
            now: self.now,
            dedupe_window: 10 * MINUTE,
        }
    }

    fn accept(&self, message: Message) -> (MessageId, Step<'static>) {
        let new = self.new_message(message);
        let (id, store) = (new.id, Arc::clone(&self.store));
        let step = async move { format!("{:?}", store.accept(vec![new]).await.unwrap()) };
        (id, Box::pin(step))
    }

    fn open(&self, message: MessageRow) -> Step<'static> {
        let request = OpenRequest {
            message,
            stamp: self.stamp(),
        };
        let store = Arc::clone(&self.store);
        let opened = Arc::clone(&self.opened);
        Box::pin(async move {
            match store.open_attempts(vec![request]).await.unwrap().remove(0) {
                OpenResult::Open(open) => {
                    opened.lock().unwrap().push(open.attempt);
                    format!("open {} {:?}", open.attempt, open.variant)
                }
                OpenResult::Busy => "busy".to_owned(),
                OpenResult::Held => "held".to_owned(),
                OpenResult::Gone => "gone".to_owned(),
            }
        })
    }

    fn close(&self, attempt: delivery::row::AttemptRow, outcome: Outcome) -> Step<'static> {
        let request = CloseRequest {
            attempt,
            outcome,
            stamp: self.stamp(),
        };
        let store = Arc::clone(&self.store);
        Box::pin(async move { format!("{:?}", store.close_attempts(vec![request]).await.unwrap()) })
    }

    fn report(&self, sid: Sid, status: ProviderStatus, code: Option<u32>) -> Step<'static> {
        self.report_of(None, sid, status, code)
    }

    /// A callback of an attempt, whosever the message was thought to be: it may take back what was
    /// concluded from the list.
    fn report_of(
        &self,
        attempt: Option<AttemptId>,
        sid: Sid,
        status: ProviderStatus,
        code: Option<u32>,
    ) -> Step<'static> {
        let report = Report {
            attempt,
            sid: Some(sid),
            status,
            word: None,
            code,
            names: Vec::new(),
            source: Source::Callback,
            stamp: self.stamp(),
        };
        let store = Arc::clone(&self.store);
        Box::pin(async move { format!("{:?}", store.report(vec![report]).await.unwrap()) })
    }

    fn command(&self, id: MessageId, command: MessageCommand) -> Step<'static> {
        let (store, now) = (Arc::clone(&self.store), self.now);
        Box::pin(async move {
            format!(
                "{:?}",
                store.command(vec![(id, command)], now).await.unwrap()
            )
        })
    }

    fn consent(&self, person: u32, opted_out: bool) -> Step<'static> {
        let address = Address::parse(&number(person), Context::Inbound).unwrap();
        let (store, now) = (Arc::clone(&self.store), self.now);
        Box::pin(async move {
            let view = store.set_consent(address.address, opted_out, now).await;
            format!("{:?}", view.unwrap())
        })
    }

    fn lift(&self, hold: HoldRow) -> Step<'static> {
        let (store, now) = (Arc::clone(&self.store), self.now);
        Box::pin(async move { format!("{:?}", store.lift_hold(hold, now).await.unwrap()) })
    }

    fn put_off(&self, messages: Vec<MessageRow>) -> Step<'static> {
        let (store, now) = (Arc::clone(&self.store), self.now);
        Box::pin(async move { format!("{:?}", store.put_off_held(messages, now).await.unwrap()) })
    }

    fn defer(&self, message: MessageRow) -> Step<'static> {
        let (store, at) = (Arc::clone(&self.store), self.now.plus(MINUTE));
        Box::pin(async move { format!("{:?}", store.defer(vec![(message, at)]).await.unwrap()) })
    }

    /// The same request with the same idempotency key, each with an id of its own.
    fn accept_keyed(&self, key: u8, message: Message) -> Step<'static> {
        let mut new = self.new_message(message);
        new.idempotency = Some(Idempotency {
            key: [key; 16],
            body: [1; 16],
        });
        let store = Arc::clone(&self.store);
        Box::pin(async move { format!("{:?}", store.accept(vec![new]).await.unwrap()) })
    }

    fn maintain(&self) -> Step<'static> {
        let (store, now) = (Arc::clone(&self.store), self.now);
        Box::pin(async move { format!("{:?}", store.maintain(now).await.unwrap()) })
    }

    /// The messages that are due, by both senders.
    async fn due(&self) -> Vec<MessageRow> {
        let mut due = Vec::new();
        for sender in [SenderRow(1), SenderRow(2)] {
            let query = DueQuery {
                sender,
                now: self.now,
                limit: 100,
                urgent_only: false,
            };
            let page = self.store.due(query).await.unwrap();
            due.extend(page.due.iter().map(|message| message.message));
        }
        due
    }

    /// Everything that is shown, after a recount.
    async fn story(mut self) -> String {
        for event in self.store.events(0, 10_000).await.unwrap() {
            writeln!(self.told, "{} {:?}", event.message, event.entry).unwrap();
        }
        for person in 0..4 {
            let address = Address::parse(&number(person), Context::Inbound).unwrap();
            let consent = self.store.consent(address.address).await.unwrap();
            writeln!(self.told, "{consent:?}").unwrap();
            let history = self.store.consent_history(user_id(person)).await.unwrap();
            writeln!(self.told, "{history:?}").unwrap();
        }
        for sender in self.store.senders().await.unwrap() {
            writeln!(self.told, "{sender:?}").unwrap();
        }
        let query = CounterQuery {
            from_hour: 0,
            to_hour: i64::MAX,
            group: CounterGroup::Sender,
        };
        for row in self.store.counters(query).await.unwrap() {
            writeln!(self.told, "{row:?}").unwrap();
        }
        let report = self.store.verify().await.unwrap();
        writeln!(self.told, "{:?}", report.differences).unwrap();
        self.told
    }
}

/// WhatsApp's id of a person at this business.
fn user_id(person: u32) -> Address {
    Address::from_canonical(&format!("BR.{:016}", 1_000_000 + person)).unwrap()
}

fn free_text(person: u32, body: &str) -> Message {
    Message {
        window: WindowChoice::AssumeOpen,
        ..text(person, body)
    }
}

/// Batches in which each step depends on what the one before has done in the same commit.
async fn tell(way: Way) -> String {
    let mut mixer = Mixer::new(way, 7).await;
    // Accepted and opted out in one commit; accepted again after it, and by somebody else.
    let (_, first) = mixer.accept(notice(1, "a"));
    let stop = mixer.writes(1, "SAIR");
    let (_, late) = mixer.accept(notice(1, "b"));
    let (_, other) = mixer.accept(notice(2, "a"));
    mixer.together(vec![first, stop, late, other]).await;

    // The same content twice, and the subject superseded twice.
    let (_, once) = mixer.accept(free_text(3, "same"));
    let (_, twice) = mixer.accept(free_text(3, "same"));
    let versions = ["interview:1:v1", "interview:1:v2", "interview:1:v1"].map(|key| {
        let message = Message {
            business_key: Some(delivery::message::BusinessKey::parse(key)),
            ..notice(3, key)
        };
        mixer.accept(message).1
    });
    let steps = [once, twice].into_iter().chain(versions).collect();
    mixer.together(steps).await;

    // Held by a question and released by its answer, with a message accepted between.
    let ask = mixer.writes(2, "CANCELAR");
    let (_, between) = mixer.accept(notice(2, "b"));
    let again = mixer.writes(2, "continuar");
    mixer.together(vec![ask, between, again]).await;

    // Two messages of one person opened at once, an opt-out among them.
    mixer.now = mixer.now.plus(MINUTE);
    let due = mixer.due().await;
    let mut steps: Vec<Step<'_>> = due.iter().map(|row| mixer.open(*row)).collect();
    steps.push(mixer.consent(3, true));
    steps.extend(due.iter().map(|row| mixer.open(*row)));
    mixer.together(steps).await;

    // Closed, reported twice with a code, and reported before the answer.
    let (sid, early) = (mixer.sid(), mixer.sid());
    let attempt = delivery::row::AttemptRow;
    let sent = |sid| Outcome::Sent {
        sid,
        status: ProviderStatus::Queued,
    };
    let steps = vec![
        mixer.report(early, ProviderStatus::Delivered, None),
        mixer.close(attempt(1), sent(sid)),
        // The person has blocked us: more must be read after the report has been noted.
        mixer.report(sid, ProviderStatus::Failed, Some(21_610)),
        mixer.report(sid, ProviderStatus::Failed, Some(21_610)),
        mixer.close(attempt(2), sent(early)),
        mixer.report(early, ProviderStatus::Read, None),
        mixer.maintain(),
    ];
    mixer.together(steps).await;
    mixer.story().await
}

/// Random batches about three people.
async fn tell_random(way: Way, seed: u64) -> String {
    let mut mixer = Mixer::new(way, seed).await;
    let mut sids: Vec<Sid> = Vec::new();
    let mut ids: Vec<MessageId> = Vec::new();
    let mut attempts = 0;
    for round in 0..60 {
        mixer.now = mixer.now.plus(if round % 20 == 19 { HOUR } else { MINUTE });
        let due = mixer.due().await;
        let mut steps: Vec<Step<'_>> = Vec::new();
        for _ in 0..2 + mixer.random.below(6) {
            let person = u32::try_from(mixer.random.below(3)).unwrap();
            let step = match mixer.random.below(17) {
                0..=3 => {
                    let body = ["a", "b", "c"][mixer.random.below(3)];
                    let make: [fn(u32, &str) -> Message; 2] = [free_text, notice];
                    let mut message = make[mixer.random.below(2)](person, body);
                    if mixer.random.below(4) == 0 {
                        message.to = user_id(person);
                    }
                    let (id, step) = mixer.accept(message);
                    ids.push(id);
                    step
                }
                4 => {
                    let word = ["SAIR", "CANCELAR", "continuar", "voltar", "oi"];
                    // Now and then two people turn out to be one.
                    let also = match mixer.random.below(12) {
                        0..=3 => vec![user_id(person)],
                        4 => vec![user_id((person + 1) % 3)],
                        _ => Vec::new(),
                    };
                    let word = word[mixer.random.below(5)];
                    steps.extend(mixer.writes_somehow(person, &also, word));
                    continue;
                }
                5..=6 if !due.is_empty() => mixer.open(due[mixer.random.below(due.len())]),
                7 => {
                    attempts += 1;
                    let sid = mixer.sid();
                    sids.push(sid);
                    mixer.close(delivery::row::AttemptRow(attempts), outcome(&mixer, sid))
                }
                8..=9 if !sids.is_empty() => {
                    let sid = sids[mixer.random.below(sids.len())];
                    let codes = [63_024, 63_016, 21_610, 63_018, 63_042, 30_450];
                    let (status, code) = [
                        (ProviderStatus::Sent, None),
                        (ProviderStatus::Delivered, None),
                        (ProviderStatus::Failed, Some(codes[mixer.random.below(6)])),
                        (ProviderStatus::Undelivered, Some(63_016)),
                    ][mixer.random.below(4)];
                    mixer.report(sid, status, code)
                }
                10 if !ids.is_empty() => {
                    let command =
                        [MessageCommand::Cancel, MessageCommand::Retry][mixer.random.below(2)];
                    mixer.command(ids[mixer.random.below(ids.len())], command)
                }
                13 => mixer.put_off(due.clone()),
                14 if !ids.is_empty() => mixer.command_if(&ids),
                15..=16 if !sids.is_empty() => mixer.claim(&sids),
                12 => mixer.lift(HoldRow(i64::try_from(mixer.random.below(9)).unwrap())),
                11 if !due.is_empty() => mixer.defer(due[mixer.random.below(due.len())]),
                _ => mixer.maintain(),
            };
            steps.push(step);
        }
        let key = u8::try_from(mixer.random.below(8)).unwrap();
        steps.push(mixer.accept_keyed(key, free_text(2, &format!("key {key}"))));
        steps.push(mixer.accept_keyed(key, free_text(2, &format!("key {key}"))));
        if let Some(watch) = mixer.watch().await {
            let finding = mixer.finding(&mut sids);
            steps.push(mixer.settle(&watch, finding));
        }
        steps.extend(mixer.in_order().await);
        mixer.together(steps).await;
        if round % 3 == 0 {
            mixer.conclude(&mut sids).await;
        }
    }
    mixer.end(&sids).await;
    mixer.story().await
}

fn outcome(mixer: &Mixer, sid: Sid) -> Outcome {
    match mixer.random.below(4) {
        0 => Outcome::Unknown(delivery::outcome::UnknownCause::Timeout),
        1 => Outcome::Refused {
            http_status: 400,
            code: Some([21_211, 21_606, 21_611, 63_007][mixer.random.below(4)]),
        },
        _ => Outcome::Sent {
            sid,
            status: ProviderStatus::Queued,
        },
    }
}

#[tokio::test]
async fn a_batch_sees_what_it_has_changed_itself() {
    let plain = tell(Way::Statements).await;
    assert_eq!(tell(Way::Sheet(None)).await, plain);
    assert!(plain.ends_with("[]\n"), "{plain}");
    for what in [
        "Duplicate {",
        "Superseded",
        "Suppressed",
        "busy",
        "Duplicate]",
    ] {
        assert!(plain.contains(what), "{what} happens in {plain}");
    }
}

#[tokio::test]
async fn every_planted_mistake_is_found() {
    let plain = tell(Way::Statements).await;
    for fault in FAULTS {
        let faulty = tell(Way::Sheet(Some(fault))).await;
        assert!(faulty != plain, "{fault:?} is not found");
    }
}

#[tokio::test]
async fn random_batches_tell_the_same_story() {
    let mut merged = false;
    for seed in [1, 2, 3, 20, 57, 67] {
        let plain = tell_random(Way::Statements, seed).await;
        let sheet = tell_random(Way::Sheet(None), seed).await;
        assert!(
            sheet == plain,
            "seed {seed}: {}",
            difference(&plain, &sheet)
        );
        let end: Vec<&str> = plain.lines().rev().take(2).collect();
        assert!(plain.ends_with("[]\n"), "seed {seed}: {end:?}");
        merged |= plain.contains("PersonMerged");
    }
    assert!(merged, "two people become one");
}

fn difference(plain: &str, sheet: &str) -> String {
    let mut lines = plain.lines().zip(sheet.lines()).enumerate();
    let found = lines.find(|(_, (plain, sheet))| plain != sheet);
    format!("{found:#?}")
}
