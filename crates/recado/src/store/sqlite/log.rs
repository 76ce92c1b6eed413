//! The live stream, the numbers, the health, and the doors of the engine.

use delivery::address::Address;
use delivery::message::Kind;
use delivery::sid::Sid;
use delivery::state::State;
use delivery::time::Timestamp;
use rusqlite::{Connection, params};

use super::SqliteStore;
use super::accept::message_id;
use super::messages::read_entry;
use crate::store::{
    AcceptResult, ApiKeyView, ApiKeys, CloseRequest, CloseResult, CommandResult, ConsentView,
    Consents, CounterGroup, CounterQuery, CounterRow, Counters, DuePage, DueQuery, DueWatch,
    EventView, Events, Gauges, Health, Idempotency, InboundQuery, InboundResult, InboundView,
    Inbounds, Maintenance, MaintenanceResult, MessageCommand, MessageFilter, MessageId,
    MessagePage, MessageView, Messages, NewApiKey, NewInbound, NewMessage, OpenRequest, OpenResult,
    Queue, Report, ReportResult, Reports, SenderView, Senders, Settlement, StoreError, StoreFuture,
    VerifyReport, WatchQuery, Watches,
};
use delivery::counter::Metric;
use delivery::progress::WatchKind;

impl SqliteStore {
    fn read_events(&self, after: i64, limit: usize) -> Result<Vec<EventView>, StoreError> {
        self.read(|db| {
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let mut statement = db.prepare_cached(
                "SELECT event.id, event.kind, event.state, event.source, event.at, attempt.n, \
                 event.status, event.code, event.detail, message.public_id \
                 FROM event JOIN message ON message.id = event.message_id \
                 LEFT JOIN attempt ON attempt.id = event.attempt_id \
                 WHERE event.id > ?1 ORDER BY event.id LIMIT ?2",
            )?;
            statement
                .query_map(params![after, limit], |row| {
                    let mut entry = read_entry(row)?;
                    entry.attempt = row.get(5)?;
                    let message = message_id(row.get_ref(9)?.as_blob()?)?;
                    Ok(EventView {
                        key: row.get(0)?,
                        message,
                        entry,
                    })
                })?
                .collect()
        })
    }

    fn read_counters(&self, query: CounterQuery) -> Result<Vec<CounterRow>, StoreError> {
        self.read(|db| {
            let group = match query.group {
                CounterGroup::None => "''",
                CounterGroup::Hour => "cohort.hour",
                CounterGroup::Day => "cohort.hour / 24",
                CounterGroup::Sender => "sender.name",
                CounterGroup::Kind => "cohort.kind",
                CounterGroup::Template => "coalesce(template.content_sid, '')",
                CounterGroup::Area => "cohort.area",
            };
            let sql = format!(
                "SELECT {group}, counter.metric, counter.code, sum(counter.n) \
                 FROM cohort JOIN counter ON counter.cohort_id = cohort.id \
                 JOIN sender ON sender.id = cohort.sender_id \
                 LEFT JOIN template ON template.id = cohort.template_id \
                 WHERE cohort.hour >= ?1 AND cohort.hour < ?2 \
                 GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
            );
            let mut statement = db.prepare_cached(&sql)?;
            let mut rows = statement.query(params![query.from_hour, query.to_hour])?;
            let mut counters = Vec::new();
            while let Some(row) = rows.next()? {
                let metric = row.get(1)?;
                let metric = Metric::from_number(metric)
                    .ok_or(rusqlite::Error::IntegralValueOutOfRange(1, metric))?;
                let group = group_text(query.group, row.get(0)?);
                counters.push(CounterRow {
                    group,
                    metric,
                    code: row.get(2)?,
                    n: row.get(3)?,
                });
            }
            Ok(counters)
        })
    }

    async fn read_gauges(&self) -> Result<Gauges, StoreError> {
        let path = self.path.clone();
        let mut gauges = self.read_long(|db, _| count_gauges(db)).await?;
        let bytes = |suffix: &str| {
            let mut name = path.as_os_str().to_owned();
            name.push(suffix);
            std::fs::metadata(name).map_or(0, |data| data.len())
        };
        gauges.database_bytes = bytes("") + bytes("-wal");
        Ok(gauges)
    }

