//! Builds the rooms from the settings, runs them, and stops them in order.

mod files;
mod http;
mod machine;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use delivery::address::{Address, Context};
use delivery::message::SenderName;
use delivery::outage::{Outage, Unlisted};
use delivery::progress::Rules;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::api::{self, Api, auth::KeyVerifier};
use crate::callbacks::signature::Verifier;
use crate::callbacks::{self, Callbacks};
use crate::config::Config;
use crate::dispatch::{self, Dispatch};
use crate::effects::Effects;
use crate::maintenance::{self, Maintenance};
use crate::provider::Provider;
use crate::provider::twilio::{Twilio, TwilioSettings, with_overrides};
use crate::reconcile::{ConsentOrder, InboundReader, Reconcile};
use crate::secrets::MasterKeyError;
use crate::store::sqlite::{OpenMode, Options, SqliteStore};
use crate::store::{self, CallbackUrls, Senders, StoreError};

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is no usable master key.
    #[error(transparent)]
    MasterKey(#[from] MasterKeyError),
    /// The database cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {cause}; choose another PORT or BIND_ADDRESS")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        cause: io::Error,
    },
    /// A background task stopped unexpectedly; the log says why.
    #[error("a background task stopped unexpectedly, so the server has stopped; start it again")]
    Broken,
    /// A URL of the configuration cannot be used.
    #[error("{0}")]
    Url(String),
}

/// A server that listens and has not been asked to run.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    /// That may be open at once.
    connections: usize,
    store: Arc<SqliteStore>,
    provider: Arc<dyn Provider>,
    effects: Effects,
    config: Config,
    status_url: String,
    webhook_url: String,
    /// Outages that the dispatcher sees.
    outages: watch::Sender<Vec<Outage>>,
    /// Status URLs of messages that may still be under way.
    earlier_status_urls: Vec<String>,
    /// What the rooms tell each other about inbound messages.
    inbound: InboundChannels,
    /// What was known before this server did anything.
    start: maintenance::Start,
    /// Why the clock is not trusted with removing anything.
    clock_concern: watch::Sender<Option<String>>,
}

/// What the rooms tell each other about inbound messages.
#[derive(Default)]
struct InboundChannels {
    /// A callback about one could not be stored.
    lost: watch::Sender<u64>,
    /// What was written before the start is known.
    caught_up: watch::Sender<bool>,
    /// What is wrong with listing them.
    concern: watch::Sender<Option<Unlisted>>,
}

