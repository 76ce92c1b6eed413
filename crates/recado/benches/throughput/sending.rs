//! Accepting, draining a backlog, the way from our API to the provider's, and memory.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::load;
use super::setup::{
    Folder, Plan, Running, StubProvider, accept_messages, api_key, median, number, open_store,
    resident,
};

pub(super) fn body(n: usize, mark: &str) -> String {
    format!(
        "{{\"to\":\"{}\",\"content_sid\":\"HX0123456789abcdef0123456789abcdef\",\
         \"variables\":{{\"1\":\"Pessoa {n}\",\"2\":\"{mark}\"}}}}",
        number(n)
    )
}

/// Single POSTs and bulk requests. The sender is paused, so that only accepting is measured.
pub(crate) async fn accept(plan: &Plan) {
    for (name, connections, items) in [("single", 128, 1), ("bulk of 1,000", 4, 1_000)] {
        let mut rates = Vec::new();
        let (mut p99, mut cpu) = (Vec::new(), Vec::new());
        for _ in 0..plan.runs {
            let folder = Folder::new();
            let key = {
                let store = open_store(&folder);
                recado::store::Senders::pause_sender(
                    &store,
                    "+551140000000".into(),
                    true,
                    recado::effects::Effects::real().clock.now(),
                )
                .await
                .unwrap();
                api_key(&store).await
            };
            let provider = StubProvider::start().await;
            let server = Running::start(&folder, provider.address).await;
            let bearer = format!("Bearer {key}");
            let headers = [("authorization", bearer.as_str())];
            let total = plan.requests.max(items);
            let requests: Vec<Vec<u8>> = (0..total / items)
                .map(|n| {
                    if items == 1 {
                        let text = body(n, "14:00");
                        let path = "/api/v1/messages";
                        load::post(server.address, path, "application/json", &headers, &text)
                    } else {
                        let list: Vec<_> =
                            (0..items).map(|i| body(n * items + i, "14:00")).collect();
                        let text = format!("{{\"messages\":[{}]}}", list.join(","));
                        let path = "/api/v1/messages/bulk";
                        load::post(server.address, path, "application/json", &headers, &text)
                    }
                })
                .collect();
            let run = load::run(server.address, connections, &requests).await;
            rates.push(run.per_second * items as f64);
            p99.push(run.p99_ms);
            cpu.push(run.cpu_ms / items as f64);
            server.stop().await;
        }
        println!(
            "accept, {name}, {connections} connections: {:.0} messages/s, {:.1} CPU ms per 1,000, p99 {:.1} ms",
            median(rates),
            median(cpu),
            median(p99)
        );
    }
}

/// A backlog that leaves without a limit of ours.
pub(crate) async fn drain(plan: &Plan) {
    let count = (plan.messages / 4).max(200);
    let mut rates = Vec::new();
    for _ in 0..plan.runs {
        let folder = Folder::new();
        {
            let store = open_store(&folder);
            accept_messages(&store, count).await;
        }
        let provider = StubProvider::start().await;
        let start = Instant::now();
        let server = Running::start(&folder, provider.address).await;
        while provider.received.load(Ordering::Relaxed) < count as u64 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        rates.push(count as f64 / start.elapsed().as_secs_f64());
        server.stop().await;
    }
    println!(
        "drain of {count} waiting messages: {:.0}/s (start-up included)",
        median(rates)
    );
}

/// From the first byte of a request at our API to its arrival at the provider, at 200 a second.
pub(crate) async fn latency(plan: &Plan) {
    let count = (plan.requests / 100).clamp(100, 2_000);
    let folder = Folder::new();
    let key = api_key(&open_store(&folder)).await;
    let provider = StubProvider::start().await;
    let server = Running::start(&folder, provider.address).await;
    let mut stream = tokio::net::TcpStream::connect(server.address)
        .await
        .unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut reader, mut writer) = stream.split();
    let bearer = format!("Bearer {key}");
    let mut sent = Vec::with_capacity(count);
    let send = async {
        let mut interval = tokio::time::interval(Duration::from_millis(5));
        for n in 0..count {
            interval.tick().await;
            let text = body(n, &format!("mark{n}"));
            let headers = [("authorization", bearer.as_str())];
            let request = load::post(
                server.address,
                "/api/v1/messages",
                "application/json",
                &headers,
                &text,
            );
            sent.push(u64::try_from(provider.start.elapsed().as_micros()).unwrap());
            tokio::io::AsyncWriteExt::write_all(&mut writer, &request)
                .await
                .unwrap();
        }
        while provider.received.load(Ordering::Relaxed) < count as u64 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let mut sink = vec![0u8; 65_536];
    let read = async {
        while tokio::io::AsyncReadExt::read(&mut reader, &mut sink)
            .await
            .unwrap_or(0)
            > 0
        {}
    };
    tokio::select! { () = send => {}, () = read => panic!("the server closed the connection") }
    let arrivals = provider.arrivals.lock().unwrap().clone();
    let mut times: Vec<f64> = arrivals
        .iter()
        .map(|(n, at)| at.saturating_sub(sent[usize::try_from(*n).unwrap()]) as f64 / 1_000.0)
        .collect();
    times.sort_by(f64::total_cmp);
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
    println!(
        "from our API to the provider's at 200/s: p50 {:.1} ms, p99 {:.1} ms ({count} messages)",
        at(0.50),
        at(0.99)
    );
    server.stop().await;
}

/// Start-up and resident memory: empty, and with a queue.
pub(crate) async fn memory(plan: &Plan) {
    let folder = Folder::new();
    let provider = StubProvider::start().await;
    let start = Instant::now();
    let server = Running::start(&folder, provider.address).await;
    let ready = start.elapsed();
    tokio::time::sleep(Duration::from_millis(300)).await;
    println!(
        "empty: ready after {:.0} ms, {:.0} MB resident",
        ready.as_secs_f64() * 1_000.0,
        resident() as f64 / 1e6
    );
    server.stop().await;
    let count = plan.messages * 5;
    {
        let store = open_store(&folder);
        recado::store::Senders::pause_sender(
            &store,
            "+551140000000".into(),
            true,
            recado::effects::Effects::real().clock.now(),
        )
        .await
        .unwrap();
        accept_messages(&store, count).await;
    }
    let start = Instant::now();
    let server = Running::start(&folder, provider.address).await;
    let ready = start.elapsed();
    tokio::time::sleep(Duration::from_millis(300)).await;
    println!(
        "{count} messages waiting: ready after {:.0} ms, {:.0} MB resident",
        ready.as_secs_f64() * 1_000.0,
        resident() as f64 / 1e6
    );
    server.stop().await;
}