    /// A real commit, so that a full or read-only disk shows. The value must change: a row that
    /// is written as it was dirties no page, and then nothing reaches the disk.
    async fn probe_write(&self) -> Result<(), StoreError> {
        self.writer
            .run(|context| {
                let last: i32 = context
                    .db
                    .query_row("PRAGMA user_version", [], |row| row.get(0))?;
                let next = last.wrapping_add(1);
                context.db.pragma_update(None, "user_version", next)
            })
            .await
    }
}

fn count_gauges(db: &Connection) -> rusqlite::Result<Gauges> {
    let one = |sql: &str| -> rusqlite::Result<u64> {
        db.prepare_cached(sql)?.query_row([], |row| row.get(0))
    };
    let mut gauges = Gauges {
        queued: one("SELECT count(*) FROM queue")?,
        open_attempts: one("SELECT count(*) FROM open_attempt")?,
        unknown_watched: one(&format!(
            "SELECT count(*) FROM watch WHERE kind = {}",
            WatchKind::Unknown.number()
        ))?,
        parked: one("SELECT count(*) FROM parked_report")?,
        ..Gauges::default()
    };
    let oldest: Option<i64> = db
        .prepare_cached("SELECT min(due_at) FROM queue")?
        .query_row([], |row| row.get(0))?;
    gauges.oldest_due_at = oldest.map(Timestamp::from_micros);
    let mut statement = db.prepare_cached(&format!(
        "SELECT metric, code, sum(n) FROM counter WHERE metric IN ({}, {}, {}) \
         GROUP BY metric, code",
        Metric::State.number(),
        Metric::Errors.number(),
        Metric::Anomalies.number()
    ))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (code, n): (i64, i64) = (row.get(1)?, row.get(2)?);
        let n = u64::try_from(n).unwrap_or_default();
        match Metric::from_number(row.get(0)?) {
            Some(Metric::State) => gauges
                .states
                .extend(State::from_number(code).map(|s| (s, n))),
            Some(Metric::Errors) => gauges.errors.push((code, n)),
            _ => gauges.anomalies += n,
        }
    }
    Ok(gauges)
}

fn group_text(group: CounterGroup, value: rusqlite::types::Value) -> String {
    use rusqlite::types::Value;
    match (group, value) {
        (CounterGroup::Kind, Value::Integer(n)) => {
            Kind::from_number(n).map_or_else(String::new, |kind| kind.as_str().to_owned())
        }
        (_, Value::Integer(n)) => n.to_string(),
        (_, Value::Text(text)) => text,
        (_, Value::Null | Value::Real(_) | Value::Blob(_)) => String::new(),
    }
}

impl Messages for SqliteStore {
    fn accept(&self, batch: Vec<NewMessage>) -> StoreFuture<'_, Vec<AcceptResult>> {
        Box::pin(self.accept_batch(batch))
    }

    fn replay(&self, idempotency: Idempotency) -> StoreFuture<'_, Option<AcceptResult>> {
        Box::pin(async move { self.earlier_answer(&idempotency) })
    }

    fn command(
        &self,
        batch: Vec<(MessageId, MessageCommand)>,
        now: Timestamp,
    ) -> StoreFuture<'_, Vec<CommandResult>> {
        Box::pin(self.command_batch(batch, now))
    }

    fn message(&self, id: MessageId) -> StoreFuture<'_, Option<MessageView>> {
        Box::pin(async move { self.message_view(id) })
    }

    fn messages(&self, filter: MessageFilter) -> StoreFuture<'_, MessagePage> {
        Box::pin(self.message_page(filter))
    }
}

impl Queue for SqliteStore {
    fn due(&self, query: DueQuery) -> StoreFuture<'_, DuePage> {
        Box::pin(async move { self.due_page(&query) })
    }

    fn open_attempts(&self, batch: Vec<OpenRequest>) -> StoreFuture<'_, Vec<OpenResult>> {
        Box::pin(self.open_batch(batch))
    }

    fn close_attempts(&self, batch: Vec<CloseRequest>) -> StoreFuture<'_, Vec<CloseResult>> {
        Box::pin(self.close_batch(batch))
    }

    fn defer(&self, batch: Vec<(i64, Timestamp)>) -> StoreFuture<'_, ()> {
        Box::pin(self.defer_batch(batch))
    }

    fn open_attempts_of(&self, person: i64) -> StoreFuture<'_, u64> {
        Box::pin(async move {
            self.read(|db| {
                db.prepare_cached("SELECT count(*) FROM open_attempt WHERE person_id = ?1")?
                    .query_row([person], |row| row.get(0))
            })
        })
    }
}

