//! Status callbacks: verified, durable, counted and logged, against the bare server.

use super::bare;
use super::load::{self, Run};
use super::setup::{
    Folder, Plan, Running, StubProvider, accept_messages, median, open_store, send_messages,
};

pub(crate) async fn measure(plan: &Plan) {
    println!(
        "status callbacks, {} messages stored, random order",
        plan.messages
    );
    let bare_address = bare::start().await;
    let stored = Folder::new();
    let sent = {
        let store = open_store(&stored);
        accept_messages(&store, plan.messages).await;
        send_messages(&store).await
    };
    for connections in plan.connections.clone() {
        let mut bare_runs = Vec::new();
        let mut our_runs = Vec::new();
        for run in 0..plan.runs {
            // A fresh database for each run: a callback that was seen before costs less.
            let folder = stored.copy();
            let order = shuffled(&sent, plan.requests, run as u64 + 1);
            let to_bare: Vec<_> = requests(bare_address, &order);
            bare_runs.push(load::run(bare_address, connections, &to_bare).await);
            drop(to_bare);
            let provider = StubProvider::start().await;
            let server = Running::start(&folder, provider.address).await;
            let to_us = requests(server.address, &order);
            our_runs.push(load::run(server.address, connections, &to_us).await);
            server.stop().await;
        }
        print_row(connections, &bare_runs, &our_runs);
    }
}

fn requests(
    address: std::net::SocketAddr,
    order: &[(String, String, &'static str)],
) -> Vec<Vec<u8>> {
    order
        .iter()
        .map(|(c, sid, status)| load::callback(address, Some(c), sid, status))
        .collect()
}

/// Three statuses of each message, in an order that a seed decides.
fn shuffled(
    sent: &[(String, String)],
    count: usize,
    seed: u64,
) -> Vec<(String, String, &'static str)> {
    let mut all: Vec<(usize, &'static str)> = (0..sent.len())
        .flat_map(|n| ["sent", "delivered", "read"].map(|status| (n, status)))
        .collect();
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for at in (1..all.len()).rev() {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        all.swap(at, (random % (at as u64 + 1)) as usize);
    }
    all.truncate(count);
    all.into_iter()
        .map(|(n, status)| (sent[n].0.clone(), sent[n].1.clone(), status))
        .collect()
}

fn print_row(connections: usize, bare: &[Run], ours: &[Run]) {
    let of = |runs: &[Run], part: fn(&Run) -> f64| median(runs.iter().map(part).collect());
    let ratios = ours
        .iter()
        .zip(bare)
        .map(|(a, b)| a.per_second / b.per_second)
        .collect();
    println!(
        "  {connections:>3} connections: bare {:>6.0}/s {:>5.1} CPU ms | ours {:>6.0}/s {:>5.1} CPU ms | \
         ratio {:.2}, CPU {:.1} times, p50 {:.1} ms, p99 {:.1} ms",
        of(bare, |run| run.per_second),
        of(bare, |run| run.cpu_ms),
        of(ours, |run| run.per_second),
        of(ours, |run| run.cpu_ms),
        median(ratios),
        of(ours, |run| run.cpu_ms) / of(bare, |run| run.cpu_ms),
        of(ours, |run| run.p50_ms),
        of(ours, |run| run.p99_ms),
    );
}
