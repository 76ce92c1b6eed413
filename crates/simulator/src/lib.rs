//! A local Twilio simulator: the Messages resource over real HTTP, signed callbacks, phones that
//! behave differently, injected faults, and a log of the truth.
//!
//! It shares no code with the program under test, so its log of what it accepted and delivered is
//! evidence. Everything random comes from one seed, the address of the message, and the number of
//! earlier creates to that address: the same requests meet the same faults in any order.
//!
//! Besides Twilio's paths under `/2010-04-01` it has its own routes, which need no credentials:
//!
//! | request | what it does |
//! |---|---|
//! | `GET /simulator/truth?cursor=&limit=` | every accepted message with its statuses, in order |
//! | `GET /simulator/state` | counts |
//! | `PUT /simulator/phones` | a list of `{number, character}` |
//! | `PUT /simulator/users` | a list of [`User`] values: people with user ids |
//! | `PUT /simulator/faults` | a [`Faults`] value |
//! | `PUT /simulator/outages` | a list of [`Outage`] values |
//! | `PUT /simulator/rules` | a list of [`Rule`] values |
//! | `PUT /simulator/clock` | `{offset_ms}`: how far Twilio's clock is ahead |
//! | `POST /simulator/script` | a fault for the next creates: `{to?, times?, fault}` |
//! | `PUT /simulator/webhook` | `{inbound_url}`: where inbound messages go |
//! | `POST /simulator/inbound` | a person writes: `{from, to?, body?, …}`; returns the status of the webhook's response |
//! | `GET /simulator/inbound?cursor=&limit=` | every inbound message, with each request to the webhook |
//! | `PUT /simulator/templates/{HX…}` | `{body}` with `{{1}}`: makes a template known, so that it is rendered |
//! | `POST /simulator/reset` | forgets all messages and goes back to the settings, except for the webhook |

mod address;
mod answer;
mod callback;
mod control;
mod create;
mod create_params;
mod dates;
mod during;
mod faults;
mod form;
mod inbound;
mod inbound_record;
mod list;
mod net;
mod outages;
mod phone;
mod resource;
mod rng;
mod rules;
mod schedule;
mod settings;
mod state;
mod trouble;
mod truth;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use faults::{Bodies, CreateFault, Faults, Share};
pub use inbound::InboundResult;
pub use inbound_record::Inbound;
pub use outages::{Affected, Outage};
pub use phone::{Phone, PhoneBehavior, User};
pub use rules::Rule;
pub use settings::Settings;
pub use truth::{TruthCallback, TruthInbound, TruthMessage, TruthStatus, TruthTry, TruthWebhook};

use faults::Script;
use state::State;

/// A running simulator.
pub struct Simulator {
    address: SocketAddr,
    state: Arc<State>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Simulator {
    /// Starts listening and delivering.
    ///
    /// # Errors
    /// When it cannot listen on the address.
    pub async fn start(settings: Settings) -> std::io::Result<Self> {
        let listener = TcpListener::bind(settings.listen).await?;
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let state = Arc::new(State::new(settings, tasks.clone()));
        tasks.spawn(schedule::run(Arc::clone(&state), stop.clone()));
        let router =
            resource::router(Arc::clone(&state)).merge(control::router(Arc::clone(&state)));
        let serving = net::serve(listener, router, Arc::clone(&state), stop.clone());
        tasks.spawn(serving);
        Ok(Self {
            address,
            state,
            stop,
            tasks,
        })
    }

    /// `http://ADDRESS:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The account.
    pub fn account_sid(&self) -> &str {
        &self.state.settings.account_sid
    }

    /// The auth token.
    pub fn auth_token(&self) -> &str {
        &self.state.settings.auth_token
    }

    /// Everything accepted so far, in order.
    pub fn truth(&self) -> Vec<TruthMessage> {
        self.state.truth(0, usize::MAX)
    }

    /// Every inbound message so far, in order.
    pub fn truth_of_inbound(&self) -> Vec<TruthInbound> {
        self.state.truth_of_inbound(0, usize::MAX)
    }

    /// Replaces the faults.
    pub fn set_faults(&self, faults: Faults) {
        self.state.inner().faults = faults;
    }

    /// A fault for the next creates to this address, so many times; after those that were set
    /// before.
    pub fn script(&self, to: &str, times: u32, fault: CreateFault) {
        let to = Some(to.to_owned());
        let script = Script { to, times, fault };
        self.state.inner().scripts.push_back(script);
    }

    /// Replaces the outages; an empty list ends them.
    ///
    /// # Panics
    /// When one of them cannot be, for example one without a fault.
    pub fn set_outages(&self, outages: Vec<Outage>) {
        let problem = outages.iter().find_map(Outage::problem);
        assert!(problem.is_none(), "{}", problem.unwrap_or_default());
        self.state.set_outages(outages);
    }

    /// Replaces the rules.
    ///
    /// # Panics
    /// When one of them says nothing.
    pub fn set_rules(&self, rules: Vec<Rule>) {
        let problem = rules.iter().find_map(Rule::problem);
        assert!(problem.is_none(), "{}", problem.unwrap_or_default());
        self.state.inner().set_rules(rules);
    }

    /// Sets how far Twilio's clock is ahead of ours, in milliseconds; negative when it is behind.
    /// Only what Twilio shows follows it, not the truth log.
    pub fn set_clock_offset(&self, millis: i64) {
        self.state.set_clock_offset(millis);
    }

    /// How many creates came so far with valid parameters, whatever became of them. A refused
    /// connection is none.
    pub fn creates(&self) -> u64 {
        self.state.inner().creates
    }

    /// Sets how phones behave.
    pub fn set_phones(&self, phones: Vec<Phone>) {
        self.state.inner().set_phones(phones);
    }

    /// Sets which people have user ids.
    pub fn set_users(&self, users: Vec<User>) {
        self.state.inner().users = users;
    }

    /// Makes a template known: `{{1}}` and so on are replaced with values.
    pub fn set_template(&self, content_sid: &str, body: &str) {
        self.state
            .inner()
            .templates
            .insert(content_sid.to_owned(), body.to_owned());
    }

    /// Sets where inbound messages go.
    pub fn set_inbound_url(&self, url: String) {
        self.state.inner().inbound_url = Some(url);
    }

    /// A person writes; returns how the webhook responded.
    pub async fn inbound(&self, inbound: Inbound) -> InboundResult {
        inbound::deliver(&self.state, inbound).await
    }

    /// How many statuses, callbacks and answers of people are scheduled or under way.
    pub fn pending(&self) -> usize {
        self.state.pending()
    }

    /// Waits until nothing is pending.
    pub async fn quiet(&self) {
        loop {
            // Subscribes before it checks, so that a change in between is not missed.
            let changed = self.state.changed.notified();
            if self.pending() == 0 {
                return;
            }
            changed.await;
        }
    }

    /// Stops every task; what is pending does not happen.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}
