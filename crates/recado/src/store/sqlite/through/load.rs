//! What a sheet misses, read from SQLite.

use delivery::consent::{ConsentKind, ConsentWord};
use delivery::outcome::ProviderStatus;
use delivery::progress::PauseSource;
use delivery::row::{AttemptRow, IdentityRow, MessageRow, PersonRow, SenderRow};
use delivery::sid::Sid;
use delivery::state::State;
use delivery::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::load_message::{load_attempt, load_message, load_messages, read_all};
use crate::store::operations::columns::{ParkedReport, Subject};
use crate::store::operations::removal::RetentionRows;
use crate::store::operations::rows::{
    CallbackUrlRows, CounterRows, InboundRows, MessageRows, PersonRows,
};
use crate::store::person::Person;
use crate::store::sheet::{
    AnswerRecord, ApiKeyRecord, InboundRecord, Need, Numbers, ParkedRecord, SenderRecord, Sheet,
};
use crate::store::sqlite::column::{stored_at, stored_or_null, time_or_null};
use crate::store::sqlite::key::owner;
use crate::store::sqlite::statements::{ACCOUNT, Statements};
use crate::store::{KeyScope, MessageId};

/// The last number given in each table.
pub(super) fn numbers(db: &Connection) -> rusqlite::Result<Numbers> {
    let last = |table: &str| -> rusqlite::Result<i64> {
        let sql = format!("SELECT coalesce(max(id), 0) FROM {table}");
        db.query_row(&sql, [], |row| row.get(0))
    };
    Ok(Numbers {
        message: last("message")?,
        attempt: last("attempt")?,
        event: last("event")?,
        person: last("identity")?,
        inbound: last("inbound")?,
        cohort: last("cohort")?,
        template: last("template")?,
        // Holds are removed again, and their numbers are never used twice.
        hold: db.query_row(
            "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'hold'",
            [],
            |row| row.get(0),
        )?,
    })
}

/// Every sender.
pub(super) fn senders(db: &Connection) -> rusqlite::Result<Vec<(SenderRow, SenderRecord)>> {
    db.prepare(
        "SELECT id, name, configured, paused_at, pause_reason, pause_source, resumed_at \
         FROM sender WHERE account_id = ?1",
    )?
    .query_map([ACCOUNT], |row| {
        let record = SenderRecord {
            name: row.get(1)?,
            configured: row.get(2)?,
            paused_at: time_or_null(row, 3)?,
            pause_reason: row.get(4)?,
            pause_source: stored_or_null(row, 5, PauseSource::from_number)?,
            resumed_at: time_or_null(row, 6)?,
        };
        Ok((SenderRow(row.get(0)?), record))
    })?
    .collect()
}

/// Loads what is missing, and what hangs on it.
pub(super) fn load(rows: Statements<'_>, sheet: &mut Sheet, need: &Need) -> rusqlite::Result<()> {
    let db = rows.db;
    match need {
        Need::Message(message) => load_message(db, sheet, *message),
        Need::Id(id) => load_id(rows, sheet, *id),
        Need::Recent(person) => {
            let sql = "SELECT id FROM message WHERE account_id = ?1 AND person_id = ?2 \
                       ORDER BY id DESC LIMIT 200";
            let recent = load_messages(db, sheet, sql, [ACCOUNT, person.0])?;
            sheet.recent.load(*person, Some(recent));
            Ok(())
        }
        Need::All(person) => {
            let sql = "SELECT id FROM message WHERE account_id = ?1 AND person_id = ?2";
            let all = load_messages(db, sheet, sql, [ACCOUNT, person.0])?;
            sheet.all.load(*person, Some(all));
            Ok(())
        }
        Need::Stoppable(person) => {
            let sql = format!(
                "SELECT message.id FROM message \
                 JOIN progress ON progress.message_id = message.id \
                 WHERE message.account_id = ?1 AND message.person_id = ?2 \
                 AND progress.state IN ({})",
                states_that(State::is_stoppable)
            );
            let found = load_messages(db, sheet, &sql, [ACCOUNT, person.0])?;
            sheet.stoppable.load(*person, Some(found));
            Ok(())
        }
        Need::Overdue(now) => {
            let sql = "SELECT message_id FROM progress WHERE account_id = ?1 \
                       AND due_at IS NOT NULL AND expires_at IS NOT NULL AND expires_at <= ?2";
            let found = load_messages(db, sheet, sql, [ACCOUNT, now.micros()])?;
            sheet.overdue.load(*now, Some(found));
            Ok(())
        }
        Need::WaitingUntil(until) => {
            let sql = "SELECT message_id FROM queue WHERE due_at = ?1";
            let found = load_messages(db, sheet, sql, [until.micros()])?;
            sheet.waiting_until.load(*until, Some(found));
            Ok(())
        }
        _ => load_attempts(rows, sheet, need),
    }
}

