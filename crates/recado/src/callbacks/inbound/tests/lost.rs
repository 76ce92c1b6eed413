//! An inbound message that cannot be stored is answered with a 5xx, and told to whoever reads the
//! provider's list.

use std::sync::Arc;

use delivery::progress::Rules;
use delivery::row::SenderRow;

use super::*;
use crate::callbacks::signature::Verifier;
use crate::effects::Effects;
use crate::secrets::{MasterKey, Secret};
use crate::store::sqlite::{OpenMode, Options, SqliteStore};
use crate::store::{
    ConsentCheckQuery, ConsentCheckResult, ConsentChecks, InboundCursor, InboundQuery,
    InboundResult, InboundView, Inbounds, StoreError, StoreFuture,
};

/// A disk without room, or one that never answers.
enum Inbox {
    Full,
    Stuck,
}

impl Inbounds for Inbox {
    fn inbound(&self, _: Vec<NewInbound>) -> StoreFuture<'_, Vec<InboundResult>> {
        match self {
            Self::Full => Box::pin(async { Err(StoreError::Full) }),
            Self::Stuck => Box::pin(std::future::pending()),
        }
    }

    fn inbound_messages(&self, _: InboundQuery) -> StoreFuture<'_, Vec<InboundView>> {
        unreachable!("nothing is read")
    }

    fn known_inbound(&self, _: Vec<Sid>) -> StoreFuture<'_, Vec<Sid>> {
        unreachable!("nothing is read")
    }

    fn inbound_cursor(&self, _: SenderRow, _: String) -> StoreFuture<'_, Option<InboundCursor>> {
        unreachable!("nothing is read")
    }

    fn set_inbound_cursor(&self, _: InboundCursor) -> StoreFuture<'_, ()> {
        unreachable!("no list is read")
    }

    fn consent_checks(&self, _: ConsentCheckQuery) -> StoreFuture<'_, ConsentChecks> {
        unreachable!("nobody is asked")
    }

    fn settle_consent_checks(&self, _: Vec<ConsentCheckResult>) -> StoreFuture<'_, ()> {
        unreachable!("nobody is asked")
    }
}

/// A store of its own.
fn store(folder: &tempfile::TempDir) -> Arc<SqliteStore> {
    let effects = Effects::real();
    let key = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    let store = SqliteStore::open(Options {
        path: folder.path().join("recado.db"),
        mode: OpenMode::Server,
        master_key: MasterKey::parse(key).ok().unwrap(),
        random: Arc::clone(&effects.random),
        rules: Rules::default(),
        senders: Vec::new(),
        provider_account: None,
        machine: None,
        now: effects.clock.now(),
    });
    Arc::new(store.unwrap())
}

/// The room with an inbox of its own, over a store that nothing else is written to.
fn callbacks(store: Arc<SqliteStore>, inbounds: Arc<dyn Inbounds>) -> Callbacks {
    let token = Secret::new("token".into());
    let verifier = Arc::new(Verifier::new(&["https://h/w"], &[token]).unwrap());
    Callbacks {
        reports: store.clone(),
        inbounds,
        closed: store.notifier().closed.subscribe(),
        queue: store,
        effects: Effects::real(),
        status: Arc::clone(&verifier),
        webhook: verifier,
        senders: Arc::new(Vec::new()),
        lost: watch::Sender::new(0),
    }
}

fn form() -> Form {
    let body = format!(
        "MessageSid=SM{:032x}&From=whatsapp%3A%2B5511900000001&Body=SAIR",
        1
    );
    Form::parse(body.as_bytes()).unwrap()
}

#[tokio::test]
async fn what_cannot_be_stored_is_looked_for_in_the_list() {
    let folder = tempfile::tempdir().unwrap();
    let room = callbacks(store(&folder), Arc::new(Inbox::Full));
    let answer = receive(&room, &form()).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(*room.lost.borrow(), 1);
}

#[tokio::test]
async fn a_request_that_took_too_long_is_looked_for_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let room = callbacks(store(&folder), Arc::new(Inbox::Stuck));
    let form = form();
    let cut_off = tokio::time::timeout(Duration::from_millis(1), receive(&room, &form));
    assert!(cut_off.await.is_err());
    assert_eq!(*room.lost.borrow(), 1);
}

#[tokio::test]
async fn what_is_stored_is_not_looked_for() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let room = callbacks(store.clone(), store);
    let answer = receive(&room, &form()).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(*room.lost.borrow(), 0);
}
