//! The tables `hold` and `hold_evidence`.

use std::sync::LazyLock;

use delivery::hold::{EarlierHold, HoldScope, LIFTED_ONLY, ends_when_lifted};
use delivery::message::Kind;
use delivery::progress::Progress;
use delivery::row::{AttemptRow, HoldRow, MessageRow, PersonRow, SenderRow};
use delivery::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::SqliteStore;
use super::column::{limit, message_id, stored_at, time_or_null};
use super::statements::{ACCOUNT, Statements};
use crate::secrets::Vault;
use crate::store::operations::columns::{CodeEvidence, HoldColumns, HoldStep, HoldSubject};
use crate::store::operations::hold::LiftHold;
use crate::store::operations::rows::{HoldRows, PersonRows};
use crate::store::{HOLDS_COUNTED_MAX, HoldFilter, HoldPage, HoldView, Holds, StoreFuture};

/// What stands in the column `kind` when a hold is about all kinds of messages: a value that can be
/// compared, which NULL cannot.
const ALL_KINDS: i64 = -1;

impl Holds for SqliteStore {
    fn holds(&self, filter: HoldFilter) -> StoreFuture<'_, HoldPage> {
        Box::pin(self.read_long(&self.readers.lists, move |db, shared| {
            read_page(db, &shared.vault, &filter)
        }))
    }

    fn lift_hold(&self, hold: HoldRow, now: Timestamp) -> StoreFuture<'_, bool> {
        Box::pin(self.writer.run(LiftHold { hold, now }))
    }

    fn hold_counts(&self, now: Timestamp) -> StoreFuture<'_, Vec<(HoldScope, u64)>> {
        Box::pin(self.read_long(&self.readers.gauges, move |db, _| count(db, now)))
    }
}

