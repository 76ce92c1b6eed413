mod failing;

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use delivery::address::{Address, Context};
use delivery::consent::Consent;
use delivery::outcome::Outcome;
use delivery::progress::Rules;

use super::failures::GARBAGE_MAX;
use super::*;
use crate::effects::BoxFuture;
use crate::provider::{
    CreateRequest, InboundRecipient, ListQuery, ProviderMedium, ProviderMessage,
};
use crate::secrets::MasterKey;
use crate::store::sqlite::{OpenMode, Options, SqliteStore};
use crate::store::{Consents, InboundQuery, Senders};

const SENDER: &str = "+551140000000";
const PERSON: &str = "+5585988887777";
/// Messages of one page.
const PAGE: usize = 2;
/// Longer than anything here takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// A list of inbound messages, as a provider would show it.
#[derive(Default)]
struct List(Mutex<Shown>);

#[derive(Default)]
struct Shown {
    /// Newest last: number, second of writing, text, number of media.
    messages: Vec<(u32, i64, &'static str, u32)>,
    /// The answer to everything.
    failure: Option<ProviderError>,
    /// Pages that are given before that.
    pages_before_failure: usize,
    /// The answers to what is asked about one number alone.
    failures: HashMap<String, ProviderError>,
    /// To which number the messages are, when there are several.
    only_to: Option<String>,
    /// The answers to what is asked about the media of a message.
    media_failures: HashMap<Sid, ProviderError>,
    /// Messages of each page that nobody can read.
    unreadable: Vec<Option<Timestamp>>,
    /// How far its clock is from ours.
    clock: ClockDifference,
    /// Which pages were asked for.
    asked: Vec<Option<String>>,
}

impl List {
    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.0.lock().unwrap()
    }

    fn page(&self, query: &InboundListQuery) -> Result<InboundPage, ProviderError> {
        let mut shown = self.shown();
        shown.asked.push(query.page.clone());
        let recipient = match &query.recipient {
            InboundRecipient::Number(number) => number.clone(),
            InboundRecipient::Service(service) => service.to_string(),
        };
        if let Some(failure) = shown.failures.get(&recipient) {
            return Err(failure.clone());
        }
        if shown.only_to.as_ref().is_some_and(|to| *to != recipient) {
            return Ok(InboundPage {
                messages: Vec::new(),
                unreadable: Vec::new(),
                newest: None,
                next: None,
                answered_at: Some(Timestamp::from_seconds(NOON)),
            });
        }
        if let Some(failure) = shown.failure.clone() {
            if shown.pages_before_failure == 0 {
                return Err(failure);
            }
            shown.pages_before_failure -= 1;
        }
        // A page begins below a message, however many newer ones there are by now.
        let below: u32 = match &query.page {
            Some(page) => page.parse().map_err(|_| ProviderError::NotFound)?,
            None => u32::MAX,
        };
        let older = shown.messages.iter().rev().filter(|(n, ..)| *n < below);
        let messages: Vec<InboundListed> = older
            .take(PAGE)
            .map(|(n, second, body, media)| InboundListed {
                sid: sid(*n),
                from: Some(PERSON.to_owned()),
                body: Some((*body).to_owned()),
                media: *media,
                created_at: Some(Timestamp::from_seconds(*second)),
            })
            .collect();
        let last = below.min(shown.messages.last().map_or(0, |(n, ..)| *n + 1));
        let next = last.saturating_sub(u32::try_from(PAGE).unwrap());
        Ok(InboundPage {
            newest: messages.iter().filter_map(|it| it.created_at).max(),
            unreadable: shown.unreadable.clone(),
            next: (messages.len() == PAGE && next > 1).then(|| next.to_string()),
            messages,
            answered_at: Some(Timestamp::from_seconds(NOON)),
        })
    }
}

/// When the provider answers.
const NOON: i64 = 1_763_640_000;

fn sid(n: u32) -> Sid {
    Sid::parse_message(&format!("SM{n:032x}")).unwrap()
}

