//! The server and the simulator of the demo, in one process, on free ports.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use serde_json::json;
use simulator::{CreateFault, Faults, Phone, PhoneBehavior, Settings, Share, Simulator};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::super::client;
use super::super::database::open_database_of;
use super::super::exit::Failure;
use super::super::sheet::{self, Defaults, Verdict};
use crate::api::auth::create_key;
use crate::config::{Config, Environment};
use crate::effects::Effects;
use crate::server::{Server, StartError};
use crate::store::sqlite::SqliteStore;
use crate::store::{ApiKeys, Health, KeyScope};

/// The notices; the same file lies in `examples/`.
pub(super) const NOTICES: &str = include_str!("../../../../../examples/interview_notices.csv");
/// Our sender.
const SENDER: &str = "+551140000000";
/// How much faster than real ones the phones react.
const PHONES_SCALE: f64 = 8.0;
/// How much shorter the server waits before it asks again.
const WAITS_SCALE: u32 = 300;
/// When the server first asks about a message nobody reports about: 15 minutes, scaled, with
/// time for the answer.
pub(super) const SILENT_POLL: Duration = Duration::from_millis(900_000 / 300 + 500);

/// What the notices say; `{{1}}` is the application, `{{2}}` the job, `{{3}}` day, `{{4}}` time.
const TEMPLATES: [&str; 5] = [
    "Sua entrevista para {{2}} está marcada para {{3}} às {{4}}. Candidatura {{1}}.",
    "Sua entrevista para {{2}} mudou para {{3}} às {{4}}. Candidatura {{1}}.",
    "Sua entrevista para {{2}} de {{3}} às {{4}} foi cancelada. Candidatura {{1}}.",
    "Lembrete: entrevista para {{2}} em {{3}} às {{4}}. Candidatura {{1}}.",
    "Confirme sua entrevista para {{2}} em {{3}} às {{4}}. Candidatura {{1}}.",
];

/// The person who answers SAIR, an applicant in eight selections at once.
const OPTS_OUT: &str = "+5585988887777";

/// The SID of a template, as the sheet names it.
pub(super) fn template_sid(number: usize) -> String {
    format!("HX{number:032x}")
}

/// Server and simulator.
pub(super) struct Setup {
    pub(super) simulator: Simulator,
    folder: tempfile::TempDir,
    environment: Variables,
    url: String,
    key: String,
    stop: CancellationToken,
    running: JoinHandle<Result<(), StartError>>,
}

impl Setup {
    pub(super) async fn start(seed: u64) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("recado-demo-").tempdir()?;
        let simulator = Simulator::start(settings(seed)).await?;
        for (place, text) in TEMPLATES.iter().enumerate() {
            simulator.set_template(&template_sid(place + 1), text);
        }
        let database = folder.path().join("recado.db");
        let environment = Variables::of(&simulator, &format!("sqlite:{}", database.display()));
        let config = Config::read(&environment).map_err(Failure::Usage)?;
        let server = Server::start(config, Effects::real()).await?;
        let url = format!("http://{}", server.address());
        simulator.set_inbound_url(format!("{url}/api/v1/whatsapp/webhook"));
        let stop = CancellationToken::new();
        let running = tokio::spawn(server.run(stop.clone()));
        let (store, effects) = open(&environment)?;
        let now = effects.clock.now();
        let (key, text) = create_key(&*effects.random, "demo", KeyScope::Admin, now);
        store.create_key(key).await?;
        Ok(Self {
            simulator,
            folder,
            environment,
            url,
            key: text,
            stop,
            running,
        })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn key(&self) -> &str {
        &self.key
    }

    pub(super) fn folder(&self) -> String {
        self.folder.path().display().to_string()
    }

    /// Where the server is, for the caller of its API.
    pub(super) fn server(&self) -> client::Server {
        client::Server {
            url: self.url.clone(),
            api_key: Some(self.key.clone()),
        }
    }

    /// What a recount of the log finds different.
    pub(super) async fn differences(&self) -> Result<Vec<String>, Failure> {
        let (store, _) = open(&self.environment)?;
        Ok(store.verify().await?.differences)
    }

    pub(super) async fn stop(self) {
        self.stop.cancel();
        // The report is written; how the server ends does not change it.
        drop(self.running.await);
        self.simulator.stop().await;
    }
}

fn open(environment: &Variables) -> Result<(SqliteStore, Effects), Failure> {
    let effects = Effects::real();
    let store = open_database_of(environment, &effects)?;
    Ok((store, effects))
}

fn settings(seed: u64) -> Settings {
    let share = |share, fault| Share { share, fault };
    Settings {
        senders: vec![SENDER.to_owned()],
        seed,
        time_scale: PHONES_SCALE,
        faults: Faults {
            latency_ms: (15.0, 60.0),
            create: vec![
                share(0.01, CreateFault::ResetAfter { after_bytes: None }),
                share(
                    0.02,
                    CreateFault::TooMany {
                        retry_after: Some("1".to_owned()),
                    },
                ),
                share(0.01, CreateFault::TooMany { retry_after: None }),
            ],
            callback_lost: 0.02,
            callback_reordered: 0.05,
            ..Faults::default()
        },
        phones: phones(),
        ..Settings::default()
    }
}

/// Some of the sheet's phones; all others receive, and read sooner or later or never.
fn phones() -> Vec<Phone> {
    let phone = |number: &str, character| Phone {
        number: number.to_owned(),
        character,
    };
    let mut phones = vec![phone(OPTS_OUT, PhoneBehavior::Answers("SAIR".to_owned()))];
    let known = sheet::read_text(NOTICES, &Defaults::default());
    let rows = known.unwrap_or_default();
    let numbers = rows.iter().filter_map(|row| match &row.verdict {
        Verdict::Good { address, .. } => Some(address.canonical().to_owned()),
        Verdict::Repeated { .. } | Verdict::Bad { .. } => None,
    });
    for (place, number) in numbers.filter(|number| number != OPTS_OUT).enumerate() {
        let behavior = match place % 100 {
            7 => PhoneBehavior::NotOnWhatsapp,
            21 | 63 => PhoneBehavior::OnlyWithoutNinthDigit,
            35 => PhoneBehavior::Off,
            49 => PhoneBehavior::LimitedOnce,
            77 => PhoneBehavior::Blocked,
            _ => continue,
        };
        phones.push(phone(&number, behavior));
    }
    phones
}

/// The settings of the server, as if they stood in its environment.
struct Variables(HashMap<&'static str, String>);

impl Variables {
    fn of(simulator: &Simulator, database: &str) -> Self {
        let values = [
            ("DATABASE_URL", database.to_owned()),
            ("PORT", "0".to_owned()),
            ("TWILIO_API_BASE_URL", simulator.url()),
            ("TWILIO_ACCOUNT_SID", simulator.account_sid().to_owned()),
            ("TWILIO_AUTH_TOKEN", simulator.auth_token().to_owned()),
            ("TWILIO_WHATSAPP_FROM", SENDER.to_owned()),
            ("RECADO_CLOCK_SCALE", WAITS_SCALE.to_string()),
        ];
        Self(values.into_iter().collect())
    }
}

impl Environment for Variables {
    fn variable(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }

    fn file(&self, path: &str) -> io::Result<String> {
        Err(io::Error::new(
            io::ErrorKind::NotFound,
            json!(path).to_string(),
        ))
    }
}