impl HoldRows for Statements<'_> {
    fn held_until(
        &mut self,
        progress: &Progress,
        now: Timestamp,
    ) -> rusqlite::Result<Option<Timestamp>> {
        static SQL: LazyLock<String> = LazyLock::new(|| {
            format!(
                "SELECT max(until) FROM ( \
                   SELECT hold.until AS until FROM hold, message \
                   WHERE hold.account_id = ?1 AND hold.scope = {recipient} AND hold.subject = ?2 \
                   AND hold.kind IN ({ALL_KINDS}, message.kind) AND hold.ends_at > ?3 \
                   AND hold.lifted = 0 AND message.id = ?4 \
                 UNION ALL \
                   SELECT hold.until FROM message, hold \
                   WHERE message.id = ?4 AND message.template_id > 0 AND hold.account_id = ?1 \
                   AND hold.scope = {template} AND hold.subject = message.template_id \
                   AND hold.ends_at > ?3 AND hold.lifted = 0)",
                recipient = HoldScope::Recipient.number(),
                template = HoldScope::Template.number(),
            )
        });
        let until: Option<i64> = self.db.prepare_cached(&SQL)?.query_row(
            [ACCOUNT, progress.person.0, now.micros(), progress.message.0],
            |row| row.get(0),
        )?;
        Ok(until.map(Timestamp::from_micros))
    }

    fn is_held(&mut self, sender: SenderRow, now: Timestamp) -> rusqlite::Result<bool> {
        Ok(of_sender(self.db, sender)?.is_held(now))
    }

    fn last_hold(&mut self, subject: &HoldSubject) -> rusqlite::Result<Option<EarlierHold>> {
        self.db
            .prepare_cached(
                "SELECT since, until, ends_at, lifted, step FROM hold \
                 WHERE account_id = ?1 AND scope = ?2 AND subject = ?3 AND kind = ?4 \
                 ORDER BY id DESC LIMIT 1",
            )?
            .query_row(
                [
                    ACCOUNT,
                    subject.scope.number(),
                    subject.subject,
                    kind_number(subject.kind),
                ],
                |row| {
                    let ends_at = Timestamp::from_micros(row.get(2)?);
                    Ok(EarlierHold {
                        since: Timestamp::from_micros(row.get(0)?),
                        until: Timestamp::from_micros(row.get(1)?),
                        lifted_at: row.get::<_, bool>(3)?.then_some(ends_at),
                        step: row.get(4)?,
                    })
                },
            )
            .optional()
    }

    fn insert_hold(&mut self, hold: &HoldColumns) -> rusqlite::Result<()> {
        self.db
            .prepare_cached(
                "INSERT INTO hold (account_id, scope, subject, kind, since, until, ends_at, lifted, \
                 releasing, step, code, message_id) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, 0, 0, ?7, ?8, ?9)",
            )?
            .execute(params![
                ACCOUNT,
                hold.subject.scope.number(),
                hold.subject.subject,
                kind_number(hold.subject.kind),
                hold.since.micros(),
                hold.until.micros(),
                hold.step,
                hold.code,
                hold.message.0,
            ])?;
        Ok(())
    }

    fn lift_hold(&mut self, hold: HoldRow, now: Timestamp) -> rusqlite::Result<bool> {
        let changed = self
            .db
            .prepare_cached(
                "UPDATE hold SET ends_at = ?3, lifted = 1, releasing = 1 \
                 WHERE id = ?2 AND account_id = ?1 AND ends_at > ?3 AND lifted = 0",
            )?
            .execute([ACCOUNT, hold.0, now.micros()])?;
        Ok(changed > 0)
    }

    fn move_hold(&mut self, hold: HoldRow, step: &HoldStep) -> rusqlite::Result<bool> {
        let by = i64::try_from(step.by.as_micros()).unwrap_or(i64::MAX);
        let changed = self
            .db
            .prepare_cached(
                "UPDATE hold SET since = since - ?4, until = iif(until >= ?5, until, until - ?4), \
                 ends_at = iif(ends_at >= ?5, ends_at, ends_at - ?4) \
                 WHERE id = ?2 AND account_id = ?1 AND ends_at = ?3",
            )?
            .execute([
                ACCOUNT,
                hold.0,
                step.ends_at.micros(),
                by,
                LIFTED_ONLY.micros(),
            ])?;
        Ok(changed > 0)
    }

    fn give_holds(&mut self, from: PersonRow, to: PersonRow) -> rusqlite::Result<()> {
        self.db
            .prepare_cached(
                "UPDATE hold SET subject = ?4 \
                 WHERE account_id = ?1 AND scope = ?2 AND subject = ?3",
            )?
            .execute([ACCOUNT, HoldScope::Recipient.number(), from.0, to.0])?;
        // Their messages know by now whose they are.
        self.db
            .prepare_cached(
                "UPDATE hold_evidence SET person_id = ?3 WHERE account_id = ?1 AND message_id IN \
                 (SELECT id FROM message WHERE account_id = ?1 AND person_id = ?3) \
                 AND person_id = ?2",
            )?
            .execute([ACCOUNT, from.0, to.0])?;
        Ok(())
    }

    fn holds_to_release(&mut self, rows: usize) -> rusqlite::Result<Vec<HoldRow>> {
        self.db
            .prepare_cached(
                "SELECT id FROM hold WHERE account_id = ?1 AND releasing = 1 ORDER BY id LIMIT ?2",
            )?
            .query_map([ACCOUNT, limit(rows)], |row| row.get(0).map(HoldRow))?
            .collect()
    }

    fn waiting_for_hold(
        &mut self,
        hold: HoldRow,
        rows: usize,
    ) -> rusqlite::Result<Vec<MessageRow>> {
        let found: Option<(HoldScope, i64, i64)> = self
            .db
            .prepare_cached("SELECT scope, subject, until FROM hold WHERE id = ?1")?
            .query_row([hold.0], |row| {
                let scope = stored_at(row, 0, HoldScope::from_number)?;
                Ok((scope, row.get(1)?, row.get(2)?))
            })
            .optional()?;
        let Some((scope, subject, until)) = found else {
            return Ok(Vec::new());
        };
        let concerned = match scope {
            HoldScope::Recipient => "queue.person_id = ?3",
            HoldScope::Template => {
                "(SELECT template_id FROM message WHERE message.id = queue.message_id) = ?3"
            }
            HoldScope::Sender => "queue.sender_id = ?3",
            HoldScope::Account => "?3 = 0",
        };
        let sql = format!(
            "SELECT queue.message_id FROM sender CROSS JOIN queue \
             ON queue.account_id = ?1 AND queue.sender_id = sender.id \
             AND queue.priority IN (0, 1, 2) AND queue.due_at = ?2 \
             WHERE sender.account_id = ?1 AND {concerned} LIMIT ?4"
        );
        self.db
            .prepare_cached(&sql)?
            .query_map([ACCOUNT, until, subject, limit(rows)], |row| {
                row.get(0).map(MessageRow)
            })?
            .collect()
    }

    fn end_release(&mut self, hold: HoldRow) -> rusqlite::Result<()> {
        self.db
            .prepare_cached("UPDATE hold SET releasing = 0 WHERE id = ?1")?
            .execute([hold.0])?;
        Ok(())
    }

    fn evidence(
        &mut self,
        progress: &Progress,
        code: u32,
        since: Timestamp,
    ) -> rusqlite::Result<CodeEvidence> {
        let own: Option<bool> = self
            .db
            .prepare_cached(
                "SELECT stopped_others FROM hold_evidence \
                 WHERE account_id = ?1 AND message_id = ?2 AND code = ?3",
            )?
            .query_row(params![ACCOUNT, progress.message.0, code], |row| row.get(0))
            .optional()?;
        let others = self
            .db
            .prepare_cached(
                "SELECT 1 FROM hold_evidence WHERE account_id = ?1 AND code = ?2 AND at > ?3 \
                 AND sender_id = ?4 AND person_id <> ?5",
            )?
            .exists(params![
                ACCOUNT,
                code,
                since.micros(),
                progress.sender.0,
                progress.person.0
            ])?;
        Ok(CodeEvidence {
            met_before: own.is_some(),
            stopped_others_before: own == Some(true),
            others_met_it: others,
        })
    }

    fn keep_evidence(
        &mut self,
        progress: &Progress,
        code: u32,
        stopped_others: bool,
        now: Timestamp,
    ) -> rusqlite::Result<()> {
        self.db
            .prepare_cached(
                "INSERT INTO hold_evidence (account_id, message_id, code, person_id, sender_id, at, \
                 stopped_others) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) \
                 ON CONFLICT (account_id, message_id, code) DO UPDATE SET at = excluded.at, \
                 stopped_others = max(stopped_others, excluded.stopped_others)",
            )?
            .execute(params![
                ACCOUNT,
                progress.message.0,
                code,
                progress.person.0,
                progress.sender.0,
                now.micros(),
                stopped_others
            ])?;
        Ok(())
    }

    fn prune_holds(
        &mut self,
        ended_before: Timestamp,
        kept_before: Timestamp,
        rows: usize,
    ) -> rusqlite::Result<u64> {
        let mut removed = 0;
        for scope in HoldScope::ALL {
            removed += self
                .db
                .prepare_cached(
                    "DELETE FROM hold WHERE id IN (SELECT id FROM hold WHERE account_id = ?1 \
                     AND scope = ?2 AND ends_at <= ?3 AND releasing = 0 LIMIT ?4)",
                )?
                .execute([ACCOUNT, scope.number(), ended_before.micros(), limit(rows)])?;
        }
        removed += self
            .db
            .prepare_cached(
                "DELETE FROM hold_evidence WHERE (account_id, message_id, code) IN \
                 (SELECT account_id, message_id, code FROM hold_evidence \
                  WHERE account_id = ?1 AND at <= ?2 LIMIT ?3)",
            )?
            .execute([ACCOUNT, kept_before.micros(), limit(rows)])?;
        Ok(u64::try_from(removed).unwrap_or(u64::MAX))
    }

    fn template_of(&mut self, message: MessageRow) -> rusqlite::Result<i64> {
        self.db
            .prepare_cached("SELECT template_id FROM message WHERE id = ?1")?
            .query_row([message.0], |row| row.get(0))
    }

    fn started_at(&mut self, attempt: AttemptRow) -> rusqlite::Result<Option<Timestamp>> {
        self.db
            .prepare_cached("SELECT started_at FROM attempt WHERE id = ?1")?
            .query_row([attempt.0], |row| row.get(0).map(Timestamp::from_micros))
            .optional()
    }
}

