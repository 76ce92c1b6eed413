//! What an engine must offer so that the cases can run over it, and the engines there are.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use delivery::message::SenderName;
use delivery::progress::Rules;
use delivery::time::Timestamp;
use recado::effects::Random;
use recado::secrets::MasterKey;
use recado::store::sqlite::{OpenMode, Options, SqliteStore};
use recado::store::{Store, StoreError};

/// How a server opens the database.
pub(crate) struct Setup {
    /// The key that wraps all others.
    pub(crate) master_key: MasterKey,
    /// The configured senders.
    pub(crate) senders: Vec<SenderName>,
    /// Where keys and nonces come from.
    pub(crate) random: Arc<dyn Random>,
    /// Now.
    pub(crate) now: Timestamp,
}

/// A store as a server has it after its start.
pub(crate) struct Opened {
    /// The store, seen through the traits alone.
    pub(crate) store: Arc<dyn Store>,
    /// Attempts that an earlier server left open; they are unknown now.
    pub(crate) left_open: usize,
}

pub(crate) type Opening<'a> = Pin<Box<dyn Future<Output = Result<Opened, StoreError>> + Send + 'a>>;

/// An empty database, which can be opened again and again.
pub(crate) trait Engine: Send + Sync {
    /// Opens the database as a server does at its start.
    fn open(&self, setup: Setup) -> Opening<'_>;
}

/// SQLite in a folder that goes with the test.
pub(crate) struct Sqlite(tempfile::TempDir);

/// The same, with every batch run on a sheet of rows in memory: loaded from SQLite, run again when
/// something is missing, and written back.
pub(crate) struct Sheet(Sqlite);

impl Sheet {
    pub(crate) fn fresh() -> Self {
        Self(Sqlite::fresh())
    }

    /// Where its file is.
    pub(crate) fn folder(&self) -> &Path {
        self.0.folder()
    }
}

impl Engine for Sheet {
    fn open(&self, setup: Setup) -> Opening<'_> {
        Box::pin(async move {
            let (now, store) = (setup.now, self.0.store(setup)?);
            store.run_on_sheet(None);
            let left_open = store.recover(now).await?;
            Ok(Opened {
                store: Arc::new(store),
                left_open,
            })
        })
    }
}

impl Sqlite {
    pub(crate) fn fresh() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn store(&self, setup: Setup) -> Result<SqliteStore, StoreError> {
        SqliteStore::open(Options {
            path: self.0.path().join("recado.db"),
            mode: OpenMode::Server,
            master_key: setup.master_key,
            random: setup.random,
            rules: rules(),
            senders: setup.senders,
            provider_account: None,
            machine: None,
            now: setup.now,
        })
    }

    pub(crate) fn folder(&self) -> &Path {
        self.0.path()
    }
}

impl Engine for Sqlite {
    fn open(&self, setup: Setup) -> Opening<'_> {
        Box::pin(async move {
            let (now, store) = (setup.now, self.store(setup)?);
            let left_open = store.recover(now).await?;
            Ok(Opened {
                store: Arc::new(store),
                left_open,
            })
        })
    }
}

/// The rules of a server with nothing overridden and real waits.
pub(crate) fn rules() -> Rules {
    Rules::default()
}

/// A key that no database but a test's has.
pub(crate) fn master_key() -> MasterKey {
    MasterKey::parse("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f")
        .ok()
        .unwrap()
}
