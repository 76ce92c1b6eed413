//! Messages: the tables `message` and `progress`, and the verbs about them.

use std::sync::LazyLock;

use delivery::progress::Progress;
use delivery::row::{IdentityRow, MessageRow, PersonRow};
use delivery::state::State;
use delivery::time::Timestamp;
use delivery::window::WindowCheck;
use rusqlite::{Connection, OptionalExtension, params};

use super::column::{limit, message_id, stored_at, time_or_null};
use super::statements::{ACCOUNT, Statements};
use super::{SqliteStore, message_list, message_view, progress};
use crate::store::operations::columns::{MessageColumns, SealedContent};
use crate::store::operations::message::{Accept, Command, replay};
use crate::store::operations::prepare::{Prepared, keyed};
use crate::store::operations::rows::MessageRows;
use crate::store::{
    AcceptResult, CommandCondition, CommandResult, Idempotency, MessageCommand, MessageFilter,
    MessageId, MessagePage, MessageView, Messages, NewMessage, SelectionPage, StoreFuture,
};

/// The condition of the index `progress_stoppable`, word by word as in the schema: without it SQLite
/// would not use the index. A test compares both.
pub(super) const STOPPABLE_CONDITION: &str = "state <= 4 AND state <> 2 AND state <> 3";
/// Batches larger than this are made ready beside the runtime.
const PREPARED_INLINE_MAX: usize = 4;
/// Messages of a person among which the same content is looked for.
const SAME_CONTENT_MAX: i64 = 200;

impl Messages for SqliteStore {
    fn accept(&self, batch: Vec<NewMessage>) -> StoreFuture<'_, Vec<AcceptResult>> {
        Box::pin(async move {
            let prepared = if batch.len() > PREPARED_INLINE_MAX {
                self.read_long(&self.readers.work, move |db, shared| {
                    let mut rows = Statements { db };
                    batch
                        .into_iter()
                        .map(|new| Prepared::new(&mut rows, shared, new))
                        .collect()
                })
                .await?
            } else {
                self.read(|db| {
                    let mut rows = Statements { db };
                    batch
                        .into_iter()
                        .map(|new| Prepared::new(&mut rows, &self.shared, new))
                        .collect()
                })
                .await?
            };
            self.writer.run(Accept(prepared)).await
        })
    }

    fn replay(&self, idempotency: Idempotency) -> StoreFuture<'_, Option<AcceptResult>> {
        Box::pin(async move {
            let keyed = keyed(&self.shared, &idempotency);
            let found = self
                .read(|db| replay(&mut Statements { db }, &keyed))
                .await?;
            Ok(found.filter(|answer| matches!(answer, AcceptResult::Replayed { .. })))
        })
    }

    fn command(
        &self,
        batch: Vec<(MessageId, MessageCommand)>,
        now: Timestamp,
    ) -> StoreFuture<'_, Vec<CommandResult>> {
        Box::pin(self.writer.run(Command {
            batch,
            condition: None,
            now,
        }))
    }

    fn command_if(
        &self,
        messages: Vec<MessageId>,
        command: MessageCommand,
        condition: CommandCondition,
        now: Timestamp,
    ) -> StoreFuture<'_, Vec<CommandResult>> {
        Box::pin(self.writer.run(Command {
            batch: messages.into_iter().map(|id| (id, command)).collect(),
            condition: Some(condition),
            now,
        }))
    }

    fn message(&self, id: MessageId) -> StoreFuture<'_, Option<MessageView>> {
        Box::pin(async move {
            self.read(|db| message_view::view(db, &self.shared, id))
                .await
        })
    }

    fn messages(&self, filter: MessageFilter) -> StoreFuture<'_, MessagePage> {
        Box::pin(self.read_long(&self.readers.lists, move |db, shared| {
            message_list::page(db, shared, &filter)
        }))
    }

    fn selection(&self, filter: MessageFilter) -> StoreFuture<'_, SelectionPage> {
        Box::pin(self.read_long(&self.readers.lists, move |db, shared| {
            message_list::selection(db, shared, &filter)
        }))
    }
}

