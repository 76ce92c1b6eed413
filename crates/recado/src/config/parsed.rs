//! The settings as types that cannot be wrong.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use delivery::codes::Codes;
use delivery::message::SenderName;
use delivery::sid::Sid;

use crate::secrets::{MasterKey, Secret};

/// Twilio's sandbox number, which all accounts share.
pub(super) const SANDBOX: &str = "+14155238886";

/// Development is forgiving, production refuses what is unsafe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A key is created beside the database, plain http is allowed.
    Development,
    /// Nothing unsafe starts.
    Production,
}

/// Where the master key comes from.
pub enum KeySource {
    /// It was given.
    Given(MasterKey),
    /// It is in a file beside the database, created at the first start; development only.
    BesideDatabase,
}

/// Which secret sends.
#[derive(Clone)]
pub enum Credentials {
    /// Account SID and auth token.
    AuthToken(Secret),
    /// An API key of the account.
    ApiKey {
        /// `SK…`
        sid: String,
        /// Its secret.
        secret: Secret,
    },
}

/// The database and its key: all that offline commands need.
pub struct DatabaseConfig {
    /// The file.
    pub path: PathBuf,
    /// The key.
    pub key: KeySource,
}

/// Every setting of the server.
pub struct Config {
    /// How strict to be.
    pub mode: Mode,
    /// The database and its key.
    pub database: DatabaseConfig,
    /// Address to listen on.
    pub bind: IpAddr,
    /// Port to listen on; 0 picks a free one.
    pub port: u16,
    /// `AC…`
    pub account_sid: String,
    /// Which secret sends.
    pub credentials: Credentials,
    /// Tokens that may sign callbacks: the primary one, and the secondary during rotation.
    pub signing_tokens: Vec<Secret>,
    /// Our senders: one lane each.
    pub senders: Vec<SenderName>,
    /// A Messaging Service whose features apply to the senders.
    pub messaging_service: Option<Sid>,
    /// Where Twilio's API is.
    pub api_base_url: String,
    /// Our inbound webhook as Twilio knows it.
    pub webhook_url: Option<String>,
    /// Our status callback as Twilio knows it.
    pub status_callback_url: Option<String>,
    /// Messages per second and sender; `None` for no limit. `Default` is 80, and 1 in 3 seconds
    /// for the sandbox.
    pub sender_rate: SenderRate,
    /// Seconds between messages to one person after a burst.
    pub person_interval: Duration,
    /// Waits of retry and reconcile are divided by this.
    pub clock_scale: u32,
    /// Requests per second of one API key; 0 for no limit.
    pub api_rate: u32,
    /// Within how long the same content to the same person is refused.
    pub dedupe_window: Duration,
    /// For how long messages to which nothing happens any more are kept; `None` for ever.
    pub keep: Option<Duration>,
    /// How long open attempts may take to finish at shutdown.
    pub drain: Duration,
    /// Connections that may be open at once.
    pub connections_max: u32,
    /// Error codes with the operator's overrides.
    pub codes: Codes,
}

/// Messages per second and sender.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SenderRate {
    /// 80 per second (Twilio's default for WhatsApp senders), and for the sandbox 1 in 3 seconds.
    Default,
    /// No limit of ours.
    Unlimited,
    /// This many per second.
    PerSecond(f64),
}

impl SenderRate {
    /// Messages per second for a sender; `None` for no limit.
    pub fn per_second(self, sender: &SenderName) -> Option<f64> {
        match self {
            Self::Default if sender.as_str() == SANDBOX => Some(1.0 / 3.0),
            Self::Default => Some(80.0),
            Self::Unlimited => None,
            Self::PerSecond(rate) => Some(rate),
        }
    }
}
