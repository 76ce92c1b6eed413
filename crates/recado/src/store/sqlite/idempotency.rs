//! Idempotency keys: the same request again gets the answer of the first one.

use delivery::state::State;
use delivery::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::accept::{message_id, short};
use super::context::{Context, stored_at};
use super::{Shared, SqliteStore};
use crate::store::{AcceptRefusal, AcceptResult, Idempotency, StoreError};

impl SqliteStore {
    pub(super) fn earlier_answer(
        &self,
        idempotency: &Idempotency,
    ) -> Result<Option<AcceptResult>, StoreError> {
        let keyed = keyed(&self.shared, idempotency);
        let found = self.read(|db| replay(db, &keyed))?;
        Ok(found.filter(|answer| matches!(answer, AcceptResult::Replayed { .. })))
    }
}

impl Context<'_> {
    /// Keeps the answer to a request.
    pub(super) fn keep_answer(
        &self,
        idempotency: &Idempotency,
        message: i64,
        state: State,
        now: Timestamp,
    ) -> rusqlite::Result<()> {
        self.db
            .prepare_cached(
                "INSERT INTO idempotency (key, body, message_id, state, created_at) \
                 VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![
                idempotency.key,
                idempotency.body,
                message,
                state.number(),
                now.micros()
            ])?;
        Ok(())
    }
}

/// A plain hash of a body could be tried against every telephone number.
pub(super) fn keyed(shared: &Shared, plain: &Idempotency) -> Idempotency {
    Idempotency {
        key: short(shared.vault.index("idempotency_key", &plain.key)),
        body: short(shared.vault.index("idempotency_body", &plain.body)),
    }
}

/// The answer to an earlier request with this key.
pub(super) fn replay(
    db: &Connection,
    idempotency: &Idempotency,
) -> rusqlite::Result<Option<AcceptResult>> {
    let found: Option<(Vec<u8>, Vec<u8>, State)> = db
        .prepare_cached(
            "SELECT idempotency.body, message.public_id, idempotency.state \
             FROM idempotency JOIN message ON message.id = idempotency.message_id \
             WHERE idempotency.key = ?1",
        )?
        .query_row([idempotency.key.as_slice()], |row| {
            Ok((
                row.get(0)?,
                row.get(1)?,
                stored_at(row, 2, State::from_number)?,
            ))
        })
        .optional()?;
    let Some((body, public_id, state)) = found else {
        return Ok(None);
    };
    if body != idempotency.body {
        return Ok(Some(AcceptResult::Refused(AcceptRefusal::KeyReused)));
    }
    Ok(Some(AcceptResult::Replayed {
        id: message_id(&public_id)?,
        state,
    }))
}