impl MessageRows for Statements<'_> {
    fn progress(&mut self, message: MessageRow) -> rusqlite::Result<Option<Progress>> {
        progress::find(self.db, message)
    }

    fn insert_progress(&mut self, progress: &Progress) -> rusqlite::Result<()> {
        progress::insert(self.db, progress)
    }

    fn update_progress(&mut self, progress: &Progress) -> rusqlite::Result<()> {
        progress::update(self.db, progress)
    }

    fn message_of(&mut self, id: MessageId) -> rusqlite::Result<Option<MessageRow>> {
        self.db
            .prepare_cached("SELECT id FROM message WHERE account_id = ?1 AND public_id = ?2")?
            .query_row(params![ACCOUNT, id.0.as_bytes()], |row| {
                row.get(0).map(MessageRow)
            })
            .optional()
    }

    fn send_at(&mut self, message: MessageRow) -> rusqlite::Result<Option<Timestamp>> {
        self.db
            .prepare_cached("SELECT send_at FROM message WHERE id = ?1")?
            .query_row([message.0], |row| time_or_null(row, 0))
    }

    fn window_check(&mut self, message: MessageRow) -> rusqlite::Result<WindowCheck> {
        self.db
            .prepare_cached("SELECT window_check FROM message WHERE id = ?1")?
            .query_row([message.0], |row| {
                stored_at(row, 0, WindowCheck::from_number)
            })
    }

    fn sealed_content(&mut self, message: MessageRow) -> rusqlite::Result<SealedContent> {
        self.db
            .prepare_cached(
                "SELECT public_id, identity_id, sealed_content FROM message WHERE id = ?1",
            )?
            .query_row([message.0], |row| {
                Ok(SealedContent {
                    id: message_id(row.get_ref(0)?.as_blob()?)?,
                    identity: IdentityRow(row.get(1)?),
                    sealed: row.get(2)?,
                })
            })
    }

    fn recipient(&mut self, message: MessageRow) -> rusqlite::Result<IdentityRow> {
        self.db
            .prepare_cached("SELECT identity_id FROM message WHERE id = ?1")?
            .query_row([message.0], |row| row.get(0).map(IdentityRow))
    }

    fn give_messages(&mut self, from: PersonRow, to: PersonRow) -> rusqlite::Result<()> {
        progress::give(self.db, from, to)?;
        self.db
            .prepare_cached(
                "UPDATE message SET person_id = ?3 WHERE account_id = ?1 AND person_id = ?2",
            )?
            .execute([ACCOUNT, from.0, to.0])?;
        Ok(())
    }

    fn insert_message(&mut self, message: &MessageColumns<'_>) -> rusqlite::Result<MessageRow> {
        self.db
            .prepare_cached(
                "INSERT INTO message (account_id, public_id, person_id, identity_id, content_index, template_id, kind, \
                 window_check, send_at, accepted_at, sealed_content, sealed_metadata, \
                 sealed_business_key) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
            )?
            .execute(params![
                ACCOUNT,
                message.id.0.as_bytes(),
                message.person.0,
                message.identity.0,
                message.content_index,
                message.template,
                message.kind.number(),
                message.window_check.number(),
                message.send_at.map(Timestamp::micros),
                message.accepted_at.micros(),
                message.sealed.content,
                message.sealed.metadata,
                message.sealed.business_key,
            ])?;
        Ok(MessageRow(self.db.last_insert_rowid()))
    }

    fn stoppable_messages(&mut self, person: PersonRow) -> rusqlite::Result<Vec<MessageRow>> {
        static SQL: LazyLock<String> = LazyLock::new(|| {
            format!(
                "SELECT message_id FROM progress WHERE account_id = ?1 AND person_id = ?2 \
                 AND {STOPPABLE_CONDITION} ORDER BY message_id"
            )
        });
        self.db
            .prepare_cached(&SQL)?
            .query_map([ACCOUNT, person.0], |row| row.get(0).map(MessageRow))?
            .collect()
    }

    fn same_content(
        &mut self,
        person: PersonRow,
        content_indexes: &[[u8; 16]],
        since: Timestamp,
        counts: fn(State) -> bool,
    ) -> rusqlite::Result<Option<MessageId>> {
        let mut statement = self.db.prepare_cached(
            "SELECT message.accepted_at, message.content_index, message.public_id, progress.state \
             FROM message JOIN progress ON progress.message_id = message.id \
             WHERE message.account_id = ?1 AND message.person_id = ?2 \
             ORDER BY message.id DESC LIMIT ?3",
        )?;
        let mut rows = statement.query([ACCOUNT, person.0, SAME_CONTENT_MAX])?;
        while let Some(row) = rows.next()? {
            if row.get::<_, i64>(0)? <= since.micros() {
                break;
            }
            let stored = row.get_ref(1)?.as_blob()?;
            let same = content_indexes.iter().any(|index| index == stored);
            if same && counts(stored_at(row, 3, State::from_number)?) {
                return message_id(row.get_ref(2)?.as_blob()?).map(Some);
            }
        }
        Ok(None)
    }

    fn overdue_messages(
        &mut self,
        now: Timestamp,
        rows: usize,
    ) -> rusqlite::Result<Vec<MessageRow>> {
        self.db
            .prepare_cached(
                "SELECT message_id FROM progress WHERE account_id = ?1 AND due_at IS NOT NULL \
                 AND expires_at IS NOT NULL AND expires_at <= ?2 LIMIT ?3",
            )?
            .query_map([ACCOUNT, now.micros(), limit(rows)], |row| {
                row.get(0).map(MessageRow)
            })?
            .collect()
    }
}

/// Removes a message.
pub(super) fn remove(db: &Connection, message: MessageRow) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM message WHERE id = ?1")?
        .execute([message.0])?;
    Ok(())
}
