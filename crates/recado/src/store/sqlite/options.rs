//! How a database is opened.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use delivery::message::SenderName;
use delivery::progress::Rules;
use delivery::time::Timestamp;

use crate::effects::Random;
use crate::secrets::MasterKey;

/// How long a statement waits for a lock of another process.
pub(super) const BUSY_WAIT: Duration = Duration::from_secs(5);

/// Who opens the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// The one server: takes the lock, and closes what an earlier server left open.
    Server,
    /// A command-line tool, which may work beside a server.
    Tool,
}

/// How to open the database.
pub struct Options {
    /// The file; its folder must exist.
    pub path: PathBuf,
    /// Who opens it.
    pub mode: OpenMode,
    /// The key that wraps all others.
    pub master_key: MasterKey,
    /// Where nonces and keys come from.
    pub random: Arc<dyn Random>,
    /// What transactions decide by.
    pub rules: Rules,
    /// The configured senders; tools leave the ones that are stored.
    pub senders: Vec<SenderName>,
    /// The account at the provider, as it is called there; tools do not say.
    pub provider_account: Option<String>,
    /// Who this machine is, when it tells.
    pub machine: Option<String>,
    /// Now.
    pub now: Timestamp,
}

impl Options {
    /// How a command-line tool opens the database: it decides nothing, and leaves the senders.
    pub fn tool(
        path: PathBuf,
        master_key: MasterKey,
        random: Arc<dyn Random>,
        now: Timestamp,
    ) -> Self {
        Self {
            path,
            mode: OpenMode::Tool,
            master_key,
            random,
            rules: Rules::default(),
            senders: Vec::new(),
            provider_account: None,
            machine: None,
            now,
        }
    }
}
