//! Watches: unknown attempts to be settled, silent messages to be asked about.

use delivery::address::AddressVariant;
use delivery::event::Source;
use delivery::message::Content;
use delivery::outcome::{Outcome, OutcomeKind};
use delivery::settle::TextEvidence;
use delivery::sid::Sid;
use delivery::state::State;
use delivery::time::Timestamp;
use rusqlite::{Connection, params};

use super::accept::{associated_data, message_id};
use super::context::{Context, stored_at, stored_or_null};
use super::{Shared, SqliteStore, person};
use crate::store::{DueWatch, Evidence, Finding, Settlement, StoreError, WatchQuery, sealed};
use delivery::progress::{ReportFact, Watch, WatchKind};

impl SqliteStore {
    pub(super) async fn watches_due(&self, query: WatchQuery) -> Result<Vec<DueWatch>, StoreError> {
        self.read_long(move |db, shared| read_due_watches(db, shared, query))
            .await
    }

    pub(super) async fn settle_batch(&self, batch: Vec<Settlement>) -> Result<(), StoreError> {
        self.writer
            .run(move |context| batch.iter().try_for_each(|item| context.settle(item)))
            .await
    }

    pub(super) fn read_known_sids(&self, sids: &[Sid]) -> Result<Vec<Sid>, StoreError> {
        self.read(|db| {
            let mut statement = db.prepare_cached("SELECT 1 FROM attempt WHERE sid = ?1")?;
            let mut known = Vec::new();
            for sid in sids {
                if statement.exists([sid.to_bytes().as_slice()])? {
                    known.push(*sid);
                }
            }
            Ok(known)
        })
    }

    pub(super) fn earliest_watch(&self) -> Result<Option<Timestamp>, StoreError> {
        self.read(|db| {
            let at: Option<i64> = db
                .prepare_cached("SELECT min(at) FROM watch")?
                .query_row([], |row| row.get(0))?;
            Ok(at.map(Timestamp::from_micros))
        })
    }
}

fn read_due_watches(
    db: &Connection,
    shared: &Shared,
    query: WatchQuery,
) -> rusqlite::Result<Vec<DueWatch>> {
    let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
    let mut statement = db.prepare_cached(
        "SELECT watch.at, watch.attempt_id, watch.kind, watch.polls, attempt.sid, \
         progress.state, attempt.started_at, attempt.message_id, attempt.variant, attempt.outcome \
         FROM watch JOIN attempt ON attempt.id = watch.attempt_id \
         JOIN progress ON progress.message_id = attempt.message_id \
         WHERE watch.at <= ?1 ORDER BY watch.at LIMIT ?2",
    )?;
    let mut rows = statement.query(params![query.now.micros(), limit])?;
    let mut watches = Vec::new();
    while let Some(row) = rows.next()? {
        let kind = stored_at(row, 2, WatchKind::from_number)?;
        let sid = row.get_ref(4)?.as_blob_or_null()?.and_then(Sid::from_bytes);
        let outcome = stored_or_null(row, 9, OutcomeKind::from_number)?;
        let evidence = if kind == WatchKind::Unknown && outcome == Some(OutcomeKind::Unknown) {
            let variant = stored_at(row, 8, AddressVariant::from_number)?;
            read_evidence(db, shared, row.get(7)?, variant)?
        } else {
            None
        };
        watches.push(DueWatch {
            at: Timestamp::from_micros(row.get(0)?),
            attempt: row.get(1)?,
            kind,
            polls: row.get(3)?,
            sid,
            state: stored_at(row, 5, State::from_number)?,
            started_at: Timestamp::from_micros(row.get(6)?),
            evidence,
        });
    }
    Ok(watches)
}