fn load_id(mut rows: Statements<'_>, sheet: &mut Sheet, id: MessageId) -> rusqlite::Result<()> {
    let found = rows.message_of(id)?;
    sheet.ids.load(id, found);
    match found {
        Some(row) => load_message(rows.db, sheet, row),
        None => Ok(()),
    }
}

fn load_attempts(rows: Statements<'_>, sheet: &mut Sheet, need: &Need) -> rusqlite::Result<()> {
    let db = rows.db;
    match need {
        Need::Attempt(attempt) => load_attempt(db, sheet, *attempt).map(drop),
        Need::Correlated(id) => match load_attempt(db, sheet, id.row)? {
            Some(message) => load_message(db, sheet, message),
            None => Ok(()),
        },
        Need::Sid(sid) => {
            let holder = db
                .prepare_cached("SELECT id FROM attempt WHERE account_id = ?1 AND sid = ?2")?
                .query_row(params![ACCOUNT, sid.to_bytes()], |row| {
                    row.get(0).map(AttemptRow)
                })
                .optional()?;
            sheet.sids.load(*sid, holder);
            match holder {
                Some(attempt) => match load_attempt(db, sheet, attempt)? {
                    Some(message) => load_message(db, sheet, message),
                    None => Ok(()),
                },
                None => Ok(()),
            }
        }
        Need::Open(person, sender) => load_open(db, sheet, *person, *sender),
        Need::LeftOpen(epoch) => {
            let sql = "SELECT DISTINCT person_id, sender_id FROM open_attempt \
                       WHERE account_id = ?1 AND epoch < ?2";
            let left = read_all(db, sql, [ACCOUNT, *epoch], |row| {
                Ok((PersonRow(row.get(0)?), SenderRow(row.get(1)?)))
            })?;
            for (person, sender) in &left {
                load_open(db, sheet, *person, *sender)?;
            }
            sheet.left_open.load(*epoch, Some(left));
            Ok(())
        }
        _ => load_reports(rows, sheet, need),
    }
}

