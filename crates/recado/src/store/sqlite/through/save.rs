//! What a sheet has changed, written to SQLite.

use delivery::consent::ConsentWord;
use delivery::progress::{PauseSource, Progress};
use delivery::row::MessageRow;
use delivery::sid::Sid;
use delivery::time::Timestamp;
use rusqlite::{Connection, Params, params};

use crate::store::operations::removal::RetentionRows;
use crate::store::operations::rows::{
    AccountRows, CallbackUrlRows, CounterRows, HealthRows, InboundRows, MessageRows, PersonRows,
    QueueRows, WatchRows,
};
use crate::store::sheet::{AttemptRecord, CheckChange, InboundRecord, MessageRecord, Sheet};
use crate::store::sqlite::key::owner;
use crate::store::sqlite::statements::{ACCOUNT, Statements};

/// Writes every change.
pub(super) fn save(db: &Connection, sheet: &Sheet) -> rusqlite::Result<()> {
    save_names(db, sheet)?;
    save_people(db, sheet)?;
    for (row, record) in sheet.messages.changes() {
        if let Some(record) = record {
            save_message(db, *row, record)?;
        }
    }
    for (row, progress) in sheet.progress.changes() {
        if let Some(progress) = progress {
            save_progress(db, *row, progress)?;
        }
    }
    for (row, record) in sheet.attempts.changes() {
        if let Some(record) = record {
            save_attempt(db, row.0, record)?;
        }
    }
    save_open_attempts(db, sheet)?;
    save_reports(db, sheet)?;
    save_events(db, sheet)?;
    save_keys(db, sheet)?;
    let mut rows = Statements { db };
    for (enqueued, progress, due_at) in &sheet.queue {
        if *enqueued {
            rows.enqueue(progress, *due_at)?;
        } else {
            rows.dequeue(progress, *due_at)?;
        }
    }
    for (watch, polls) in &sheet.watches {
        match polls {
            Some(polls) => rows.set_watch(*watch, *polls)?,
            None => rows.delete_watch(watch.at, watch.attempt)?,
        }
    }
    for measured in &sheet.lags {
        rows.note_list_lag(measured)?;
    }
    rows.add_counts(&sheet.counts)?;
    rows.forget_zero_counts(&sheet.zero_counts)?;
    rows.add_totals(&sheet.totals)?;
    let (ended, note) = (sheet.restore_ended, sheet.clock_note);
    ended.map_or(Ok(()), |(after, now)| rows.end_restore(after, now))?;
    note.map_or(Ok(()), |note| rows.note_clock(note))?;
    for removed in &sheet.removed {
        rows.remove(removed)?;
    }
    sheet.probed.then(|| rows.probe()).transpose()?;
    Ok(())
}

fn save_names(db: &Connection, sheet: &Sheet) -> rusqlite::Result<()> {
    for (cohort, row) in sheet.cohorts.changes() {
        execute(
            db,
            "INSERT INTO cohort (account_id, id, hour, sender_id, kind, template_id, area) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                ACCOUNT,
                row.map(|row| row.0),
                cohort.hour,
                cohort.sender.0,
                cohort.kind.number(),
                cohort.template,
                cohort.area
            ],
        )?;
    }
    for (content_sid, number) in sheet.templates.changes() {
        execute(
            db,
            "INSERT INTO template (account_id, id, content_sid) VALUES (?1, ?2, ?3)",
            params![ACCOUNT, number, content_sid],
        )?;
    }
    for (row, sender) in sheet.senders.changes() {
        if let Some(sender) = sender {
            execute(
                db,
                "UPDATE sender SET paused_at = ?2, pause_reason = ?3, pause_source = ?4, \
                 resumed_at = ?5 WHERE id = ?1",
                params![
                    row.0,
                    sender.paused_at.map(Timestamp::micros),
                    sender.pause_reason,
                    sender.pause_source.map(PauseSource::number),
                    sender.resumed_at.map(Timestamp::micros)
                ],
            )?;
        }
    }
    Ok(())
}

