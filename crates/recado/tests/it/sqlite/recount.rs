//! The recount while the store lives: it reads in short transactions, and its figures are exact.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use delivery::outcome::ProviderStatus;
use recado::store::Store;

use crate::store::engine::Sqlite;
use crate::store::fixture::StoreFixture;
use crate::store::samples::{notice, refused};

/// Runs recounts one after the other until the end, and at least one.
async fn recount_until(store: Arc<dyn Store>, ended: Arc<AtomicBool>) -> usize {
    let mut runs = 0;
    loop {
        let last = ended.load(Ordering::SeqCst);
        let report = store.verify().await.unwrap();
        assert_eq!(report.differences, Vec::<String>::new(), "run {runs}");
        runs += 1;
        if last {
            return runs;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recount_is_exact_while_messages_come_and_go() {
    let mut fixture = StoreFixture::new(Sqlite::fresh()).await;
    let ended = Arc::new(AtomicBool::new(false));
    let recounts = tokio::spawn(recount_until(fixture.shared_store(), ended.clone()));
    let mut sent = Vec::new();
    for n in 0..250 {
        let id = fixture.accept(notice(n, "a")).await;
        match n % 5 {
            0 => {}
            1 => {
                fixture.attempt(id, refused(21_617)).await;
            }
            _ => sent.push(fixture.send(id).await),
        }
        if n % 3 == 0
            && let Some(sent) = sent.pop()
        {
            fixture.report(sent, ProviderStatus::Sent).await;
            fixture.report(sent, ProviderStatus::Read).await;
        }
        if n % 100 == 99 {
            fixture.pass(crate::store::fixture::HOUR);
        }
    }
    ended.store(true, Ordering::SeqCst);
    let runs = recounts.await.unwrap();
    assert!(runs > 3, "{runs} recounts beside the work");
    fixture.clean().await;
}