fn load_open(
    db: &Connection,
    sheet: &mut Sheet,
    person: PersonRow,
    sender: SenderRow,
) -> rusqlite::Result<()> {
    let open = db
        .prepare_cached(
            "SELECT attempt_id, epoch FROM open_attempt \
             WHERE account_id = ?1 AND person_id = ?2 AND sender_id = ?3",
        )?
        .query_map([ACCOUNT, person.0, sender.0], |row| {
            Ok((AttemptRow(row.get(0)?), row.get(1)?))
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    sheet.open.load((person, sender), Some(open));
    Ok(())
}

fn load_reports(rows: Statements<'_>, sheet: &mut Sheet, need: &Need) -> rusqlite::Result<()> {
    let db = rows.db;
    match need {
        Need::Coded(attempt, status, code) => {
            let known = db
                .prepare_cached(
                    "SELECT 1 FROM coded_report WHERE account_id = ?1 AND attempt_id = ?2 \
                     AND status = ?3 AND code = ?4",
                )?
                .exists(params![ACCOUNT, attempt.0, status.number(), code])?;
            sheet
                .coded
                .load((*attempt, *status, *code), known.then_some(()));
            Ok(())
        }
        Need::CodedOf(attempt) => {
            let sql = "SELECT status, code FROM coded_report \
                       WHERE account_id = ?1 AND attempt_id = ?2";
            let known = read_all(db, sql, [ACCOUNT, attempt.0], |row| {
                let status = stored_at(row, 0, ProviderStatus::from_number)?;
                Ok((*attempt, status, row.get(1)?))
            })?;
            for key in known {
                sheet.coded.load(key, Some(()));
            }
            sheet.coded_of.load(*attempt, Some(()));
            Ok(())
        }
        Need::Parked(sid) => {
            let sql = "SELECT status, code, word, received_at FROM parked_report \
                       WHERE account_id = ?1 AND sid = ?2 ORDER BY status, code";
            let parked = read_all(db, sql, params![ACCOUNT, sid.to_bytes()], read_parked)?;
            sheet.parked.load(*sid, Some(parked));
            Ok(())
        }
        Need::OldParked(before) => {
            let sql = "SELECT DISTINCT sid FROM parked_report \
                       WHERE account_id = ?1 AND received_at <= ?2";
            let sids = read_all(db, sql, [ACCOUNT, before.micros()], |row| {
                let sid = Sid::from_bytes(row.get_ref(0)?.as_blob()?);
                sid.ok_or(rusqlite::Error::InvalidQuery)
            })?;
            sheet.old_parked.load(*before, Some(sids));
            Ok(())
        }
        _ => load_people(rows, sheet, need),
    }
}

fn read_parked(row: &Row<'_>) -> rusqlite::Result<ParkedRecord> {
    let code: u32 = row.get(1)?;
    Ok(ParkedRecord {
        report: ParkedReport {
            status: stored_at(row, 0, ProviderStatus::from_number)?,
            code: (code > 0).then_some(code),
            word: row.get(2)?,
        },
        received_at: Timestamp::from_micros(row.get(3)?),
    })
}

fn load_people(mut rows: Statements<'_>, sheet: &mut Sheet, need: &Need) -> rusqlite::Result<()> {
    let db = rows.db;
    match need {
        Need::Unanswered(before) => {
            let sql = format!(
                "SELECT id FROM identity \
                 WHERE account_id = ?1 AND consent = {} AND consent_at <= ?2 \
                 AND (person_id IS NULL OR person_id = id)",
                ConsentKind::Asking.number()
            );
            let asked = read_all(db, &sql, [ACCOUNT, before.micros()], |row| {
                row.get(0).map(PersonRow)
            })?;
            for person in &asked {
                let found = rows.person(*person)?;
                sheet.people.load(Person::first_identity(*person), found);
            }
            sheet.unanswered.load(*before, Some(asked));
        }
        Need::Conversations(person) => {
            let sql = "SELECT sender_id, last_inbound_at FROM conversation \
                       WHERE account_id = ?1 AND person_id = ?2";
            let all = read_all(db, sql, [ACCOUNT, person.0], |row| {
                Ok((SenderRow(row.get(0)?), Timestamp::from_micros(row.get(1)?)))
            })?;
            sheet.conversations.load(*person, Some(all));
        }
        Need::InboundOf(person) => {
            let sql = "SELECT sid FROM inbound WHERE account_id = ?1 AND person_id = ?2";
            let sids = read_all(db, sql, [ACCOUNT, person.0], |row| {
                let sid = Sid::from_bytes(row.get_ref(0)?.as_blob()?);
                sid.ok_or(rusqlite::Error::InvalidQuery)
            })?;
            for sid in &sids {
                load_people(rows, sheet, &Need::Inbound(*sid))?;
            }
            sheet.inbound_of.load(*person, Some(sids));
        }
        Need::Inbound(sid) => {
            let record = db
                .prepare_cached(
                    "SELECT id, person_id, sender_id, type, media, reply_to, received_at, \
                     sealed_payload, written_at, word, listed, identity_id FROM inbound \
                     WHERE account_id = ?1 AND sid = ?2",
                )?
                .query_row(params![ACCOUNT, sid.to_bytes()], read_inbound)
                .optional()?;
            sheet.inbound.load(*sid, record);
        }
        Need::Words(person) => {
            let words = rows.words(*person)?;
            sheet.words.load(*person, Some(words));
        }
        Need::CallbackUrls => {
            let urls = rows.callback_urls()?;
            sheet.callback_urls.load((), Some(urls));
        }
        _ => load_identities(rows, sheet, need)?,
    }
    Ok(())
}

fn read_inbound(row: &Row<'_>) -> rusqlite::Result<InboundRecord> {
    Ok(InboundRecord {
        id: row.get(0)?,
        person: PersonRow(row.get(1)?),
        sender: row.get::<_, Option<i64>>(2)?.map(SenderRow),
        message_type: row.get(3)?,
        media: row.get(4)?,
        reply_to: row.get::<_, Option<i64>>(5)?.map(MessageRow),
        received_at: Timestamp::from_micros(row.get(6)?),
        sealed_payload: row.get(7)?,
        written_at: time_or_null(row, 8)?,
        word: stored_or_null(row, 9, ConsentWord::from_number)?,
        listed: row.get(10)?,
        is_new: false,
        identity: IdentityRow(row.get(11)?),
    })
}

fn load_identities(
    mut rows: Statements<'_>,
    sheet: &mut Sheet,
    need: &Need,
) -> rusqlite::Result<()> {
    match need {
        Need::Identity(identity) => {
            let found = rows.person_at(*identity)?;
            sheet.people.load(*identity, found);
        }
        Need::Tied(person) => {
            let mut all = Vec::new();
            for found in rows.tied_to(*person)? {
                all.push(found.identity);
                sheet.people.load(found.identity, Some(found));
            }
            sheet.tied.load(*person, Some(all));
        }
        Need::Index(index) => {
            let found = rows.person_of(index)?;
            sheet
                .indexes
                .load(*index, found.as_ref().map(|found| found.identity));
            if let Some(found) = found {
                sheet.people.load(found.identity, Some(found));
            }
        }
        _ => load_keys(rows, sheet, need)?,
    }
    Ok(())
}

fn load_keys(mut rows: Statements<'_>, sheet: &mut Sheet, need: &Need) -> rusqlite::Result<()> {
    let db = rows.db;
    match need {
        Need::Cohort(cohort) => {
            let found = rows.cohort(cohort)?;
            sheet.cohorts.load(*cohort, found);
        }
        Need::Template(content_sid) => {
            let found = rows.template(content_sid)?;
            sheet.templates.load(content_sid.clone(), found);
        }
        Need::Answer(key) => {
            let answer = db
                .prepare_cached(
                    "SELECT body, message_id, state, created_at FROM idempotency \
                     WHERE account_id = ?1 AND key = ?2",
                )?
                .query_row(params![ACCOUNT, key], read_answer)
                .optional()?;
            if let Some(answer) = &answer {
                load_message(db, sheet, answer.message)?;
            }
            sheet.answers.load(*key, answer);
        }
        Need::Removable(removal) => {
            let removable = Statements { db }.removable(removal)?;
            sheet.removable.load(*removal, Some(removable));
        }
        Need::OldAnswers(before) => {
            let sql = "SELECT key FROM idempotency WHERE account_id = ?1 AND created_at <= ?2";
            let keys = read_all(db, sql, [ACCOUNT, before.micros()], |row| row.get(0))?;
            sheet.old_answers.load(*before, Some(keys));
        }
        Need::Subject(subject) => {
            let newest: Option<(Option<u64>, MessageRow)> = db
                .prepare_cached(
                    "SELECT version, message_id FROM business_key \
                     WHERE account_id = ?1 AND person_id = ?2 AND subject_index = ?3",
                )?
                .query_row(params![ACCOUNT, owner(subject), subject.index], |row| {
                    Ok((row.get(0)?, MessageRow(row.get(1)?)))
                })
                .optional()?;
            if let Some((_, message)) = newest {
                load_message(db, sheet, message)?;
            }
            sheet.subjects.load(*subject, newest);
        }
        Need::SubjectsOf(person) => {
            let sql = "SELECT subject_index FROM business_key \
                       WHERE account_id = ?1 AND person_id = ?2";
            let indexes = read_all(db, sql, [ACCOUNT, person.0], |row| row.get(0))?;
            for index in indexes {
                let person = Some(*person);
                load_keys(rows, sheet, &Need::Subject(Subject { person, index }))?;
            }
            sheet.subjects_of.load(*person, Some(()));
        }
        Need::ApiKey(id) => load_api_key(db, sheet, id)?,
        // Every other need was met before.
        _ => {}
    }
    Ok(())
}

fn load_api_key(db: &Connection, sheet: &mut Sheet, id: &str) -> rusqlite::Result<()> {
    let record = db
        .prepare_cached(
            "SELECT name, scope, hash, created_at, revoked_at FROM api_key \
             WHERE account_id = ?1 AND id = ?2",
        )?
        .query_row(params![ACCOUNT, id], read_api_key)
        .optional()?;
    sheet.api_keys.load(id.to_owned(), record);
    Ok(())
}

fn read_answer(row: &Row<'_>) -> rusqlite::Result<AnswerRecord> {
    Ok(AnswerRecord {
        body: row.get(0)?,
        message: MessageRow(row.get(1)?),
        state: stored_at(row, 2, State::from_number)?,
        created_at: Timestamp::from_micros(row.get(3)?),
    })
}

fn read_api_key(row: &Row<'_>) -> rusqlite::Result<ApiKeyRecord> {
    Ok(ApiKeyRecord {
        name: row.get(0)?,
        scope: stored_at(row, 1, KeyScope::from_number)?,
        hash: row.get(2)?,
        created_at: Timestamp::from_micros(row.get(3)?),
        revoked_at: time_or_null(row, 4)?,
        is_new: false,
    })
}

/// The numbers of the states for which something holds, as a list for SQL.
fn states_that(holds: impl Fn(State) -> bool) -> String {
    let numbers: Vec<String> = State::ALL
        .iter()
        .filter(|state| holds(**state))
        .map(|state| state.number().to_string())
        .collect();
    numbers.join(", ")
}