impl Reports for SqliteStore {
    fn report(&self, batch: Vec<Report>) -> StoreFuture<'_, Vec<ReportResult>> {
        Box::pin(self.report_batch(batch))
    }
}

impl Inbounds for SqliteStore {
    fn inbound(&self, batch: Vec<NewInbound>) -> StoreFuture<'_, Vec<InboundResult>> {
        Box::pin(self.inbound_batch(batch))
    }

    fn inbound_messages(&self, query: InboundQuery) -> StoreFuture<'_, Vec<InboundView>> {
        Box::pin(self.inbound_page(query))
    }
}

impl Watches for SqliteStore {
    fn due_watches(&self, query: WatchQuery) -> StoreFuture<'_, Vec<DueWatch>> {
        Box::pin(self.watches_due(query))
    }

    fn settle(&self, batch: Vec<Settlement>) -> StoreFuture<'_, ()> {
        Box::pin(self.settle_batch(batch))
    }

    fn known_sids(&self, sids: Vec<Sid>) -> StoreFuture<'_, Vec<Sid>> {
        Box::pin(async move { self.read_known_sids(&sids) })
    }

    fn next_watch(&self) -> StoreFuture<'_, Option<Timestamp>> {
        Box::pin(async move { self.earliest_watch() })
    }
}

impl Maintenance for SqliteStore {
    fn maintain(&self, now: Timestamp) -> StoreFuture<'_, MaintenanceResult> {
        Box::pin(self.run_maintenance(now))
    }
}

impl Consents for SqliteStore {
    fn consent(&self, address: Address) -> StoreFuture<'_, Option<ConsentView>> {
        Box::pin(async move { self.consent_of(&address) })
    }

    fn set_consent(
        &self,
        address: Address,
        opted_out: bool,
        now: Timestamp,
    ) -> StoreFuture<'_, ConsentView> {
        Box::pin(self.change_consent_of(address, opted_out, now))
    }
}

impl Senders for SqliteStore {
    fn senders(&self) -> StoreFuture<'_, Vec<SenderView>> {
        Box::pin(async move { self.all_senders() })
    }

    fn pause_sender(&self, name: String, paused: bool, now: Timestamp) -> StoreFuture<'_, bool> {
        Box::pin(self.set_pause(name, paused, now))
    }
}

impl ApiKeys for SqliteStore {
    fn create_key(&self, key: NewApiKey) -> StoreFuture<'_, ()> {
        Box::pin(self.insert_key(key))
    }

    fn key(&self, id: String) -> StoreFuture<'_, Option<ApiKeyView>> {
        Box::pin(async move { self.find_key(&id) })
    }

    fn keys(&self) -> StoreFuture<'_, Vec<ApiKeyView>> {
        Box::pin(async move { self.all_keys() })
    }

    fn revoke_key(&self, id: String, now: Timestamp) -> StoreFuture<'_, bool> {
        Box::pin(self.end_key(id, now))
    }
}

impl Events for SqliteStore {
    fn events(&self, after: i64, limit: usize) -> StoreFuture<'_, Vec<EventView>> {
        Box::pin(async move { self.read_events(after, limit) })
    }

    fn last_event(&self) -> StoreFuture<'_, i64> {
        Box::pin(async move { Ok(*self.notifier.last_event.borrow()) })
    }
}

impl Counters for SqliteStore {
    fn counters(&self, query: CounterQuery) -> StoreFuture<'_, Vec<CounterRow>> {
        Box::pin(async move { self.read_counters(query) })
    }
}

impl Health for SqliteStore {
    fn verify(&self) -> StoreFuture<'_, VerifyReport> {
        Box::pin(self.recount())
    }

    fn gauges(&self) -> StoreFuture<'_, Gauges> {
        Box::pin(self.read_gauges())
    }

    fn probe(&self) -> StoreFuture<'_, ()> {
        Box::pin(self.probe_write())
    }
}
