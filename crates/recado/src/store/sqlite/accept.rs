//! Accepting messages. Hashing and sealing happen before the transaction, on the caller's core;
//! the writer only looks up and inserts.

use std::sync::Arc;

use delivery::consent::Consent;
use delivery::event::Source;
use delivery::message::{Content, DedupeChoice, SenderName, WindowChoice};
use delivery::state::State;
use delivery::time::Timestamp;
use delivery::window::{self, WindowCheck};
use rusqlite::{OptionalExtension, params};

use super::business_key::key_text;
use super::context::{Cohort, Context, TransitionInput};
use super::idempotency::{keyed, replay};
use super::person::{self, Candidate, Person};
use super::{Shared, SqliteStore};
use crate::secrets::PersonKey;
use crate::store::{AcceptRefusal, AcceptResult, MessageId, NewMessage, StoreError, sealed};
use delivery::progress::{Flags, Progress};

/// A message made ready outside the transaction.
pub(super) struct Prepared {
    pub(super) new: NewMessage,
    blind_index: [u8; 32],
    content_index: [u8; 16],
    pub(super) subject_index: Option<[u8; 16]>,
    /// Set when the person was not known while preparing.
    candidate: Option<Candidate>,
    sealed: SealedColumns,
    /// Whether the content was sealed with a key that turned out to be the person's.
    sealed_for: Option<i64>,
}

struct SealedColumns {
    content: Vec<u8>,
    metadata: Option<Vec<u8>>,
    business_key: Option<Vec<u8>>,
}

impl SqliteStore {
    pub(super) async fn accept_batch(
        &self,
        batch: Vec<NewMessage>,
    ) -> Result<Vec<AcceptResult>, StoreError> {
        let prepared = if batch.len() > 4 {
            self.read_long(move |db, shared| {
                batch
                    .into_iter()
                    .map(|new| prepare(db, shared, new))
                    .collect()
            })
            .await?
        } else {
            self.read(|db| {
                batch
                    .into_iter()
                    .map(|new| prepare(db, &self.shared, new))
                    .collect()
            })?
        };
        let prepared: Arc<Vec<Prepared>> = Arc::new(prepared);
        self.writer
            .run(move |context| prepared.iter().map(|item| context.accept(item)).collect())
            .await
    }
}

fn prepare(
    db: &rusqlite::Connection,
    shared: &Shared,
    mut new: NewMessage,
) -> rusqlite::Result<Prepared> {
    new.idempotency = new.idempotency.map(|plain| keyed(shared, &plain));
    let blind_index = person::blind_index(shared, &new.message.to);
    let known = person::find(db, &blind_index)?;
    let (key, candidate, sealed_for) = match &known {
        Some(person) if person.wrapped_key.is_some() => {
            (person.key(shared)?, None, Some(person.id))
        }
        _ => {
            let candidate = Candidate::new(shared, blind_index, &new.message.to);
            (candidate.key.clone(), Some(candidate), None)
        }
    };
    let plain = sealed::encode(&new.message.content);
    let content_index = short(
        shared
            .vault
            .index("content", &[&blind_index[..], &plain].concat()),
    );
    let subject_index = new
        .message
        .business_key
        .as_ref()
        .map(|key| short(shared.vault.index("business_key", key.subject.as_bytes())));
    let sealed = seal_columns(shared, &key, &new, &plain);
    Ok(Prepared {
        new,
        blind_index,
        content_index,
        subject_index,
        candidate,
        sealed,
        sealed_for,
    })
}

fn seal_columns(
    shared: &Shared,
    key: &PersonKey,
    new: &NewMessage,
    content: &[u8],
) -> SealedColumns {
    let seal = |column: &str, plain: &[u8]| {
        shared
            .vault
            .seal(key, &associated_data(column, new.id), plain)
    };
    SealedColumns {
        content: seal("content", content),
        metadata: new
            .message
            .metadata
            .as_ref()
            .map(|data| seal("metadata", data.as_bytes())),
        business_key: new
            .message
            .business_key
            .as_ref()
            .map(|key| seal("business_key", key_text(key).as_bytes())),
    }
}