fn save_people(db: &Connection, sheet: &Sheet) -> rusqlite::Result<()> {
    for (row, person) in sheet.people.changes() {
        let Some(person) = person else { continue };
        let consent = params![
            row.0,
            person.variant.map(|variant| variant.number()),
            person.consent.kind().number(),
            person.consent_at.map(Timestamp::micros),
            person.consent_source.map(|source| source.number()),
            person.tied.then_some(person.row.0)
        ];
        if let Some(area) = sheet.areas.get(row) {
            execute(
                db,
                "INSERT INTO identity (account_id, id, blind_index, wrapped_key, sealed_address, \
                 area, has_variant, kind) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                params![
                    ACCOUNT,
                    row.0,
                    person.blind_index,
                    person.wrapped_key,
                    person.sealed_address,
                    area,
                    person.has_variant,
                    person.kind.number()
                ],
            )?;
        }
        execute(
            db,
            "UPDATE identity SET variant = ?2, consent = ?3, consent_at = ?4, consent_source = ?5, \
             person_id = ?6 WHERE id = ?1",
            consent,
        )?;
    }
    for (person, conversations) in sheet.conversations.changes() {
        execute(
            db,
            "DELETE FROM conversation WHERE account_id = ?1 AND person_id = ?2",
            [ACCOUNT, person.0],
        )?;
        for (sender, at) in conversations.into_iter().flatten() {
            execute(
                db,
                "INSERT OR REPLACE INTO conversation (account_id, person_id, sender_id, last_inbound_at) \
                 VALUES (?1, ?2, ?3, ?4)",
                [ACCOUNT, person.0, sender.0, at.micros()],
            )?;
        }
    }
    save_inbound(db, sheet)
}

fn save_inbound(db: &Connection, sheet: &Sheet) -> rusqlite::Result<()> {
    for (sid, record) in sheet.inbound.changes() {
        let Some(record) = record else { continue };
        if record.is_new {
            insert_inbound(db, *sid, record)?;
        } else {
            execute(
                db,
                "UPDATE inbound SET type = ?2, media = ?3, reply_to = ?4, sealed_payload = ?5, \
                 word = ?6, listed = ?7, person_id = ?8 WHERE id = ?1",
                params![
                    record.id,
                    record.message_type,
                    record.media,
                    record.reply_to.map(|message| message.0),
                    record.sealed_payload,
                    record.word.map(ConsentWord::number),
                    record.listed,
                    record.person.0
                ],
            )?;
        }
    }
    for (_, words) in sheet.words.changes() {
        for word in words.into_iter().flatten() {
            execute(
                db,
                "UPDATE inbound SET word = ?2, written_at = ?3 WHERE id = ?1",
                params![
                    word.key,
                    word.word.number(),
                    word.written_at.map(Timestamp::micros)
                ],
            )?;
        }
    }
    let mut rows = Statements { db };
    for (person, change) in &sheet.consent_checks {
        match change {
            CheckChange::Due(at) => rows.set_consent_check(*person, *at)?,
            CheckChange::Done => rows.delete_consent_check(*person)?,
            CheckChange::Given(to) => rows.give_inbound(*person, *to)?,
        }
    }
    for tie in &sheet.ties {
        rows.append_tie(tie)?;
    }
    for cursor in &sheet.cursors {
        rows.set_inbound_cursor(cursor)?;
    }
    for ((), urls) in sheet.callback_urls.changes() {
        execute(db, "DELETE FROM callback_url", [])?;
        for (url, replaced_at) in urls.into_iter().flatten() {
            rows.set_callback_url(url, *replaced_at)?;
        }
    }
    save_consents(db, sheet)
}

