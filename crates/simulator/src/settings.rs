//! How to run a simulator.

use std::net::SocketAddr;

use crate::faults::Faults;
use crate::phone::Phone;

/// How to run a simulator.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Address to listen on; port 0 picks a free one.
    pub listen: SocketAddr,
    /// The account: `AC` and 32 hexadecimal digits.
    pub account_sid: String,
    /// The auth token: it gives access to the API and signs callbacks.
    pub auth_token: String,
    /// API keys that give access to the API as well: SID and secret.
    pub api_keys: Vec<(String, String)>,
    /// Our WhatsApp senders in E.164; when empty, every number is one.
    pub senders: Vec<String>,
    /// Our Messaging Services (`MG…`); when empty, every one is known.
    pub messaging_services: Vec<String>,
    /// Where inbound messages go.
    pub inbound_url: Option<String>,
    /// The seed of everything random.
    pub seed: u64,
    /// Speeds up deliveries and callbacks by this factor.
    pub time_scale: f64,
    /// Whether free-form text outside 24 hours after the person's last message fails (63016).
    pub window_enforced: bool,
    /// The faults to inject.
    pub faults: Faults,
    /// Phones whose behavior is known; that of all others is drawn.
    pub phones: Vec<Phone>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            account_sid: "AC00000000000000000000000000000001".to_owned(),
            auth_token: "0123456789abcdef0123456789abcdef".to_owned(),
            api_keys: Vec::new(),
            senders: Vec::new(),
            messaging_services: Vec::new(),
            inbound_url: None,
            seed: 1,
            time_scale: 1.0,
            window_enforced: true,
            faults: Faults::default(),
            phones: Vec::new(),
        }
    }
}
