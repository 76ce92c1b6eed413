//! How SQLite runs our statements: along an index, and never over a whole table that grows. The
//! statements are those that really run, noted while the storm of the conformance suite goes on.

use std::sync::{Arc, Mutex};

use delivery::address::{Address, Context};
use delivery::hold::HoldScope;
use delivery::message::SenderName;
use delivery::row::CohortRow;
use delivery::sid::Sid;
use delivery::state::State;
use recado::store::sqlite::{Noted, OpenMode};
use recado::store::{
    AcceptResult, ApiKeys, ClockNote, ClockStep, ClockStepCursor, ConsentCheckQuery, Consents,
    CounterGroup, CounterQuery, Counters, Events, Health, HoldFilter, Holds, InboundQuery,
    Inbounds, Maintenance, MessageFilter, Messages, NewMessage, Queue, RetentionCursor,
    RetentionQuery, Senders, Watches, ZeroCountQuery, new_message_id,
};

use super::{beside, open};
use crate::rng::Rng;
use crate::store::engine::{Engine, Opened, Opening, Setup, Sqlite, master_key};
use crate::store::fixture::{DAY, FIRST, START};
use crate::store::samples::{notice, number, template_sid};
use crate::store::soak;

/// Tables that stay small however long a database lives: one row for each thing that somebody
/// configured, each request that is open, each figure.
const SMALL: &[&str] = &[
    "account",
    "api_key",
    "callback_url",
    "inbound_cursor",
    "open_attempt",
    "pragma_quick_check",
    "sender",
    "sqlite_schema",
    "sqlite_sequence",
    "template",
    "total",
];

/// Statements that may walk a table, each with its reason.
const MAY_WALK: &[(&str, &str)] = &[
    (
        "ORDER BY last_inbound_at DESC LIMIT 1",
        "sorts the conversations of one person, one for each of our senders",
    ),
    (
        "FROM hold INDEXED BY hold_end",
        "sorts the numbers of the holds that are in effect, and looks at none that is over",
    ),
    (
        "GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
        "sums over the counters of a period are grouped by what they are asked for; the period is \
         bounded, and what is sorted are the counters in it",
    ),
];

/// SQLite with every statement noted.
struct Watched {
    engine: Arc<Sqlite>,
    noted: Arc<Mutex<Vec<Noted>>>,
}

impl Engine for Watched {
    fn open(&self, setup: Setup) -> Opening<'_> {
        Box::pin(async move {
            let (now, store) = (setup.now, self.engine.store(setup)?);
            let noted = store.note_statements().await?;
            self.noted.lock().unwrap().push(noted);
            let left_open = store.recover(now).await?;
            look_at_everything(&store).await;
            Ok(Opened {
                store: Arc::new(store),
                left_open,
            })
        })
    }
}