fn insert_inbound(db: &Connection, sid: Sid, record: &InboundRecord) -> rusqlite::Result<()> {
    execute(
        db,
        "INSERT INTO inbound (account_id, id, sid, person_id, identity_id, sender_id, type, \
         media, reply_to, received_at, sealed_payload, written_at, word, listed) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
        params![
            ACCOUNT,
            record.id,
            sid.to_bytes(),
            record.person.0,
            record.identity.0,
            record.sender.map(|sender| sender.0),
            record.message_type,
            record.media,
            record.reply_to.map(|message| message.0),
            record.received_at.micros(),
            record.sealed_payload,
            record.written_at.map(Timestamp::micros),
            record.word.map(ConsentWord::number),
            record.listed
        ],
    )
}

fn save_consents(db: &Connection, sheet: &Sheet) -> rusqlite::Result<()> {
    for record in &sheet.consents {
        execute(
            db,
            "INSERT INTO consent_event (account_id, person_id, at, consent, source, inbound_id, message_id, \
             code) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                ACCOUNT,
                record.person.0,
                record.at.micros(),
                record.consent.number(),
                record.source.number(),
                record.inbound,
                record.message.map(|message| message.0),
                record.code
            ],
        )?;
    }
    Ok(())
}

fn save_message(db: &Connection, row: MessageRow, record: &MessageRecord) -> rusqlite::Result<()> {
    let known = db
        .prepare_cached("UPDATE message SET person_id = ?2 WHERE id = ?1")?
        .execute([row.0, record.person.0])?;
    if known > 0 {
        return Ok(());
    }
    execute(
        db,
        "INSERT INTO message (account_id, id, public_id, person_id, identity_id, \
         content_index, template_id, kind, window_check, send_at, accepted_at, sealed_content, \
         sealed_metadata, sealed_business_key) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
        params![
            ACCOUNT,
            row.0,
            record.id.0.as_bytes(),
            record.person.0,
            record.identity.0,
            record.content_index,
            record.template,
            record.kind.number(),
            record.window_check.number(),
            record.send_at.map(Timestamp::micros),
            record.accepted_at.micros(),
            record.sealed_content,
            record.sealed_metadata,
            record.sealed_business_key
        ],
    )
}

fn save_progress(db: &Connection, row: MessageRow, progress: &Progress) -> rusqlite::Result<()> {
    let mut rows = Statements { db };
    if rows.progress(row)?.is_none() {
        rows.insert_progress(progress)?;
    }
    rows.update_progress(progress)?;
    execute(
        db,
        "UPDATE progress SET person_id = ?2 WHERE message_id = ?1",
        [row.0, progress.person.0],
    )
}

fn save_attempt(db: &Connection, id: i64, record: &AttemptRecord) -> rusqlite::Result<()> {
    execute(
        db,
        "INSERT OR REPLACE INTO attempt (account_id, id, message_id, n, nonce, started_at, finished_at, outcome, \
         cause, variant, seen, sid, error_code, settled_by) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
        params![
            ACCOUNT,
            id,
            record.message.0,
            record.n,
            record.nonce.cast_signed(),
            record.started_at.micros(),
            record.finished_at.map(Timestamp::micros),
            record.outcome.map(|outcome| outcome.number()),
            record.cause,
            record.variant.number(),
            record.seen,
            record.sid.map(|sid| sid.to_bytes()),
            record.error_code,
            record.settled_by.map(|by| by.number())
        ],
    )
}

fn save_open_attempts(db: &Connection, sheet: &Sheet) -> rusqlite::Result<()> {
    for ((person, sender), open) in sheet.open.changes() {
        execute(
            db,
            "DELETE FROM open_attempt WHERE account_id = ?1 AND person_id = ?2 AND sender_id = ?3",
            [ACCOUNT, person.0, sender.0],
        )?;
        for (attempt, epoch) in open.into_iter().flatten() {
            execute(
                db,
                "INSERT INTO open_attempt (account_id, person_id, sender_id, attempt_id, epoch) \
                 VALUES (?1, ?2, ?3, ?4, ?5)",
                [ACCOUNT, person.0, sender.0, attempt.0, *epoch],
            )?;
        }
    }
    Ok(())
}

