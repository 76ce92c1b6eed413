//! The database itself, opened beside a server that may run on it.

use std::sync::Arc;

use super::exit::Failure;
use crate::config::{DatabaseConfig, Environment, ProcessEnvironment};
use crate::effects::Effects;
use crate::store::sqlite::{Options, SqliteStore};

/// Opens the database that the settings name. One that is not there is not created: it
/// would only hide that the settings name another one than the server's.
pub(super) fn open_database(effects: &Effects) -> Result<SqliteStore, Failure> {
    let database = DatabaseConfig::read(&ProcessEnvironment).map_err(Failure::Usage)?;
    if !database.path.exists() {
        return Err(Failure::Other(anyhow::anyhow!(
            "there is no database at {}; check DATABASE_URL",
            database.path.display()
        )));
    }
    open_database_of(&ProcessEnvironment, effects)
}

/// Opens the database that an environment names; one that is not there is created.
pub(super) fn open_database_of(
    environment: &dyn Environment,
    effects: &Effects,
) -> Result<SqliteStore, Failure> {
    let database = DatabaseConfig::read(environment).map_err(Failure::Usage)?;
    let master_key = database.master_key(&*effects.random)?;
    let random = Arc::clone(&effects.random);
    let now = effects.clock.now();
    let store = SqliteStore::open(Options::tool(database.path, master_key, random, now))?;
    Ok(store)
}