impl Context<'_> {
    fn accept(&mut self, item: &Prepared) -> rusqlite::Result<AcceptResult> {
        if let Some(idempotency) = &item.new.idempotency
            && let Some(earlier) = replay(self.db, idempotency)?
        {
            return Ok(earlier);
        }
        let (person, is_new) = self.person_of(item)?;
        let Some(sender) = self.choose_sender(&person, is_new, item)? else {
            return Ok(AcceptResult::Refused(AcceptRefusal::UnknownSender));
        };
        if let Some(refusal) = self.refusal(&person, is_new, sender, item)? {
            return Ok(AcceptResult::Refused(refusal));
        }
        let state = self.insert_message(&person, sender, item)?;
        Ok(AcceptResult::Accepted {
            id: item.new.id,
            state,
        })
    }

    /// The person, and whether they are new: then they have no history that could matter.
    fn person_of(&self, item: &Prepared) -> rusqlite::Result<(Person, bool)> {
        let inserted = match &item.candidate {
            Some(candidate) => self.insert_person(candidate)?,
            None => None,
        };
        if let Some(person) = inserted {
            return Ok((person, true));
        }
        let known = person::find(self.db, &item.blind_index)?;
        // Known while preparing and gone now: persons are never removed, only erased.
        known
            .map(|person| (person, false))
            .ok_or(rusqlite::Error::QueryReturnedNoRows)
    }

    /// The sender that the caller names; else the one this person wrote to last, so that an
    /// answer comes from where they wrote; else one that is always the same for this person.
    fn choose_sender(
        &self,
        person: &Person,
        is_new: bool,
        item: &Prepared,
    ) -> rusqlite::Result<Option<i64>> {
        if let Some(name) = &item.new.message.sender {
            return self.sender_key(name);
        }
        if !is_new && let Some(sender) = self.spoken_to(person)? {
            return Ok(Some(sender));
        }
        let senders: Vec<i64> = self
            .db
            .prepare_cached(
                "SELECT id FROM sender WHERE account_id = 1 AND configured ORDER BY id",
            )?
            .query_map([], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        let turn = usize::try_from(person.id).unwrap_or_default();
        Ok(turn
            .checked_rem(senders.len())
            .and_then(|place| senders.get(place).copied()))
    }

    fn spoken_to(&self, person: &Person) -> rusqlite::Result<Option<i64>> {
        self.db
            .prepare_cached(
                "SELECT sender_id FROM conversation JOIN sender ON sender.id = sender_id \
                 WHERE person_id = ?1 AND sender.configured ORDER BY last_inbound_at DESC LIMIT 1",
            )?
            .query_row([person.id], |row| row.get(0))
            .optional()
    }

    pub(super) fn sender_key(&self, name: &SenderName) -> rusqlite::Result<Option<i64>> {
        self.db
            .prepare_cached(
                "SELECT id FROM sender WHERE account_id = 1 AND name = ?1 AND configured",
            )?
            .query_row([name.as_str()], |row| row.get(0))
            .optional()
    }

    fn refusal(
        &mut self,
        person: &Person,
        is_new: bool,
        sender: i64,
        item: &Prepared,
    ) -> rusqlite::Result<Option<AcceptRefusal>> {
        let message = &item.new.message;
        if message.content.needs_window()
            && message.window == WindowChoice::Enforce
            && !window::is_open(self.last_inbound(person.id, sender)?, item.new.now)
        {
            return Ok(Some(AcceptRefusal::WindowClosed));
        }
        if let Some(by) = self.superseded_by(item)? {
            return Ok(Some(AcceptRefusal::Superseded { by }));
        }
        if message.dedupe == DedupeChoice::Refuse
            && !is_new
            && let Some(first) = self.same_content(person, item)?
        {
            return Ok(Some(AcceptRefusal::Duplicate { first }));
        }
        Ok(None)
    }

    pub(super) fn last_inbound(
        &self,
        person: i64,
        sender: i64,
    ) -> rusqlite::Result<Option<Timestamp>> {
        let at: Option<i64> = self
            .db
            .prepare_cached(
                "SELECT last_inbound_at FROM conversation WHERE person_id = ?1 AND sender_id = ?2",
            )?
            .query_row([person, sender], |row| row.get(0))
            .optional()?;
        Ok(at.map(Timestamp::from_micros))
    }

    fn same_content(
        &self,
        person: &Person,
        item: &Prepared,
    ) -> rusqlite::Result<Option<MessageId>> {
        let since = item.new.now.minus(item.new.dedupe_window).micros();
        let mut statement = self.db.prepare_cached(
            "SELECT message.accepted_at, message.content_index, message.public_id, progress.state \
             FROM message JOIN progress ON progress.message_id = message.id \
             WHERE message.person_id = ?1 ORDER BY message.id DESC LIMIT 200",
        )?;
        let mut rows = statement.query([person.id])?;
        while let Some(row) = rows.next()? {
            if row.get::<_, i64>(0)? <= since {
                break;
            }
            let same = row.get_ref(1)?.as_blob()? == item.content_index;
            let state = super::context::stored_at(row, 3, State::from_number)?;
            // What the person did not get does not stand in the way of another try.
            let counts = !matches!(
                state,
                State::Canceled
                    | State::Suppressed
                    | State::Expired
                    | State::Failed
                    | State::Undelivered
            );
            if same && counts {
                return message_id(row.get_ref(2)?.as_blob()?).map(Some);
            }
        }
        Ok(None)
    }

    fn insert_message(
        &mut self,
        person: &Person,
        sender: i64,
        item: &Prepared,
    ) -> rusqlite::Result<State> {
        let new = &item.new;
        let template = self.template(content_sid(&new.message.content).as_deref())?;
        self.insert_row(person, template, item)?;
        let key = self.db.last_insert_rowid();
        let cohort = self.cohort(Cohort {
            hour: new.now.hour(),
            sender,
            kind: new.message.kind,
            template,
            area: new
                .message
                .to
                .area_code()
                .map_or(0, |area| i64::from(area.ddd)),
        })?;
        let send_at = new.message.send_at.map(Timestamp::micros);
        let mut progress = Progress {
            message: key,
            cohort,
            person: person.id,
            sender,
            state: first_state(send_at, new.now.micros()),
            priority: new.message.priority,
            policy: new.message.policy,
            accepted_at: new.now,
            expires_at: new.message.expires_at,
            flags: Flags(if person.has_variant {
                Flags::HAS_VARIANT
            } else {
                0
            }),
            ..Progress::empty()
        };
        let due_at = new.message.send_at.unwrap_or(new.now);
        let opted_out = person.consent == Consent::OptedOut;
        self.apply(&mut progress, TransitionInput::at(new.now), |transition| {
            transition.accepted(due_at, Source::Api);
            if opted_out {
                transition.suppress(Source::Api);
            }
        })?;
        self.supersede(key, item)?;
        if let Some(idempotency) = &new.idempotency {
            self.keep_answer(idempotency, key, progress.state, new.now)?;
        }
        Ok(progress.state)
    }

    fn insert_row(&self, person: &Person, template: i64, item: &Prepared) -> rusqlite::Result<()> {
        let new = &item.new;
        // Somebody else stored the person while this message was made ready: seal again with
        // their key.
        let resealed = match (&item.candidate, item.sealed_for) {
            (_, Some(known)) if known == person.id => None,
            (Some(candidate), None)
                if person.wrapped_key.as_deref() == Some(candidate.wrapped_key.as_slice()) =>
            {
                None
            }
            _ => {
                let content = sealed::encode(&new.message.content);
                let key = person.key(self.shared)?;
                Some(seal_columns(self.shared, &key, new, &content))
            }
        };
        let sealed = resealed.as_ref().unwrap_or(&item.sealed);
        self.db
            .prepare_cached(
                "INSERT INTO message (public_id, person_id, content_index, template_id, kind, \
                 window_check, send_at, accepted_at, sealed_content, sealed_metadata, \
                 sealed_business_key) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            )?
            .execute(params![
                new.id.0.as_bytes(),
                person.id,
                item.content_index,
                template,
                new.message.kind.number(),
                WindowCheck::of(&new.message.content, new.message.window).number(),
                new.message.send_at.map(Timestamp::micros),
                new.now.micros(),
                sealed.content,
                sealed.metadata,
                sealed.business_key,
            ])?;
        Ok(())
    }
}

/// The associated data of a column of a message.
pub(super) fn associated_data(column: &str, id: MessageId) -> Vec<u8> {
    [b"message.", column.as_bytes(), b":", id.0.as_bytes()].concat()
}

/// Reads a public id as stored.
pub(super) fn message_id(raw: &[u8]) -> rusqlite::Result<MessageId> {
    uuid::Uuid::from_slice(raw).map(MessageId).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Blob, Box::new(error))
    })
}

fn content_sid(content: &Content) -> Option<String> {
    match content {
        Content::Template { content_sid, .. } => Some(content_sid.to_string()),
        Content::Text { .. } | Content::Media { .. } => None,
    }
}

fn first_state(send_at: Option<i64>, accepted_at: i64) -> State {
    if send_at.is_some_and(|at| at > accepted_at) {
        State::Scheduled
    } else {
        State::Accepted
    }
}

/// Half of a keyed hash tells apart as many things as a database can hold.
pub(super) fn short(index: [u8; 32]) -> [u8; 16] {
    let mut out = [0u8; 16];
    out.copy_from_slice(index.split_at(16).0);
    out
}