impl Server {
    /// Opens the database, settles what an earlier server left open, and listens.
    ///
    /// # Errors
    /// [`StartError`] with what is wrong and what to do.
    pub async fn start(config: Config, effects: Effects) -> Result<Self, StartError> {
        let connections = files::connections(config.connections_max);
        let address = SocketAddr::new(config.bind, config.port);
        let listener = TcpListener::bind(address)
            .await
            .map_err(|cause| StartError::Listen { address, cause })?;
        let address = listener
            .local_addr()
            .map_err(|cause| StartError::Listen { address, cause })?;
        let store = Arc::new(open_store(&config, &effects)?);
        let start = maintenance::Start {
            newest_event_at: store::Maintenance::newest_event_at(&*store).await?,
            noted: store::Maintenance::noted_clock(&*store).await?,
            ..maintenance::Start::new(&*effects.clock)
        };
        let left_open = store.recover(effects.clock.now()).await?;
        if left_open > 0 {
            tracing::warn!(
                attempts = left_open,
                "an earlier server ended while requests were open; they will be looked for"
            );
        }
        let local = |path: &str| format!("http://{address}/api/v1/whatsapp/{path}");
        let status_url = config
            .status_callback_url
            .clone()
            .unwrap_or_else(|| local("status"));
        let webhook_url = config
            .webhook_url
            .clone()
            .unwrap_or_else(|| local("webhook"));
        let earlier_status_urls = store
            .use_callback_url(without_query(&status_url), effects.clock.now())
            .await?;
        let provider = twilio(&config, status_url.clone(), &effects);
        let provider = Arc::new(provider.map_err(StartError::Url)?);
        Ok(Self {
            listener,
            address,
            connections,
            store,
            provider,
            effects,
            config,
            status_url,
            webhook_url,
            outages: watch::Sender::new(Vec::new()),
            earlier_status_urls,
            inbound: InboundChannels::default(),
            start,
            clock_concern: watch::Sender::new(None),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Runs every room until `shutdown`, then stops them: the listener first, then the dispatcher
    /// with its drain, then the rest; the database last.
    ///
    /// # Errors
    /// [`StartError`] when the rooms cannot be built, or when one of them stops unexpectedly: the server
    /// then stops as a whole, so that its supervisor starts it again.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), StartError> {
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            database = %self.config.database.path.display(),
            senders = self.config.senders.len(),
            status_callback = %self.status_url,
            webhook = %with_overrides(&self.webhook_url),
            "started; this webhook must be set in Twilio's console as it is written here"
        );
        let router = self.router(&shutdown)?;
        let dispatch = self.dispatch().await?;
        let rooms_stop = CancellationToken::new();
        let mut lanes = JoinSet::new();
        lanes.spawn(dispatch.run(shutdown.clone()));
        let mut rooms = JoinSet::new();
        rooms.spawn(self.reconcile().run(rooms_stop.clone()));
        rooms.spawn(self.inbound_reader().await?.run(rooms_stop.clone()));
        rooms.spawn(self.consent_order().run(rooms_stop.clone()));
        rooms.spawn(
            Maintenance {
                store: self.store.clone(),
                effects: self.effects.clone(),
                start: self.start,
                keep: self.config.keep,
                concern: self.clock_concern.clone(),
            }
            .run(rooms_stop.clone()),
        );
        let drain = self.config.drain;
        let mut broken = false;
        let serving = http::serve(
            self.listener,
            router,
            self.connections,
            drain,
            shutdown.clone(),
        );
        tokio::pin!(serving);
        tokio::select! {
            () = &mut serving => {}
            ended = either(&mut lanes, &mut rooms) => {
                // The lanes end only when they were asked to.
                broken = report(ended) || !shutdown.is_cancelled();
                shutdown.cancel();
                serving.await;
            }
        }
        // The lanes drain on the same signal; the other rooms end when the lanes have.
        while let Some(ended) = lanes.join_next().await {
            broken |= report(ended);
        }
        rooms_stop.cancel();
        while let Some(ended) = rooms.join_next().await {
            broken |= report(ended);
        }
        if broken {
            Err(StartError::Broken)
        } else {
            Ok(())
        }
    }

    fn router(&self, shutdown: &CancellationToken) -> Result<Router, StartError> {
        let notifier = self.store.notifier();
        let api = api::router(Api {
            store: self.store.clone(),
            effects: self.effects.clone(),
            key_verifier: Arc::new(KeyVerifier::new(
                self.store.clone(),
                self.effects.clone(),
                self.config.api_rate,
            )),
            last_event: notifier.last_event.subscribe(),
            closed: notifier.closed.subscribe(),
            outages: self.outages.subscribe(),
            dedupe_window: self.config.dedupe_window,
            codes: Arc::new(self.config.codes.clone()),
            shutdown: shutdown.clone(),
            unlisted: self.inbound.concern.subscribe(),
            clock_concern: self.clock_concern.subscribe(),
        });
        let verifier = |urls: &[&str]| {
            Verifier::new(urls, &self.config.signing_tokens)
                .map(Arc::new)
                .map_err(|_| {
                    StartError::Url(format!(
                        "{} is not a URL whose signature can be verified",
                        urls.join(", ")
                    ))
                })
        };
        let mut status_urls = vec![self.status_url.as_str()];
        status_urls.extend(self.earlier_status_urls.iter().map(String::as_str));
        let callbacks = callbacks::router(Callbacks {
            reports: self.store.clone(),
            inbounds: self.store.clone(),
            queue: self.store.clone(),
            effects: self.effects.clone(),
            status: verifier(&status_urls)?,
            webhook: verifier(&[&self.webhook_url])?,
            senders: Arc::new(self.config.senders.iter().map(canonical_sender).collect()),
            closed: notifier.closed.subscribe(),
            lost: self.inbound.lost.clone(),
        });
        Ok(api
            .merge(callbacks)
            .method_not_allowed_fallback(api::wrong_method))
    }

    async fn dispatch(&self) -> Result<Dispatch, StartError> {
        let stored = self.store.senders().await?;
        let senders = stored
            .into_iter()
            .filter(|sender| sender.configured)
            .map(|sender| {
                let name = SenderName::new(sender.name);
                let rate = self.config.sender_rate.per_second(&name);
                (sender.row, name, rate)
            })
            .collect();
        Ok(Dispatch {
            store: self.store.clone(),
            provider: Arc::clone(&self.provider),
            effects: self.effects.clone(),
            queue: self.store.notifier().queue.subscribe(),
            outages: self.outages.clone(),
            settings: dispatch::Settings {
                senders,
                messaging_service: self.config.messaging_service,
                person_interval: self.config.person_interval,
                clock_scale: self.config.clock_scale,
                drain: self.config.drain,
            },
            caught_up: self.inbound.caught_up.subscribe(),
        })
    }

    async fn inbound_reader(&self) -> Result<InboundReader, StartError> {
        let stored = self.store.senders().await?;
        Ok(InboundReader {
            store: self.store.clone(),
            watches: self.store.clone(),
            provider: Arc::clone(&self.provider),
            effects: self.effects.clone(),
            senders: stored
                .into_iter()
                .filter(|sender| sender.configured)
                .map(|sender| (sender.row, SenderName::new(sender.name)))
                .collect(),
            lost: self.inbound.lost.subscribe(),
            caught_up: self.inbound.caught_up.clone(),
            concern: self.inbound.concern.clone(),
            outages: self.outages.clone(),
            clock_scale: self.config.clock_scale,
        })
    }

    fn consent_order(&self) -> ConsentOrder {
        ConsentOrder {
            store: self.store.clone(),
            provider: Arc::clone(&self.provider),
            effects: self.effects.clone(),
            checks: self.store.notifier().consent_checks.subscribe(),
            clock_scale: self.config.clock_scale,
        }
    }

    fn reconcile(&self) -> Reconcile {
        Reconcile {
            store: self.store.clone(),
            provider: Arc::clone(&self.provider),
            effects: self.effects.clone(),
            watches: self.store.notifier().watches.subscribe(),
            clock_scale: self.config.clock_scale,
        }
    }
}

/// The first task of two groups that ends.
async fn either(lanes: &mut JoinSet<()>, rooms: &mut JoinSet<()>) -> Result<(), JoinError> {
    let ended = tokio::select! {
        ended = lanes.join_next() => ended,
        ended = rooms.join_next() => ended,
    };
    ended.unwrap_or(Ok(()))
}

/// Whether a task ended by a panic; it goes to the log.
fn report(ended: Result<(), JoinError>) -> bool {
    match ended {
        Ok(()) => false,
        Err(error) => {
            tracing::error!(%error, "a background task stopped unexpectedly");
            true
        }
    }
}

fn open_store(config: &Config, effects: &Effects) -> Result<SqliteStore, StartError> {
    let store = SqliteStore::open(Options {
        path: config.database.path.clone(),
        mode: OpenMode::Server,
        master_key: config.database.master_key(&*effects.random)?,
        random: Arc::clone(&effects.random),
        rules: Rules {
            codes: config.codes.clone(),
            clock_scale: config.clock_scale,
            ..Rules::default()
        },
        senders: config.senders.clone(),
        provider_account: Some(config.account_sid.clone()),
        machine: machine::id(),
        now: effects.clock.now(),
    })?;
    Ok(store)
}

fn twilio(config: &Config, status_url: String, effects: &Effects) -> Result<Twilio, String> {
    let settings = TwilioSettings {
        status_callback_url: Some(status_url),
        // The dispatcher decides how many requests are open; this only bounds it.
        connections_max: 1_024,
        ..TwilioSettings::new(
            config.api_base_url.clone(),
            config.account_sid.clone(),
            config.credentials.clone(),
        )
    };
    Twilio::new(&settings, effects).map_err(|error| error.to_string())
}

fn canonical_sender(name: &SenderName) -> (String, SenderName) {
    let canonical = Address::parse(name.as_str(), Context::Inbound).map_or_else(
        |_| name.as_str().to_owned(),
        |parsed| parsed.address.canonical().to_owned(),
    );
    (canonical, name.clone())
}

/// What of a URL signatures are compared with and what is kept of it: a query may hold a secret.
fn without_query(url: &str) -> String {
    url.split(['?', '#']).next().unwrap_or_default().to_owned()
}
