//! What cannot be read holds up nothing else.

use super::*;
use crate::store::{
    ConsentCheckQuery, ConsentCheckResult, ConsentChecks, InboundResult, InboundView, NewInbound,
    StoreFuture,
};

const OTHER: &str = "+551140000001";

fn numbers(stored: &[(Sid, String)]) -> Vec<Sid> {
    let mut sids: Vec<Sid> = stored.iter().map(|(sid, _)| *sid).collect();
    sids.sort_by_key(Sid::to_string);
    sids
}

#[tokio::test]
async fn what_people_write_to_one_sender_is_known_though_the_list_of_the_other_always_fails() {
    for (failing, other) in [(SENDER, OTHER), (OTHER, SENDER)] {
        let setup = Setup::with(&[SENDER, OTHER]);
        {
            let mut shown = setup.list.shown();
            shown.failures = HashMap::from([(failing.to_owned(), ProviderError::Unreachable)]);
            shown.only_to = Some(other.to_owned());
            shown.messages = vec![(1, NOON - 60, "oi", 0), (2, NOON - 30, "SAIR", 0)];
        }
        let stop = CancellationToken::new();
        let running = tokio::spawn(setup.reader(1_000).await.run(stop.clone()));
        until(&setup.concern, Option::is_some).await;
        assert_eq!(setup.consent().await, Some(Consent::OptedOut));
        // The lanes wait: who opted out at the other one is not known.
        assert!(!*setup.caught_up.borrow());
        // A refusal does not hide that.
        let refused = ProviderError::Refused {
            http_status: 400,
            code: Some(20_001),
        };
        let failures = HashMap::from([
            (other.to_owned(), refused.clone()),
            (failing.to_owned(), ProviderError::RateLimited),
        ]);
        let enough = {
            let mut shown = setup.list.shown();
            shown.failures = failures;
            shown.asked.len() + 8
        };
        tokio::time::timeout(DEADLINE, async {
            while setup.list.shown().asked.len() < enough {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await
        .unwrap();
        assert!(!*setup.caught_up.borrow());
        setup.list.shown().failures.remove(failing);
        until(&setup.caught_up, |caught_up| *caught_up).await;
        stop.cancel();
        running.await.unwrap();
    }
}

#[tokio::test]
async fn many_numbers_that_cannot_be_reached_are_not_all_waited_for() {
    let names = (0..8).map(|n| format!("+55114000000{n}"));
    let names: Vec<String> = names.collect();
    let borrowed: Vec<&str> = names.iter().map(String::as_str).collect();
    let setup = Setup::with(&borrowed);
    setup.list.shown().failure = Some(ProviderError::Unreachable);
    assert!(setup.read().await.is_err());
    assert_eq!(setup.list.shown().asked.len(), UNREACHABLE_MAX);
    // They do not hide the others for ever.
    let failures = names[..7].iter().cloned();
    {
        let mut shown = setup.list.shown();
        shown.failure = None;
        shown.failures = failures
            .map(|name| (name, ProviderError::Unreachable))
            .collect();
        shown.only_to = Some(names[7].clone());
        shown.messages = vec![(1, NOON - 60, "SAIR", 0)];
    }
    let stop = CancellationToken::new();
    let running = tokio::spawn(setup.reader(1_000).await.run(stop.clone()));
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

#[tokio::test]
async fn a_very_long_list_of_one_sender_hides_nothing_new_at_another() {
    let setup = Setup::with(&[SENDER, OTHER]);
    {
        let mut shown = setup.list.shown();
        shown.messages = (1..=30)
            .map(|n| (n, NOON - 60 * (31 - i64::from(n)), "oi", 0))
            .collect();
        shown.failures = HashMap::from([(OTHER.to_owned(), ProviderError::Unreachable)]);
    }
    assert!(setup.read().await.is_err());
    assert!(!*setup.caught_up.borrow(), "nobody knows what is new there");
    assert_eq!(setup.stored().await.len(), 30);
}

#[tokio::test]
async fn an_old_message_among_newer_ones_does_not_end_the_list() {
    let setup = Setup::new();
    setup.list.shown().messages = vec![
        (1, NOON - 90, "SAIR", 0),
        (2, NOON - 80, "oi", 0),
        // Created long before it was sent.
        (3, NOON - 30 * 3_600, "oi", 0),
        (4, NOON - 60, "oi", 0),
    ];
    setup.read().await.unwrap();
    assert_eq!(numbers(&setup.stored().await), [1, 2, 4].map(sid));
    assert_eq!(setup.consent().await, Some(Consent::OptedOut));
}

#[tokio::test]
async fn media_that_cannot_be_listed_hold_up_no_other_message() {
    let setup = Setup::new();
    {
        let mut shown = setup.list.shown();
        shown.messages = vec![
            (1, NOON - 90, "oi", 0),
            (2, NOON - 80, "foto", 1),
            (3, NOON - 70, "outra", 1),
            (4, NOON - 60, "SAIR", 1),
        ];
        let away = ProviderError::Unreachable;
        shown.media_failures = HashMap::from([(sid(2), away.clone()), (sid(4), away)]);
    }
    let mut memory = Memory::default();
    for _ in 0..2 {
        // It comes again with the next reading, which is soon. A word outranks its picture.
        assert!(setup.read_with(&mut memory).await.is_err());
        assert_eq!(numbers(&setup.stored().await), [1, 3, 4].map(sid));
        assert_eq!(setup.consent().await, Some(Consent::OptedOut));
    }
    // Not for ever.
    setup.read_with(&mut memory).await.unwrap();
    let stored = setup.stored().await;
    assert_eq!(numbers(&stored), [1, 2, 3, 4].map(sid));
    let photo = stored.iter().find(|(known, _)| *known == sid(2));
    assert_eq!(photo.unwrap().1, r#"{"body":"foto"}"#);
}

#[tokio::test]
async fn what_nobody_can_read_is_told_once_and_holds_up_nothing() {
    let setup = Setup::new();
    {
        let mut shown = setup.list.shown();
        shown.messages = vec![(1, NOON - 60, "SAIR", 0)];
        let old = Some(Timestamp::from_seconds(NOON - 48 * 3_600));
        shown.unreadable = vec![None, old];
    }
    let mut memory = Memory::default();
    setup.read_with(&mut memory).await.unwrap();
    assert_eq!(setup.consent().await, Some(Consent::OptedOut));
    // What is older than the reading was told by an earlier one.
    assert_eq!(memory.unreadable[SENDER], 1);
}

/// A store in which the rows of who wrote one message are damaged.
struct Damaged {
    store: Arc<SqliteStore>,
    message: Sid,
}

impl Inbounds for Damaged {
    fn inbound(&self, batch: Vec<NewInbound>) -> StoreFuture<'_, Vec<InboundResult>> {
        if batch.iter().any(|inbound| inbound.sid == self.message) {
            return Box::pin(async { Err(StoreError::DecryptError) });
        }
        self.store.inbound(batch)
    }

    fn inbound_messages(&self, query: InboundQuery) -> StoreFuture<'_, Vec<InboundView>> {
        self.store.inbound_messages(query)
    }

    fn known_inbound(&self, sids: Vec<Sid>) -> StoreFuture<'_, Vec<Sid>> {
        self.store.known_inbound(sids)
    }

    fn inbound_cursor(
        &self,
        sender: SenderRow,
        recipient: String,
    ) -> StoreFuture<'_, Option<InboundCursor>> {
        self.store.inbound_cursor(sender, recipient)
    }

    fn set_inbound_cursor(&self, cursor: InboundCursor) -> StoreFuture<'_, ()> {
        self.store.set_inbound_cursor(cursor)
    }

    fn consent_checks(&self, query: ConsentCheckQuery) -> StoreFuture<'_, ConsentChecks> {
        self.store.consent_checks(query)
    }

    fn settle_consent_checks(&self, batch: Vec<ConsentCheckResult>) -> StoreFuture<'_, ()> {
        self.store.settle_consent_checks(batch)
    }
}

#[tokio::test]
async fn a_damaged_row_of_one_person_hides_nobody_elses_words() {
    let setup = Setup::new();
    setup.list.shown().messages = vec![(1, NOON - 60, "SAIR", 0), (2, NOON - 50, "oi", 0)];
    let reader = InboundReader {
        store: Arc::new(Damaged {
            store: Arc::clone(&setup.store),
            message: sid(2),
        }),
        ..setup.reader(1).await
    };
    let all = sources(&reader.senders);
    reader.read_all(&all, &mut Memory::default()).await.unwrap();
    assert_eq!(numbers(&setup.stored().await), [sid(1)]);
    assert_eq!(setup.consent().await, Some(Consent::OptedOut));
}
