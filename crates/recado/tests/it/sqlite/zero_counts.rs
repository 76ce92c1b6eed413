//! Counters that are zero are forgotten, and nothing that is shown or recounted changes by it.

use std::path::PathBuf;

use delivery::outcome::ProviderStatus;
use delivery::row::CohortRow;
use recado::store::{CounterGroup, ZeroCountQuery};

use super::beside;
use crate::store::engine::{Sheet, Sqlite};
use crate::store::fixture::{DAY, HOUR, StoreFixture};
use crate::store::samples::{notice, refused};

/// A store on each engine, with its file.
async fn both() -> [(StoreFixture, PathBuf); 2] {
    let (sqlite, sheet) = (Sqlite::fresh(), Sheet::fresh());
    let path = |folder: &std::path::Path| folder.join("recado.db");
    let paths = (path(sqlite.folder()), path(sheet.folder()));
    [
        (StoreFixture::new(sqlite).await, paths.0),
        (StoreFixture::new(sheet).await, paths.1),
    ]
}

/// Cohorts with counters that are zero.
fn with_zeros(path: &std::path::Path) -> i64 {
    beside(path)
        .query_row(
            "SELECT count(DISTINCT cohort_id) FROM counter WHERE n = 0 AND baseline = 0",
            [],
            |row| row.get(0),
        )
        .unwrap()
}

/// A whole walk. Gives its steps, and where the next one begins.
async fn walk(fixture: &StoreFixture, after: CohortRow) -> (usize, Option<CohortRow>) {
    let mut query = ZeroCountQuery {
        before: fixture.now.minus(7 * DAY),
        now: fixture.now,
        after,
    };
    let mut young = None;
    for steps in 1..1_000 {
        let step = fixture.store().forget_zero_counts(query).await.unwrap();
        young = young.or(step.young_after);
        match step.next {
            Some(next) => query.after = next,
            None => return (steps, young),
        }
    }
    panic!("the walk does not end");
}

#[tokio::test]
async fn what_is_zero_goes_and_every_figure_stays() {
    for (mut fixture, path) in both().await {
        // One cohort each: another hour. One of them is from the future, by a clock that was ahead.
        let begin = fixture.now;
        let mut sent = Vec::new();
        for n in 0..150 {
            fixture.now = begin.plus(n * HOUR);
            if n == 3 {
                fixture.pass(3_000 * DAY);
            }
            let id = fixture.accept(notice(n, "a")).await;
            if n % 2 == 0 {
                fixture.attempt(id, refused(21_617)).await;
            } else {
                let message = fixture.send(id).await;
                fixture.report(message, ProviderStatus::Delivered).await;
                sent.push(message);
            }
        }
        assert_eq!(with_zeros(&path), 150);
        let shown = fixture.counters(CounterGroup::Hour).await;
        // Ten of them are younger than a week, by the hour.
        fixture.now = begin.plus(139 * HOUR + 7 * DAY);
        let (steps, young) = walk(&fixture, CohortRow(0)).await;
        assert_eq!((steps, young), (2, Some(CohortRow(139))));
        assert_eq!(
            with_zeros(&path),
            12,
            "eleven young ones, one of the future"
        );
        assert_eq!(fixture.counters(CounterGroup::Hour).await, shown);
        fixture.clean().await;

        // What is counted after all is counted right.
        fixture.report(sent[0], ProviderStatus::Read).await;
        let id = fixture.accept(notice(500, "a")).await;
        fixture.attempt(id, refused(21_617)).await;
        fixture.clean().await;
        fixture.pass(30 * DAY);
        let (steps, young) = walk(&fixture, CohortRow(139)).await;
        assert_eq!((steps, young), (1, None));
        assert_eq!(with_zeros(&path), 2, "of the late report and of the future");
        fixture.clean().await;
    }
}

#[tokio::test]
async fn only_what_is_still_zero_is_forgotten() {
    for (mut fixture, path) in both().await {
        let id = fixture.accept(notice(1, "a")).await;
        fixture.attempt(id, refused(21_617)).await;
        // Counted for what is no longer stored.
        let database = beside(&path);
        let set = "UPDATE counter SET baseline = 1 WHERE n = 0";
        let changed = database.execute(set, []).unwrap();
        assert!(changed > 0);
        fixture.pass(30 * DAY);
        walk(&fixture, CohortRow(0)).await;
        let kept: usize = database
            .query_row("SELECT count(*) FROM counter WHERE n = 0", [], |row| {
                row.get(0)
            })
            .unwrap();
        assert_eq!(kept, changed);
    }
}
