//! The rows of one transaction, by statements on its connection. Each noun's file implements its
//! group of tables.

use rusqlite::Connection;
use rusqlite::types::Type;

use crate::store::operations::rows::{Broken, Halting};

/// The account whose rows are read and written. There is one for now; every statement that searches
/// binds it, so that a second one needs a field here and no other statement.
pub(super) const ACCOUNT: i64 = 1;

/// Reads and writes rows on a connection.
#[derive(Clone, Copy)]
pub(super) struct Statements<'a> {
    pub(super) db: &'a Connection,
}

impl Halting for Statements<'_> {
    type Error = rusqlite::Error;
}

impl From<Broken> for rusqlite::Error {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Decrypt(error) => {
                Self::FromSqlConversionFailure(0, Type::Blob, Box::new(error))
            }
            Broken::Gone(_) => Self::QueryReturnedNoRows,
        }
    }
}