/// Every page and figure, with every filter.
async fn look_at_everything(
    store: &(
         impl Messages
         + Inbounds
         + Counters
         + Events
         + ApiKeys
         + Senders
         + Consents
         + Watches
         + Queue
         + Maintenance
         + Health
         + Holds
     ),
) {
    let person = Address::parse(&number(1), Context::Typed).unwrap().address;
    let mut filters = vec![MessageFilter::default()];
    for &state in State::ALL {
        filters.push(MessageFilter {
            state: Some(state),
            ..MessageFilter::default()
        });
    }
    filters.push(MessageFilter {
        error: Some(63_016),
        ..MessageFilter::default()
    });
    for filter in filters {
        for to in [None, Some(person.clone())] {
            for sender in [None, Some(FIRST.to_owned())] {
                let filter = MessageFilter {
                    to: to.clone(),
                    sender,
                    since: Some(START),
                    until: Some(START.plus(DAY)),
                    limit: 3,
                    ..filter.clone()
                };
                store.messages(filter.clone()).await.unwrap();
                for template in [None, Some(template_sid(1))] {
                    let filter = MessageFilter {
                        template,
                        ..filter.clone()
                    };
                    store.selection(filter).await.unwrap();
                }
            }
        }
    }
    for from in [None, Some(person.clone())] {
        let query = InboundQuery {
            from,
            before: None,
            limit: 3,
        };
        store.inbound_messages(query).await.unwrap();
    }
    for group in [
        CounterGroup::None,
        CounterGroup::Hour,
        CounterGroup::Day,
        CounterGroup::Sender,
        CounterGroup::Kind,
        CounterGroup::Template,
        CounterGroup::Area,
    ] {
        let query = CounterQuery {
            from_hour: 0,
            to_hour: 24 * 366,
            group,
        };
        store.counters(query).await.unwrap();
        store.counters_until(query, 3).await.unwrap();
    }
    look_at_holds(store).await;
    store.events(0, 10).await.unwrap();
    store.keys().await.unwrap();
    store.key("none".to_owned()).await.unwrap();
    store.senders().await.unwrap();
    store.consent(person).await.unwrap();
    store.next_watch().await.unwrap();
    store.gauges(START).await.unwrap();
    let_time_pass(store).await;
    let sender = store.senders().await.unwrap()[0].row;
    let cursor = store.inbound_cursor(sender, FIRST.to_owned());
    cursor.await.unwrap();
    let query = ConsentCheckQuery {
        now: START,
        limit: 3,
    };
    store.consent_checks(query).await.unwrap();
    let unknown = Sid::parse_message("SM000000000000000000000000000000aa").unwrap();
    store.known_inbound(vec![unknown]).await.unwrap();
}

async fn look_at_holds(store: &impl Holds) {
    for scope in [None, Some(HoldScope::Recipient)] {
        let filter = HoldFilter {
            now: START,
            scope,
            before: Some(9),
            limit: 3,
        };
        store.holds(filter).await.unwrap();
    }
    store.hold_counts(START).await.unwrap();
}

/// What is done by time alone.
async fn let_time_pass(store: &impl Maintenance) {
    store.maintain(START).await.unwrap();
    let removal = RetentionQuery {
        before: START.plus(DAY),
        now: START.plus(2 * DAY),
        after: RetentionCursor::default(),
    };
    store.retain(removal).await.unwrap();
    let step = ClockStep {
        now: START,
        by: DAY,
        from: ClockStepCursor::default(),
    };
    store.follow_clock(step).await.unwrap();
}

/// The end of most messages: nothing waits for an answer any more, and what is old goes. One that is
/// looked for in vain stays.
async fn let_years_pass(engine: &Sqlite, noted: &Mutex<Vec<Noted>>) {
    let now = START.plus(400 * DAY);
    let store = engine
        .store(Setup {
            master_key: master_key(),
            senders: vec![SenderName::new(FIRST)],
            random: Arc::new(Rng::new(5)),
            now,
        })
        .unwrap();
    let statements = store.note_statements().await.unwrap();
    noted.lock().unwrap().push(statements);
    let removal = RetentionQuery {
        before: now.minus(DAY),
        now,
        after: RetentionCursor::default(),
    };
    let removed = store.retain(removal).await.unwrap();
    assert!(removed.messages > 20, "{removed:?}");
    assert!(removed.inbound > 0, "{removed:?}");
    let zero = ZeroCountQuery {
        before: now.minus(DAY),
        now,
        after: CohortRow(0),
    };
    store.forget_zero_counts(zero).await.unwrap();
    let note = ClockNote {
        at: now,
        right_since: None,
    };
    store.note_clock(note).await.unwrap();
    store.noted_clock().await.unwrap();
}

