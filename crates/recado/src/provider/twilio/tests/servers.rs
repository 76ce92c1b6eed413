//! Servers that do as told and remember what they received.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use delivery::sid::Sid;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::effects::Effects;
use crate::provider::twilio::{Credentials, Twilio, TwilioSettings};
use crate::secrets::Secret;

pub(super) const ACCOUNT: &str = "AC00000000000000000000000000000001";
pub(super) const STATUS_CALLBACK: &str = "https://gateway.example.com/cb#rc=3";

/// What all connections of one server saw.
#[derive(Default)]
pub(super) struct Log {
    requests: Mutex<Vec<Vec<u8>>>,
    connections: AtomicUsize,
}

pub(super) struct Server {
    pub(super) address: SocketAddr,
    log: Arc<Log>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Hands each connection, with its number from 0, to `serve`.
    pub(super) async fn start<F>(
        serve: impl Fn(usize, TcpStream, Arc<Log>) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let log = Arc::new(Log::default());
        let seen = Arc::clone(&log);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let number = seen.connections.fetch_add(1, Ordering::SeqCst);
                connections.spawn(serve(number, stream, Arc::clone(&seen)));
            }
        });
        Self { address, log, task }
    }

    /// Answers each request on each connection for as long as the client likes. `answer` gets
    /// the number of the request and the request.
    pub(super) async fn answering(
        answer: impl Fn(usize, &[u8]) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        let answer = Arc::new(answer);
        Self::start(move |_, mut stream, log| {
            let answer = Arc::clone(&answer);
            async move {
                while let Some(request) = read_request(&mut stream).await {
                    let bytes = answer(log.requests().len(), &request);
                    log.received(request);
                    if stream.write_all(&bytes).await.is_err() {
                        return;
                    }
                }
            }
        })
        .await
    }

    pub(super) fn twilio(&self) -> Twilio {
        Twilio::new(&settings(self.address), &Effects::real()).unwrap()
    }

    pub(super) fn requests(&self) -> Vec<Vec<u8>> {
        self.log.requests()
    }

    pub(super) fn connections(&self) -> usize {
        self.log.connections.load(Ordering::SeqCst)
    }
}

impl Log {
    pub(super) fn received(&self, request: Vec<u8>) {
        self.requests.lock().unwrap().push(request);
    }

    fn requests(&self) -> Vec<Vec<u8>> {
        self.requests.lock().unwrap().clone()
    }
}

pub(super) fn settings(address: SocketAddr) -> TwilioSettings {
    let token = Credentials::AuthToken(Secret::new("token".into()));
    TwilioSettings {
        status_callback_url: Some(STATUS_CALLBACK.to_owned()),
        ..TwilioSettings::new(format!("http://{address}"), ACCOUNT.into(), token)
    }
}

/// One whole request, head and body; `None` at the end of the connection.
pub(super) async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<Vec<u8>> {
    let mut request = Vec::new();
    loop {
        request.push(stream.read_u8().await.ok()?);
        if request.ends_with(b"\r\n\r\n") {
            break;
        }
    }
    let head = String::from_utf8_lossy(&request);
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).await.ok()?;
    request.extend(body);
    Some(request)
}

pub(super) fn sid(n: u32) -> Sid {
    Sid::parse_message(&format!("SM{n:032x}")).unwrap()
}

/// A message as Twilio shows it, about 800 bytes.
pub(super) fn message_json(n: u32, created: &str) -> String {
    let sid = sid(n);
    format!(
        r#"{{"account_sid":"{ACCOUNT}","api_version":"2010-04-01","body":"Bom dia","date_created":"{created}","date_sent":null,"date_updated":"{created}","direction":"outbound-api","error_code":null,"error_message":null,"from":"whatsapp:+551140000000","messaging_service_sid":null,"num_media":"0","num_segments":"1","price":null,"price_unit":null,"sid":"{sid}","status":"queued","subresource_uris":{{"media":"/2010-04-01/Accounts/{ACCOUNT}/Messages/{sid}/Media.json"}},"to":"whatsapp:+5511900000001","uri":"/2010-04-01/Accounts/{ACCOUNT}/Messages/{sid}.json"}}"#
    )
}

/// A complete HTTP answer with a length.
pub(super) fn http(status: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nTwilio-Request-Id: RQ00000000000000000000000000000001\r\n\r\n{body}"
    )
    .into_bytes()
}

pub(super) fn ok_answer(n: u32) -> Vec<u8> {
    http(
        "201 Created",
        &message_json(n, "Thu, 24 Aug 2023 05:01:45 +0000"),
    )
}
