//! Business keys: the newest notice about a subject takes the place of an unsent older one, and a
//! late older one is refused.

use delivery::event::Source;
use delivery::message::BusinessKey;
use rusqlite::{OptionalExtension, params};

use super::accept::{Prepared, message_id};
use super::context::{Context, TransitionInput};
use crate::store::MessageId;

impl Context<'_> {
    pub(super) fn superseded_by(&self, item: &Prepared) -> rusqlite::Result<Option<MessageId>> {
        let (Some(subject), Some(key)) = (&item.subject_index, &item.new.message.business_key)
        else {
            return Ok(None);
        };
        let newest: Option<(Option<i64>, Vec<u8>)> = self
            .db
            .prepare_cached(
                "SELECT business_key.version, message.public_id FROM business_key \
                 JOIN message ON message.id = business_key.message_id WHERE subject_index = ?1",
            )?
            .query_row([subject.as_slice()], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        match (newest, key.version) {
            (Some((Some(newest), id)), Some(version)) if version_number(version) <= newest => {
                message_id(&id).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// The newest message about a subject takes the place of an unsent older one.
    pub(super) fn supersede(&mut self, key: i64, item: &Prepared) -> rusqlite::Result<()> {
        let (Some(subject), Some(business_key)) =
            (&item.subject_index, &item.new.message.business_key)
        else {
            return Ok(());
        };
        let older: Option<i64> = self
            .db
            .prepare_cached("SELECT message_id FROM business_key WHERE subject_index = ?1")?
            .query_row([subject.as_slice()], |row| row.get(0))
            .optional()?;
        self.db
            .prepare_cached(
                "INSERT OR REPLACE INTO business_key (subject_index, version, message_id) \
                 VALUES (?1, ?2, ?3)",
            )?
            .execute(params![
                subject,
                business_key.version.map(version_number),
                key
            ])?;
        let Some(older) = older else { return Ok(()) };
        if let Some(mut progress) = self.progress(older)? {
            self.apply(
                &mut progress,
                TransitionInput::at(item.new.now),
                |transition| {
                    transition.supersede(Source::Api);
                },
            )?;
        }
        Ok(())
    }
}

/// The business key as its caller wrote it.
pub(super) fn key_text(key: &BusinessKey) -> String {
    match key.version {
        Some(version) => format!("{}:v{version}", key.subject),
        None => key.subject.clone(),
    }
}

fn version_number(version: u64) -> i64 {
    i64::try_from(version).unwrap_or(i64::MAX)
}
