//! A customer of Twilio: a plain HTTP client with its own simulator.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Method, Request};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use simulator::{Phone, PhoneBehavior, Settings, Simulator, TruthMessage};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Our sender in every test.
pub(crate) const SENDER: &str = "whatsapp:+551140000000";

/// A person who reads at once.
pub(crate) const PERSON: &str = "whatsapp:+5511900000001";

/// How long a test waits for anything before it fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A simulator and a client of it.
pub(crate) struct Caller {
    pub(crate) sim: Simulator,
    pub(crate) login: (String, String),
    http: Client<HttpConnector, Full<Bytes>>,
}

/// What the simulator answered.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

/// What a raw connection saw of a response.
pub(crate) struct Seen {
    /// Everything that arrived, head and body.
    pub(crate) text: String,
    /// Whether the connection was reset rather than closed.
    pub(crate) reset: bool,
}

/// Settings for tests: a thousand times faster than in reality, and free-form text always allowed.
pub(crate) fn fast() -> Settings {
    Settings {
        time_scale: 1_000.0,
        window_enforced: false,
        phones: vec![phone(PERSON, PhoneBehavior::ReadsAtOnce)],
        ..Settings::default()
    }
}

pub(crate) fn phone(address: &str, character: PhoneBehavior) -> Phone {
    Phone {
        number: address.trim_start_matches("whatsapp:").to_owned(),
        character,
    }
}

impl Caller {
    pub(crate) async fn start(settings: Settings) -> Self {
        let sim = Simulator::start(settings).await.unwrap();
        Self {
            login: (sim.account_sid().to_owned(), sim.auth_token().to_owned()),
            http: Client::builder(TokioExecutor::new()).build_http(),
            sim,
        }
    }

    /// Where the simulator listens.
    pub(crate) fn address(&self) -> String {
        self.sim.url().replace("http://", "")
    }

    /// The path of the account's messages; `rest` follows `Messages`.
    pub(crate) fn messages(&self, rest: &str) -> String {
        let account = self.sim.account_sid();
        format!("/2010-04-01/Accounts/{account}/Messages{rest}")
    }

    pub(crate) async fn create(&self, form: &[(&str, &str)]) -> Answer {
        let path = self.messages(".json");
        self.send(Method::POST, &path, &encoded(form)).await
    }

    /// Sends a text to this address, optionally with a callback URL.
    pub(crate) async fn text(&self, to: &str, callback: Option<&str>) -> Answer {
        let mut form = vec![("To", to), ("From", SENDER), ("Body", "Ola")];
        form.extend(callback.map(|url| ("StatusCallback", url)));
        self.create(&form).await
    }

    pub(crate) async fn fetch(&self, sid: &str) -> Answer {
        self.get(&self.messages(&format!("/{sid}.json"))).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, "").await
    }

    /// Sends a form with the credentials.
    pub(crate) async fn send(&self, method: Method, path: &str, body: &str) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.sim.url()))
            .header("authorization", self.authorization())
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Full::new(Bytes::from(body.to_owned())))
            .unwrap();
        self.exchange(request).await
    }

    /// Sends JSON to one of the simulator's own routes, without credentials.
    pub(crate) async fn control(&self, method: Method, path: &str, body: &Value) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}/simulator/{path}", self.sim.url()))
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body.to_string())))
            .unwrap();
        self.exchange(request).await
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Answer {
        let response = tokio::time::timeout(DEADLINE, self.http.request(request))
            .await
            .expect("the simulator answers")
            .unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            text: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    fn authorization(&self) -> String {
        let (user, password) = &self.login;
        format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
    }

    /// Creates over a raw connection and reads to its end.
    pub(crate) async fn create_bare(&self, form: &[(&str, &str)]) -> Seen {
        let mut stream = self.send_bare(form).await;
        let mut bytes = Vec::with_capacity(1_024);
        let ended = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut bytes)).await;
        Seen {
            reset: ended.expect("the connection ends").is_err(),
            text: String::from_utf8(bytes).unwrap(),
        }
    }

    /// Sends this over a raw connection and reads to its end; says whether it was reset.
    pub(crate) async fn raw(&self, stream: &mut TcpStream, text: &str) -> (String, bool) {
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut bytes = Vec::with_capacity(1_024);
        let ended = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut bytes)).await;
        let reset = ended.expect("the connection ends").is_err();
        (String::from_utf8(bytes).unwrap(), reset)
    }

    /// Asks for a create over a raw connection.
    pub(crate) async fn send_bare(&self, form: &[(&str, &str)]) -> TcpStream {
        let body = encoded(form);
        let head = format!(
            "POST {} HTTP/1.1\r\nhost: x\r\nauthorization: {}\r\ncontent-length: {}\r\n\
             connection: close\r\ncontent-type: application/x-www-form-urlencoded\r\n\r\n",
            self.messages(".json"),
            self.authorization(),
            body.len()
        );
        let mut stream = TcpStream::connect(self.address()).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body.as_bytes()).await.unwrap();
        stream
    }

    /// Waits until nothing is pending; returns the truth log.
    pub(crate) async fn quiet(&self) -> Vec<TruthMessage> {
        tokio::time::timeout(DEADLINE, self.sim.quiet())
            .await
            .expect("everything happens in time");
        self.sim.truth()
    }
}

/// Whether neither a response nor an end has come on a connection so far.
pub(crate) fn unanswered(connection: &TcpStream) -> bool {
    let read = connection.try_read(&mut [0]);
    read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {}", self.text))
    }

    /// A text field of the object in the response.
    pub(crate) fn field(&self, name: &str) -> String {
        let json = self.json();
        json[name]
            .as_str()
            .unwrap_or_else(|| panic!("no {name}: {json}"))
            .to_owned()
    }

    pub(crate) fn sid(&self) -> String {
        assert_eq!(self.status, 201, "{}", self.text);
        self.field("sid")
    }

    /// Status and Twilio's code, for comparison in one line.
    pub(crate) fn refusal(&self) -> (u16, u64) {
        let code = self.json()["code"].as_u64();
        (
            self.status,
            code.unwrap_or_else(|| panic!("no code: {}", self.text)),
        )
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// A form, encoded.
pub(crate) fn encoded(form: &[(&str, &str)]) -> String {
    let part = |text| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let pairs: Vec<String> = form
        .iter()
        .map(|(name, value)| format!("{}={}", part(name), part(value)))
        .collect();
    pairs.join("&")
}

/// The names of a message's statuses, in order.
pub(crate) fn words(message: &TruthMessage) -> Vec<&str> {
    message.statuses.iter().map(|s| s.status.as_str()).collect()
}