/// The holds of a sender and those of the whole account.
#[derive(Clone, Copy, Default)]
pub(super) struct HoldsOfSender {
    /// When the last of them ends or ended, lifted or not.
    pub(super) last_end: Option<Timestamp>,
    /// When the last of those ends or ended that nobody has lifted.
    until: Option<Timestamp>,
}

impl HoldsOfSender {
    /// Whether one is in effect. One that was lifted is not, also when `now` is from before that.
    pub(super) fn is_held(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| until > now)
    }
}

/// The holds of a sender and of the whole account.
pub(super) fn of_sender(db: &Connection, sender: SenderRow) -> rusqlite::Result<HoldsOfSender> {
    let mut holds = HoldsOfSender::default();
    for (scope, subject) in [(HoldScope::Sender, sender.0), (HoldScope::Account, 0)] {
        let (last_end, until) = db
            .prepare_cached(
                "SELECT max(ends_at), max(ends_at) FILTER (WHERE lifted = 0) FROM hold \
                 WHERE account_id = ?1 AND scope = ?2 AND subject = ?3",
            )?
            .query_row([ACCOUNT, scope.number(), subject], |row| {
                Ok((time_or_null(row, 0)?, time_or_null(row, 1)?))
            })?;
        holds.last_end = holds.last_end.max(last_end);
        holds.until = holds.until.max(until);
    }
    Ok(holds)
}