#[tokio::test]
async fn no_statement_walks_a_table_that_grows_or_sorts_what_it_reads() {
    let engine = Arc::new(Sqlite::fresh());
    let noted = Arc::new(Mutex::new(Vec::new()));
    let watched = Watched {
        engine: engine.clone(),
        noted: noted.clone(),
    };
    soak::run(watched, 11).await;
    let_years_pass(&engine, &noted).await;
    let mut statements = std::collections::BTreeSet::new();
    for noted in &*noted.lock().unwrap() {
        statements.extend(noted.lock().unwrap().iter().cloned());
    }
    statements.retain(|sql| {
        ["SELECT", "INSERT", "UPDATE", "DELETE", "WITH"]
            .iter()
            .any(|verb| sql.trim_start().starts_with(verb))
    });
    assert!(statements.len() > 80, "{} statements", statements.len());
    for rare in [
        "DELETE FROM attempt",
        "DELETE FROM message",
        "DELETE FROM inbound",
        "baseline = baseline +",
        "watch JOIN attempt ON attempt.id = watch.attempt_id WHERE",
        "DELETE FROM counter",
    ] {
        assert!(
            statements.iter().any(|sql| sql.contains(rare)),
            "{rare} does not run"
        );
    }
    let database = beside(&engine.folder().join("recado.db"));
    let qpsg = rusqlite::config::DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG;
    database.set_db_config(qpsg, true).unwrap();
    let mut wrong = Vec::new();
    let mut unused: Vec<_> = MAY_WALK.iter().map(|(part, _)| *part).collect();
    for sql in &statements {
        let mut explain = database
            .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))
            .unwrap();
        let steps: Vec<String> = explain
            .raw_query()
            .mapped(|row| row.get(3))
            .collect::<Result<_, _>>()
            .unwrap();
        let bad: Vec<&String> = steps
            .iter()
            .filter(|step| walks(step) || sorts(step, &steps))
            .collect();
        if bad.is_empty() {
            continue;
        }
        match MAY_WALK.iter().find(|(part, _)| sql.contains(part)) {
            Some((part, _)) => unused.retain(|other| other != part),
            None => wrong.push(format!("{sql}\n    {bad:?}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(
        unused,
        Vec::<&str>::new(),
        "these exceptions are needed no more"
    );
}

/// A page looks at a bounded number of rows: what matches nothing for long comes as empty pages that
/// say where to go on, and every match comes exactly once.
#[tokio::test]
async fn a_rare_match_is_found_in_steps() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("recado.db"), OpenMode::Server).unwrap();
    let random = Rng::new(3);
    let mut rare = Vec::new();
    for batch in 0..13 {
        let batch = (0..1_000).map(|n| {
            let mut message = notice(batch * 1_000 + n, "x");
            if n == 500 && batch % 12 == 0 {
                message.send_at = Some(START.plus(DAY));
            }
            NewMessage {
                id: new_message_id(START, &random),
                message,
                idempotency: None,
                now: START,
                dedupe_window: std::time::Duration::ZERO,
            }
        });
        for accepted in store.accept(batch.collect()).await.unwrap() {
            if let AcceptResult::Accepted { id, state } = accepted
                && state == State::Scheduled
            {
                rare.push(id);
            }
        }
    }
    rare.reverse();
    assert_eq!(rare.len(), 2);
    let (mut found, mut before, mut empty) = (Vec::new(), None, 0);
    loop {
        let filter = MessageFilter {
            state: Some(State::Scheduled),
            before,
            limit: 1,
            ..MessageFilter::default()
        };
        let page = store.messages(filter).await.unwrap();
        empty += usize::from(page.messages.is_empty());
        found.extend(page.messages.iter().map(|message| message.id));
        match page.next {
            Some(next) => before = Some(next),
            None => break,
        }
    }
    assert_eq!(found, rare);
    assert!(empty > 0, "13,000 rows are more than one page looks at");
}

/// The table that a step reads, if it reads one that grows.
fn growing<'a>(step: &'a str, verb: &str) -> Option<&'a str> {
    let table = step.strip_prefix(verb)?.split(' ').next()?;
    // Rows that the statement itself has made, or the result of a part that is looked at by itself.
    let own = table == "CONSTANT" || table.starts_with('(') || table == "last";
    (!own && !SMALL.contains(&table)).then_some(table)
}

fn walks(step: &str) -> bool {
    growing(step, "SCAN ").is_some()
}

fn sorts(step: &str, steps: &[String]) -> bool {
    step.contains("TEMP B-TREE")
        && steps
            .iter()
            .any(|step| walks(step) || growing(step, "SEARCH ").is_some())
}
