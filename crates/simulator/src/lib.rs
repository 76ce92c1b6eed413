//! A local Twilio simulator: the Messages resource over real HTTP, signed callbacks, phones that
//! behave differently, injected faults, and a log of the truth.
//!
//! It shares no code with the program that it judges: what it says that it accepted and delivered
//! is evidence. Everything random comes from one seed and the number of the message, so that the
//! same requests in the same order give the same faults.
//!
//! Beside Twilio's paths under `/2010-04-01` it has doors of its own, without credentials:
//!
//! | request | what it does |
//! |---|---|
//! | `GET /simulator/truth?cursor=&limit=` | every accepted message with its statuses, in order |
//! | `GET /simulator/state` | counts |
//! | `PUT /simulator/phones` | a list of `{number, character}` |
//! | `PUT /simulator/faults` | a [`Faults`] value |
//! | `POST /simulator/script` | what the next creates shall meet: `{to?, times?, fault}` |
//! | `PUT /simulator/webhook` | `{inbound_url}`: where inbound messages go |
//! | `POST /simulator/inbound` | a person writes: `{from, to?, body?, …}`; answers what the webhook answered |
//! | `PUT /simulator/templates/{HX…}` | `{body}` with `{{1}}`: known templates are rendered |
//! | `POST /simulator/reset` | goes back to the settings, with no message; the webhook stays |

mod answer;
mod callback;
mod control;
mod create;
mod create_params;
mod faults;
mod form;
mod inbound;
mod list;
mod net;
mod phone;
mod resource;
mod rng;
mod schedule;
mod settings;
mod state;
mod truth;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use faults::{CreateFault, Faults, Share};
pub use inbound::{Inbound, InboundResult};
pub use phone::{Phone, PhoneBehavior};
pub use settings::Settings;
pub use truth::{TruthCallback, TruthMessage, TruthStatus};

use state::State;

/// A running simulator.
pub struct Simulator {
    address: SocketAddr,
    state: Arc<State>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Simulator {
    /// Starts to listen and to deliver.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn start(settings: Settings) -> std::io::Result<Self> {
        let listener = TcpListener::bind(settings.listen).await?;
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let state = Arc::new(State::new(settings, tasks.clone()));
        tasks.spawn(schedule::run(Arc::clone(&state), stop.clone()));
        let router =
            resource::router(Arc::clone(&state)).merge(control::router(Arc::clone(&state)));
        tasks.spawn(net::serve(listener, router, stop.clone(), tasks.clone()));
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

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
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

    /// Changes what goes wrong.
    pub fn set_faults(&self, faults: Faults) {
        self.state.inner().faults = faults;
    }

    /// Sets how phones behave.
    pub fn set_phones(&self, phones: Vec<Phone>) {
        self.state.inner().set_phones(phones);
    }

    /// Makes a template known: `{{1}}` and so on are replaced by its values.
    pub fn set_template(&self, content_sid: &str, body: &str) {
        self.state
            .inner()
            .templates
            .insert(content_sid.to_owned(), body.to_owned());
    }

    /// Says where inbound messages go.
    pub fn set_inbound_url(&self, url: String) {
        self.state.inner().inbound_url = Some(url);
    }

    /// A person writes; comes back with what the webhook answered.
    pub async fn inbound(&self, inbound: Inbound) -> InboundResult {
        inbound::deliver(&self.state, inbound).await
    }

    /// Statuses and callbacks that are still to come.
    pub fn pending(&self) -> usize {
        self.state.pending()
    }

    /// Waits until nothing is to come any more.
    pub async fn quiet(&self) {
        loop {
            // Listens before it looks, so that nothing which comes in between is missed.
            let changed = self.state.changed.notified();
            if self.pending() == 0 {
                return;
            }
            changed.await;
        }
    }

    /// Ends every task; what was to come does not come.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}
