//! How values are read from columns, and lists of numbers written into statements.

use delivery::time::Timestamp;
use rusqlite::Row;
use rusqlite::types::Type;

use crate::store::MessageId;

/// Reads a column that holds the number of a value.
pub(super) fn stored_at<T>(
    row: &Row<'_>,
    column: usize,
    from_number: impl FnOnce(i64) -> Option<T>,
) -> rusqlite::Result<T> {
    let number: i64 = row.get(column)?;
    from_number(number).ok_or(rusqlite::Error::IntegralValueOutOfRange(column, number))
}

/// Reads such a column when it may be empty.
pub(super) fn stored_or_null<T>(
    row: &Row<'_>,
    column: usize,
    from_number: impl FnOnce(i64) -> Option<T>,
) -> rusqlite::Result<Option<T>> {
    match row.get::<_, Option<i64>>(column)? {
        None => Ok(None),
        Some(number) => from_number(number)
            .map(Some)
            .ok_or(rusqlite::Error::IntegralValueOutOfRange(column, number)),
    }
}

/// Reads a time that may be empty.
pub(super) fn time_or_null(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    let micros: Option<i64> = row.get(column)?;
    Ok(micros.map(Timestamp::from_micros))
}

/// Reads a public id as stored.
pub(super) fn message_id(raw: &[u8]) -> rusqlite::Result<MessageId> {
    uuid::Uuid::from_slice(raw)
        .map(MessageId)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, Type::Blob, Box::new(error)))
}

/// A limit as SQLite takes it.
pub(super) fn limit(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}