/// What an attempt must look like at the provider; `None` when its person was erased.
fn read_evidence(
    db: &Connection,
    shared: &Shared,
    message: i64,
    variant: AddressVariant,
) -> rusqlite::Result<Option<Evidence>> {
    let (public_id, person_id, sealed, sender): (Vec<u8>, i64, Vec<u8>, String) = db
        .prepare_cached(
            "SELECT message.public_id, message.person_id, message.sealed_content, sender.name \
             FROM message JOIN progress ON progress.message_id = message.id \
             JOIN sender ON sender.id = progress.sender_id WHERE message.id = ?1",
        )?
        .query_row([message], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })?;
    let person = person::by_id(db, person_id)?;
    let Some(address) = person.address(shared)? else {
        return Ok(None);
    };
    let key = person.key(shared)?;
    let plain = shared.vault.unseal(
        &key,
        &associated_data("content", message_id(&public_id)?),
        &sealed,
    );
    let Some(content) = plain.ok().and_then(|plain| sealed::decode(&plain)) else {
        return Ok(None);
    };
    let canonical = address.canonical().to_owned();
    let other = address.alternative();
    let (to, to_alternative) = match (variant, other) {
        (AddressVariant::WithoutNinthDigit, Some(other)) => (other, Some(canonical)),
        (_, other) => (canonical, other),
    };
    Ok(Some(Evidence {
        person: person_id,
        to,
        to_alternative,
        from: (!sender.starts_with("MG")).then_some(sender),
        text: text_evidence(content),
    }))
}

fn text_evidence(content: Content) -> TextEvidence {
    match content {
        Content::Text { body, .. } => TextEvidence::Exact(body),
        Content::Media { caption, .. } => TextEvidence::Exact(caption.unwrap_or_default()),
        Content::Template { variables, .. } => {
            TextEvidence::Contains(variables.into_iter().map(|(_, value)| value).collect())
        }
    }
}

impl Context<'_> {
    fn settle(&mut self, item: &Settlement) -> rusqlite::Result<()> {
        let (at, attempt) = item.watch;
        self.db
            .prepare_cached("DELETE FROM watch WHERE at = ?1 AND attempt_id = ?2")?
            .execute(params![at.micros(), attempt])?;
        let Some(row) = self.attempt_row(attempt)? else {
            return Ok(());
        };
        let Some(mut progress) = self.progress(row.message)? else {
            return Ok(());
        };
        let input = self.transition_input(&progress, None, item.now, item.random)?;
        match item.finding {
            Finding::Nothing => {}
            Finding::HorizonPassed => {
                if row.outcome == Some(OutcomeKind::Unknown) {
                    self.apply(&mut progress, input, |transition| {
                        transition.horizon_passed(attempt)
                    })?;
                }
            }
            Finding::Found { sid, status, code } => {
                if row.outcome == Some(OutcomeKind::Unknown) {
                    self.attach(attempt, sid)?;
                    let outcome = Outcome::Sent { sid, status };
                    self.mark_settled(attempt, item.now)?;
                    self.apply(&mut progress, input, |transition| {
                        transition.outcome(attempt, &outcome, Source::Poll);
                    })?;
                    self.bind_parked(&mut progress, attempt, sid, item.now, item.random)?;
                }
                let report = ReportFact {
                    attempt,
                    status,
                    word: None,
                    code,
                    source: Source::Poll,
                };
                self.report_once(&mut progress, &report, item.now, item.random)?;
            }
        }
        if let Some(next) = item.next {
            let watch = Watch {
                attempt,
                at: next.at,
                kind: next.kind,
            };
            self.insert_watch(watch, next.polls)?;
        }
        Ok(())
    }

    fn mark_settled(&self, attempt: i64, now: Timestamp) -> rusqlite::Result<()> {
        self.db
            .prepare_cached(
                "UPDATE attempt SET outcome = ?3, cause = NULL, finished_at = ?2 WHERE id = ?1",
            )?
            .execute(params![attempt, now.micros(), OutcomeKind::Sent.number()])?;
        Ok(())
    }
}