/// Holds whose ends are after `now`, by their numbers, from the one after `after`.
pub(super) fn holds_later(
    db: &Connection,
    now: Timestamp,
    after: i64,
    rows: usize,
) -> rusqlite::Result<Vec<(HoldRow, Timestamp)>> {
    db.prepare_cached(
        "SELECT id, ends_at FROM hold NOT INDEXED WHERE account_id = ?1 AND ends_at > ?2 \
         AND id > ?3 ORDER BY id LIMIT ?4",
    )?
    .query_map([ACCOUNT, now.micros(), after, limit(rows)], |row| {
        Ok((HoldRow(row.get(0)?), Timestamp::from_micros(row.get(1)?)))
    })?
    .collect()
}

/// Removes what a message has left as evidence.
pub(super) fn remove_evidence(db: &Connection, message: MessageRow) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM hold_evidence WHERE account_id = ?1 AND message_id = ?2")?
        .execute([ACCOUNT, message.0])?;
    Ok(())
}

fn count(db: &Connection, now: Timestamp) -> rusqlite::Result<Vec<(HoldScope, u64)>> {
    let mut counts = Vec::new();
    for &scope in HoldScope::ALL {
        let n = db
            .prepare_cached(
                "SELECT count(*) FROM (SELECT 1 FROM hold WHERE account_id = ?1 AND scope = ?2 \
                 AND ends_at > ?3 AND lifted = 0 LIMIT ?4)",
            )?
            .query_row(
                params![ACCOUNT, scope.number(), now.micros(), HOLDS_COUNTED_MAX],
                |row| row.get(0),
            )?;
        counts.push((scope, n));
    }
    Ok(counts)
}

fn read_page(db: &Connection, vault: &Vault, filter: &HoldFilter) -> rusqlite::Result<HoldPage> {
    // Along the ends, so that a page costs nothing for those that are over, of which there may be many
    // more. What is sorted are numbers of those in effect.
    let scopes = match filter.scope {
        Some(scope) => scope.number().to_string(),
        None => HoldScope::ALL
            .iter()
            .map(|scope| scope.number().to_string())
            .collect::<Vec<_>>()
            .join(", "),
    };
    let mut statement = db.prepare_cached(&format!(
        "SELECT hold.id, hold.scope, hold.subject, hold.kind, hold.code, hold.since, hold.until, \
         hold.step, message.public_id, sender.name, template.content_sid, hold.lifted \
         FROM (SELECT id FROM hold INDEXED BY hold_end WHERE account_id = ?1 \
               AND scope IN ({scopes}) AND ends_at > ?3 AND id < ?2 ORDER BY id DESC LIMIT ?4) AS page \
         CROSS JOIN hold ON hold.id = page.id \
         LEFT JOIN message ON message.id = hold.message_id \
         LEFT JOIN sender ON hold.scope = ?5 AND sender.id = hold.subject \
         LEFT JOIN template ON hold.scope = ?6 AND template.id = hold.subject \
         ORDER BY page.id DESC"
    ))?;
    let mut rows = statement.query(params![
        ACCOUNT,
        filter.before.unwrap_or(i64::MAX),
        filter.now.micros(),
        limit(filter.limit.saturating_add(1)),
        HoldScope::Sender.number(),
        HoldScope::Template.number(),
    ])?;
    let mut page = HoldPage::default();
    let (mut looked_at, mut last) = (0, None);
    while let Some(row) = rows.next()? {
        if looked_at == filter.limit {
            page.next = last;
            break;
        }
        looked_at += 1;
        last = Some(row.get(0)?);
        // One that was lifted is over, also when the clock was set back since.
        if !row.get(11)? {
            page.holds.push(read_view(db, vault, row)?);
        }
    }
    Ok(page)
}

fn read_view(db: &Connection, vault: &Vault, row: &Row<'_>) -> rusqlite::Result<HoldView> {
    let scope = stored_at(row, 1, HoldScope::from_number)?;
    let until = Timestamp::from_micros(row.get(6)?);
    let recipient = match scope {
        HoldScope::Recipient => {
            let person = Statements { db }.person(PersonRow(row.get(2)?))?;
            person.and_then(|person| person.address(vault).ok().flatten())
        }
        HoldScope::Template | HoldScope::Sender | HoldScope::Account => None,
    };
    let message = row.get_ref(8)?.as_blob_or_null()?;
    Ok(HoldView {
        row: HoldRow(row.get(0)?),
        scope,
        kind: Kind::from_number(row.get(3)?),
        sender: row.get(9)?,
        template: row.get(10)?,
        recipient,
        code: row.get(4)?,
        since: Timestamp::from_micros(row.get(5)?),
        until: (!ends_when_lifted(until)).then_some(until),
        step: row.get(7)?,
        message: message.map(message_id).transpose()?,
    })
}

fn kind_number(kind: Option<Kind>) -> i64 {
    kind.map_or(ALL_KINDS, Kind::number)
}