fn save_reports(db: &Connection, sheet: &Sheet) -> rusqlite::Result<()> {
    for ((attempt, status, code), known) in sheet.coded.changes() {
        let sql = match known {
            Some(()) => {
                "INSERT OR IGNORE INTO coded_report (account_id, attempt_id, status, code) \
                 VALUES (?1, ?2, ?3, ?4)"
            }
            None => {
                "DELETE FROM coded_report WHERE account_id = ?1 AND attempt_id = ?2 \
                 AND status = ?3 AND code = ?4"
            }
        };
        execute(db, sql, params![ACCOUNT, attempt.0, status.number(), code])?;
    }
    for (sid, parked) in sheet.parked.changes() {
        let sid = sid.to_bytes();
        execute(
            db,
            "DELETE FROM parked_report WHERE account_id = ?1 AND sid = ?2",
            params![ACCOUNT, sid],
        )?;
        for known in parked.into_iter().flatten() {
            execute(
                db,
                "INSERT INTO parked_report (account_id, sid, status, code, word, received_at) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![
                    ACCOUNT,
                    sid,
                    known.report.status.number(),
                    known.report.code.unwrap_or(0),
                    known.report.word,
                    known.received_at.micros()
                ],
            )?;
        }
    }
    Ok(())
}

fn save_events(db: &Connection, sheet: &Sheet) -> rusqlite::Result<()> {
    for record in &sheet.events {
        let event = &record.event;
        execute(
            db,
            "INSERT INTO event (account_id, id, message_id, prev, at, kind, source, state, attempt_id, status, \
             code, detail) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
            params![
                ACCOUNT,
                record.id,
                record.message.0,
                record.prev,
                record.at.micros(),
                event.kind.number(),
                event.source.number(),
                event.state.number(),
                event.attempt.map(|attempt| attempt.0),
                event.status.map(|status| status.number()),
                event.code,
                event.detail
            ],
        )?;
    }
    Ok(())
}

fn save_keys(db: &Connection, sheet: &Sheet) -> rusqlite::Result<()> {
    for (key, answer) in sheet.answers.changes() {
        match answer {
            Some(answer) => execute(
                db,
                "INSERT INTO idempotency (account_id, key, body, message_id, state, created_at) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![
                    ACCOUNT,
                    key,
                    answer.body,
                    answer.message.0,
                    answer.state.number(),
                    answer.created_at.micros()
                ],
            )?,
            None => execute(
                db,
                "DELETE FROM idempotency WHERE account_id = ?1 AND key = ?2",
                params![ACCOUNT, key],
            )?,
        }
    }
    for (subject, newest) in sheet.subjects.changes() {
        if newest.is_none() {
            execute(
                db,
                "DELETE FROM business_key WHERE account_id = ?1 AND person_id = ?2 \
                 AND subject_index = ?3",
                params![ACCOUNT, owner(subject), subject.index],
            )?;
        }
        if let Some((version, message)) = newest {
            let version = version.map(|version| i64::try_from(version).unwrap_or(i64::MAX));
            execute(
                db,
                "INSERT OR REPLACE INTO business_key (account_id, person_id, subject_index, version, \
                 message_id) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![ACCOUNT, owner(subject), subject.index, version, message.0],
            )?;
        }
    }
    for (id, key) in sheet.api_keys.changes() {
        let Some(key) = key else { continue };
        if key.is_new {
            execute(
                db,
                "INSERT INTO api_key (account_id, id, name, scope, hash, created_at) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![
                    ACCOUNT,
                    id,
                    key.name,
                    key.scope.number(),
                    key.hash,
                    key.created_at.micros()
                ],
            )?;
        }
        execute(
            db,
            "UPDATE api_key SET revoked_at = ?3 WHERE account_id = ?1 AND id = ?2",
            params![ACCOUNT, id, key.revoked_at.map(Timestamp::micros)],
        )?;
    }
    Ok(())
}

fn execute(db: &Connection, sql: &str, values: impl Params) -> rusqlite::Result<()> {
    db.prepare_cached(sql)?.execute(values)?;
    Ok(())
}
