//! The load, in a process of its own: keep-alive connections that each send the next request when
//! the last was answered. Requests are made before the clock starts.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use base64::Engine;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::setup::TOKEN;

/// What a run of the load found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// CPU of the server, in milliseconds for 1,000 requests.
    pub(crate) cpu_ms: f64,
}

/// Sends prepared requests from another process, and measures this one meanwhile.
pub(crate) async fn run(address: SocketAddr, connections: usize, requests: &[Vec<u8>]) -> Run {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    for request in requests {
        file.write_all(&u32::try_from(request.len()).unwrap().to_le_bytes())
            .unwrap();
        file.write_all(request).unwrap();
    }
    file.flush().unwrap();
    let path = file.path().to_owned();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["load", &address.to_string(), &connections.to_string()])
        .arg(&path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut child = child;
    let mut ready = [0u8; 1];
    let mut stdout = child.stdout.take().unwrap();
    std::io::Read::read_exact(&mut stdout, &mut ready).unwrap();
    let before = super::setup::cpu();
    child.stdin.take().unwrap().write_all(b"go").unwrap();
    let text = tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        std::io::Read::read_to_string(&mut stdout, &mut text).unwrap();
        text
    })
    .await
    .unwrap();
    let cpu = super::setup::cpu() - before;
    assert!(child.wait().unwrap().success(), "the load failed: {text}");
    let numbers: Vec<f64> = text
        .split_whitespace()
        .map(|word| word.parse().unwrap())
        .collect();
    let cpu_ms = cpu.as_secs_f64() * 1_000.0 / (requests.len() as f64 / 1_000.0);
    Run {
        per_second: numbers[0],
        p50_ms: numbers[1],
        p99_ms: numbers[2],
        cpu_ms,
    }
}

/// The other process.
pub(crate) fn main(arguments: &[String]) {
    let address: SocketAddr = arguments[0].parse().unwrap();
    let connections: usize = arguments[1].parse().unwrap();
    let raw = std::fs::read(&arguments[2]).unwrap();
    let mut requests = Vec::new();
    let mut rest = &raw[..];
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let (request, after) = after.split_at(u32::from_le_bytes(*length) as usize);
        requests.push(request.to_vec());
        rest = after;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(send(address, connections, Arc::new(requests)));
}

async fn send(address: SocketAddr, connections: usize, requests: Arc<Vec<Vec<u8>>>) {
    let mut streams = Vec::new();
    for _ in 0..connections {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        streams.push(stream);
    }
    println!("r");
    let mut go = [0u8; 2];
    std::io::Read::read_exact(&mut std::io::stdin(), &mut go).unwrap();
    let next = Arc::new(AtomicUsize::new(0));
    let start = Instant::now();
    let mut tasks = Vec::new();
    for stream in streams {
        tasks.push(tokio::spawn(connection(
            stream,
            Arc::clone(&requests),
            Arc::clone(&next),
        )));
    }
    let mut times = Vec::with_capacity(requests.len());
    for task in tasks {
        times.extend(task.await.unwrap());
    }
    let seconds = start.elapsed().as_secs_f64();
    times.sort_unstable();
    let at = |part: f64| f64::from(times[((times.len() - 1) as f64 * part) as usize]) / 1_000.0;
    println!("{} {} {}", times.len() as f64 / seconds, at(0.50), at(0.99));
}

async fn connection(
    mut stream: TcpStream,
    requests: Arc<Vec<Vec<u8>>>,
    next: Arc<AtomicUsize>,
) -> Vec<u32> {
    let mut times = Vec::new();
    let mut buffer = vec![0u8; 1 << 20];
    loop {
        let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) else {
            return times;
        };
        let start = Instant::now();
        stream.write_all(request).await.unwrap();
        let mut filled = 0;
        loop {
            let read = stream.read(&mut buffer[filled..]).await.unwrap();
            assert!(read > 0, "the server closed the connection");
            filled += read;
            if complete(&buffer[..filled]) {
                break;
            }
        }
        assert!(
            buffer.starts_with(b"HTTP/1.1 20"),
            "{}",
            String::from_utf8_lossy(&buffer[..filled])
        );
        times.push(u32::try_from(start.elapsed().as_micros()).unwrap());
    }
}

fn complete(answer: &[u8]) -> bool {
    let Some(head) = memchr::memmem::find(answer, b"\r\n\r\n") else {
        return false;
    };
    let head = head + 4;
    let text = &answer[..head];
    let Some(at) = memchr::memmem::find(text, b"content-length: ") else {
        return true;
    };
    let digits = text[at + 16..].iter().take_while(|b| b.is_ascii_digit());
    let length = digits.fold(0usize, |n, digit| n * 10 + usize::from(digit - b'0'));
    answer.len() >= head + length
}

/// A signed status callback as Twilio sends it, with our correlation id or without.
pub(crate) fn callback(
    address: SocketAddr,
    correlation: Option<&str>,
    sid: &str,
    status: &str,
) -> Vec<u8> {
    let path = match correlation {
        Some(correlation) => format!("/api/v1/whatsapp/status?c={correlation}"),
        None => "/api/v1/whatsapp/status".to_owned(),
    };
    let fields = BTreeMap::from([
        ("AccountSid", "AC00000000000000000000000000000001"),
        ("ApiVersion", "2010-04-01"),
        ("ChannelInstallSid", "XE00000000000000000000000000000001"),
        ("ChannelPrefix", "whatsapp"),
        ("ChannelToAddress", "+5585988887777"),
        ("EventType", "DELIVERED"),
        ("From", "whatsapp:+551140000000"),
        ("MessageSid", sid),
        ("MessageStatus", status),
        ("SmsSid", sid),
        ("SmsStatus", status),
        ("To", "whatsapp:+5585988887777"),
    ]);
    let mut mac = Hmac::<Sha1>::new_from_slice(TOKEN.as_bytes()).unwrap();
    mac.update(format!("http://{address}{path}").as_bytes());
    let mut body = String::new();
    for (name, value) in &fields {
        mac.update(name.as_bytes());
        mac.update(value.as_bytes());
        let value = value.replace(':', "%3A").replace('+', "%2B");
        body.push_str(&format!(
            "{}{name}={value}",
            if body.is_empty() { "" } else { "&" }
        ));
    }
    let signature = base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes());
    post(
        address,
        &path,
        "application/x-www-form-urlencoded",
        &[("x-twilio-signature", &signature)],
        &body,
    )
}

/// One GET as bytes.
pub(crate) fn get(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut text = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    text.into_bytes()
}

/// One POST as bytes.
pub(crate) fn post(
    address: SocketAddr,
    path: &str,
    content_type: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Vec<u8> {
    let mut text = format!(
        "POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    text.push_str(body);
    text.into_bytes()
}