impl Provider for List {
    fn youngest(&self) -> BoxFuture<'_, Result<Option<Timestamp>, ProviderError>> {
        unreachable!("nothing is sent")
    }

    fn clock_difference(&self) -> ClockDifference {
        self.shown().clock
    }

    fn create<'a>(&'a self, _: &'a CreateRequest) -> BoxFuture<'a, Outcome> {
        unreachable!("nothing is sent")
    }

    fn fetch(&self, _: Sid) -> BoxFuture<'_, Result<ProviderMessage, ProviderError>> {
        unreachable!("nothing is fetched")
    }

    fn list<'a>(
        &'a self,
        _: &'a ListQuery,
    ) -> BoxFuture<'a, Result<Vec<ProviderMessage>, ProviderError>> {
        unreachable!("nothing is listed")
    }

    fn list_inbound<'a>(
        &'a self,
        query: &'a InboundListQuery,
    ) -> BoxFuture<'a, Result<InboundPage, ProviderError>> {
        let page = self.page(query);
        Box::pin(async move { page })
    }

    fn media(&self, sid: Sid) -> BoxFuture<'_, Result<Vec<ProviderMedium>, ProviderError>> {
        let medium = ProviderMedium {
            url: "https://api.example.com/ME1".to_owned(),
            content_type: Some("image/jpeg".to_owned()),
        };
        let failure = self.shown().media_failures.get(&sid).cloned();
        Box::pin(async move { failure.map_or(Ok(vec![medium]), Err) })
    }
}

/// A database with one sender, and a list.
struct Setup {
    _folder: tempfile::TempDir,
    store: Arc<SqliteStore>,
    list: Arc<List>,
    lost: watch::Sender<u64>,
    caught_up: watch::Sender<bool>,
    concern: watch::Sender<Option<Unlisted>>,
    outages: watch::Sender<Vec<Outage>>,
}

impl Setup {
    fn new() -> Self {
        Self::with(&[SENDER])
    }

    fn with(senders: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let effects = Effects::real();
        let key = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
        let store = SqliteStore::open(Options {
            path: folder.path().join("recado.db"),
            mode: OpenMode::Server,
            master_key: MasterKey::parse(key).ok().unwrap(),
            random: Arc::clone(&effects.random),
            rules: Rules::default(),
            senders: senders.iter().copied().map(SenderName::new).collect(),
            provider_account: None,
            machine: None,
            now: effects.clock.now(),
        });
        Self {
            _folder: folder,
            store: Arc::new(store.unwrap()),
            list: Arc::new(List::default()),
            lost: watch::Sender::new(0),
            caught_up: watch::Sender::new(false),
            concern: watch::Sender::new(None),
            outages: watch::Sender::new(Vec::new()),
        }
    }

    async fn reader(&self, clock_scale: u32) -> InboundReader {
        let senders = self.store.senders().await.unwrap();
        InboundReader {
            store: self.store.clone(),
            watches: self.store.clone(),
            provider: self.list.clone(),
            effects: Effects::real(),
            senders: senders
                .into_iter()
                .map(|sender| (sender.row, SenderName::new(sender.name)))
                .collect(),
            lost: self.lost.subscribe(),
            caught_up: self.caught_up.clone(),
            concern: self.concern.clone(),
            outages: self.outages.clone(),
            clock_scale,
        }
    }

    /// One reading of everything.
    async fn read(&self) -> Result<(), ReadError> {
        self.read_with(&mut Memory::default()).await
    }

    async fn read_with(&self, memory: &mut Memory) -> Result<(), ReadError> {
        let reader = self.reader(1).await;
        let sources = sources(&reader.senders);
        reader.read_all(&sources, memory).await
    }

    /// What is said to be wrong.
    fn why(&self) -> String {
        let concern = self.concern.borrow().clone();
        concern.expect("something is wrong").why
    }

    async fn consent(&self) -> Option<Consent> {
        let person = Address::parse(PERSON, Context::Inbound).unwrap().address;
        let view = self.store.consent(person).await.unwrap();
        view.map(|view| view.consent)
    }

    /// What is stored, oldest first: number and payload.
    async fn stored(&self) -> Vec<(Sid, String)> {
        let query = InboundQuery {
            limit: 50,
            ..InboundQuery::default()
        };
        let views = self.store.inbound_messages(query).await.unwrap();
        let views = views.into_iter().rev();
        views
            .map(|view| (view.sid, view.payload.unwrap_or_default()))
            .collect()
    }
}

/// Waits until a channel shows what is wanted.
async fn until<T: Clone>(channel: &watch::Sender<T>, wanted: impl Fn(&T) -> bool) {
    let mut receiver = channel.subscribe();
    let found = tokio::time::timeout(DEADLINE, receiver.wait_for(|value| wanted(value))).await;
    drop(found.expect("not in time").unwrap());
}

#[tokio::test]
async fn lanes_wait_until_it_is_known_what_people_wrote() {
    let setup = Setup::new();
    {
        let mut shown = setup.list.shown();
        shown.failure = Some(ProviderError::Unreachable);
        shown.messages = vec![(1, NOON - 3_600, "oi", 0), (2, NOON - 60, "SAIR", 0)];
    }
    let stop = CancellationToken::new();
    let running = tokio::spawn(setup.reader(1_000).await.run(stop.clone()));
    until(&setup.concern, Option::is_some).await;
    let why = setup.why();
    assert!(why.contains("nothing is sent until"), "{why}");
    let concern = setup.concern.borrow().clone();
    assert!(concern.unwrap().sending_waits);
    // However often it is tried: the lanes stay closed.
    let asked = || setup.list.shown().asked.len();
    let enough = asked() + 5;
    tokio::time::timeout(DEADLINE, async {
        while asked() < enough {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .unwrap();
    assert!(!*setup.caught_up.borrow());
    assert_eq!(setup.outages.borrow().len(), 1);
    setup.list.shown().failure = None;
    until(&setup.caught_up, |caught_up| *caught_up).await;
    assert_eq!(setup.consent().await, Some(Consent::OptedOut));
    assert_eq!(*setup.concern.borrow(), None);
    assert!(setup.outages.borrow().is_empty());
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn a_definite_refusal_is_told_and_does_not_stop_the_lanes() {
    for (failure, tries) in [
        (
            ProviderError::Unauthorized {
                http_status: 403,
                code: Some(20_003),
            },
            1,
        ),
        // Nobody knows whether it comes from the provider: it must come again and again.
        (ProviderError::Garbage, GARBAGE_MAX),
    ] {
        let setup = Setup::new();
        setup.list.shown().failure = Some(failure);
        let stop = CancellationToken::new();
        let running = tokio::spawn(setup.reader(1_000).await.run(stop.clone()));
        until(&setup.caught_up, |caught_up| *caught_up).await;
        assert!(setup.list.shown().asked.len() >= usize::try_from(tries).unwrap());
        let why = setup.why();
        assert!(why.contains("opt-outs whose callbacks"), "{why}");
        // It is tried again, and told when it works.
        setup.list.shown().failure = None;
        until(&setup.concern, Option::is_none).await;
        stop.cancel();
        running.await.unwrap();
    }
}

#[tokio::test]
async fn a_reading_that_was_broken_off_goes_on_where_it_was() {
    let setup = Setup::new();
    {
        let mut shown = setup.list.shown();
        // Ten minutes apart; the newest is number 7.
        shown.messages = (1..=7)
            .map(|n| (n, NOON - 600 * (8 - i64::from(n)), "oi", 0))
            .collect();
        shown.failure = Some(ProviderError::Unreachable);
        shown.pages_before_failure = 2;
    }
    let broken = setup.read().await;
    assert!(
        matches!(broken, Err(ReadError::Provider(ProviderError::Unreachable))),
        "{broken:?}"
    );
    let sids = async |setup: &Setup| -> Vec<Sid> {
        let mut all: Vec<Sid> = setup
            .stored()
            .await
            .into_iter()
            .map(|(sid, _)| sid)
            .collect();
        all.sort_by_key(|sid| sid.to_string());
        all
    };
    assert_eq!(sids(&setup).await, [4, 5, 6, 7].map(sid));
    {
        let mut shown = setup.list.shown();
        shown.failure = None;
        shown.asked.clear();
        shown.messages.push((8, NOON, "voltei", 0));
    }
    setup.read().await.unwrap();
    assert_eq!(sids(&setup).await, [1, 2, 3, 4, 5, 6, 7, 8].map(sid));
    let page = |n: u32| Some(n.to_string());
    // The newest, the rest of the first, and then what is newer, back to ten minutes before the first one
    // began.
    let asked = std::mem::take(&mut setup.list.shown().asked);
    assert_eq!(asked, [None, page(4), page(2), None, page(7)]);
    // With nothing new, the newest pages are enough.
    setup.read().await.unwrap();
    let asked = std::mem::take(&mut setup.list.shown().asked);
    assert_eq!(asked, [None, page(7)]);
    assert_eq!(setup.stored().await.len(), 8, "nothing counts twice");
}

#[tokio::test]
async fn a_list_that_is_very_long_does_not_hold_up_the_lanes_for_ever() {
    let fresh = Setup::new();
    {
        let mut shown = fresh.list.shown();
        shown.messages = (1..=30)
            .map(|n| (n, NOON - 60 * (31 - i64::from(n)), "oi", 0))
            .collect();
        shown.failure = Some(ProviderError::Unreachable);
        // The first page and two more.
        shown.pages_before_failure = 3;
    }
    assert!(fresh.read().await.is_err());
    assert!(!*fresh.caught_up.borrow(), "that is not long");
    fresh.list.shown().pages_before_failure = 4;
    let broken = fresh.read().await;
    assert!(broken.is_err());
    assert!(*fresh.caught_up.borrow(), "lanes open after so many pages");
    let why = fresh.why();
    assert!(why.contains("still being listed"), "{why}");
    // Nothing of it is given up.
    fresh.list.shown().failure = None;
    fresh.read().await.unwrap();
    assert_eq!(fresh.stored().await.len(), 30);
}

#[tokio::test]
async fn a_page_that_the_provider_has_forgotten_is_read_again_from_the_start() {
    let setup = Setup::new();
    setup.list.shown().messages = vec![(1, NOON - 60, "SAIR", 0)];
    let sender = setup.store.senders().await.unwrap().remove(0);
    let cursor = InboundCursor {
        sender: sender.row,
        recipient: SENDER.to_owned(),
        listed_until: Some(Timestamp::from_seconds(NOON - 3_600)),
        reading: Some(InboundReading {
            until: Timestamp::from_seconds(NOON - 1_800),
            since: Timestamp::from_seconds(NOON - 4_200),
            next_page: "forgotten".to_owned(),
        }),
    };
    setup.store.set_inbound_cursor(cursor).await.unwrap();
    setup.read().await.unwrap();
    assert_eq!(setup.consent().await, Some(Consent::OptedOut));
}

#[tokio::test]
async fn only_the_last_day_of_a_new_database_is_read_and_media_are_named() {
    let setup = Setup::new();
    setup.list.shown().messages = vec![
        (1, NOON - 25 * 3_600, "SAIR", 0),
        (2, NOON - 23 * 3_600, "foto", 1),
    ];
    setup.read().await.unwrap();
    let stored = setup.stored().await;
    let payload = r#"{"body":"foto","media":[{"content_type":"image/jpeg","url":"https://api.example.com/ME1"}]}"#;
    assert_eq!(stored, [(sid(2), payload.to_owned())]);
}

#[tokio::test]
async fn a_lost_callback_is_looked_for_at_once() {
    let setup = Setup::new();
    let stop = CancellationToken::new();
    // With real waits the next reading would come in five minutes.
    let running = tokio::spawn(setup.reader(1).await.run(stop.clone()));
    until(&setup.caught_up, |caught_up| *caught_up).await;
    setup.list.shown().messages = vec![(1, NOON, "SAIR", 0)];
    setup.lost.send_modify(|n| *n += 1);
    tokio::time::timeout(DEADLINE, async {
        while setup.consent().await != Some(Consent::OptedOut) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .unwrap();
    stop.cancel();
    running.await.unwrap();
}

#[test]
fn each_form_of_each_number_is_read() {
    let keys = |name: &str| -> Vec<String> {
        let sources = sources(&[(SenderRow(1), SenderName::new(name))]);
        sources.iter().map(Source::key).collect()
    };
    assert_eq!(keys(SENDER), [SENDER]);
    // A mobile may come back without its ninth digit.
    assert_eq!(keys("+5585988887777"), ["+558588887777", "+5585988887777"]);
    let service = "MG00000000000000000000000000000001";
    assert_eq!(keys(service), [service]);
}

#[tokio::test]
async fn a_clock_that_is_far_from_the_providers_is_written_down_before_anything_is_sent() {
    let setup = Setup::new();
    let hour = 3_600_000_000;
    let clock = ClockDifference::between(-hour - 1, 1 - hour);
    setup.list.shown().clock = clock;
    setup.read().await.unwrap();
    let noted = setup.store.list_lag(Timestamp::from_seconds(0)).await;
    let noted = noted.unwrap();
    assert_eq!(noted.clock.bounds().0, clock.bounds().0);
    assert_eq!(noted.lag, None);
    assert!(!*setup.caught_up.borrow(), "nothing is sent yet");
}
