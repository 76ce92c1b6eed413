//! Everything random comes from the seed: faults have their shares, and are the same in any order.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use simulator::{CreateFault, Faults, Settings, Share, Simulator, TruthMessage};

use crate::caller::{Caller, SENDER, encoded, fast, words};
use crate::receiver::Receiver;

const ADDRESSES: usize = 1_000;

fn share(share: f64, fault: CreateFault) -> Share {
    Share { share, fault }
}

fn faults() -> Faults {
    Faults {
        create: vec![
            share(0.10, CreateFault::TooMany { retry_after: None }),
            share(0.05, CreateFault::ErrorAfter { status: 502 }),
            share(0.20, CreateFault::ResetAfter { after_bytes: None }),
            share(0.02, CreateFault::ResetBefore),
        ],
        ..Faults::default()
    }
}

fn address(number: usize) -> String {
    format!("whatsapp:+55119{number:08}")
}

/// A create on a new connection: its status, or `broken`.
async fn outcome(sim: &Simulator, to: &str) -> String {
    use base64::Engine;
    let login = format!("{}:{}", sim.account_sid(), sim.auth_token());
    let login = base64::engine::general_purpose::STANDARD.encode(login);
    let url = format!(
        "{}/2010-04-01/Accounts/{}/Messages.json",
        sim.url(),
        sim.account_sid()
    );
    let body = encoded(&[("To", to), ("From", SENDER), ("Body", "Ola")]);
    let request = hyper::Request::post(url)
        .header("authorization", format!("Basic {login}"))
        .body(http_body_util::Full::new(Bytes::from(body)))
        .unwrap();
    // One connection each, so that the reset of another request is not mistaken for this one's.
    let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
        .retry_canceled_requests(false)
        .pool_max_idle_per_host(0)
        .build_http();
    match client.request(request).await {
        Ok(response) => response.status().as_u16().to_string(),
        Err(_) => "broken".to_owned(),
    }
}

/// The results of two creates for each address: as the client saw them, and the truth.
async fn run(seed: u64, order: &[usize], at_once: usize) -> (Vec<String>, Vec<String>) {
    let settings = Settings {
        seed,
        faults: faults(),
        ..fast()
    };
    let sim = Simulator::start(settings).await.unwrap();
    let sent = stream::iter(order).map(|number| {
        let sim = &sim;
        async move {
            let to = address(*number);
            let first = outcome(sim, &to).await;
            let second = outcome(sim, &to).await;
            format!("{to} {first} {second}")
        }
    });
    let mut seen: Vec<String> = sent.buffer_unordered(at_once).collect().await;
    seen.sort();
    tokio::time::timeout(crate::caller::DEADLINE, sim.quiet())
        .await
        .unwrap();
    let mut truth: Vec<String> = sim
        .truth()
        .iter()
        .map(|m| format!("{} {} {} {:?}", m.to, m.sid, m.answered, words(m)))
        .collect();
    truth.sort();
    sim.stop().await;
    (seen, truth)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_creates_meet_the_same_faults_in_every_order_of_one_seed() {
    let forward: Vec<usize> = (0..ADDRESSES).collect();
    let mut mixed: Vec<usize> = (0..ADDRESSES).rev().step_by(2).collect();
    mixed.extend((0..ADDRESSES).step_by(2));
    let one = run(7, &forward, 1).await;
    let same = run(7, &mixed, 32).await;
    assert_eq!(one.0.len(), ADDRESSES);
    assert_eq!(first_difference(&one.0, &same.0), None);
    assert_eq!(first_difference(&one.1, &same.1), None);
    let other = run(8, &forward, 32).await;
    assert!(
        one.0 != other.0 && one.1 != other.1,
        "another seed draws other faults"
    );
    for (seen, truth) in [&one, &other] {
        shares_are_right(seen, truth);
    }
}

fn first_difference<'a>(one: &'a [String], other: &'a [String]) -> Option<(&'a str, &'a str)> {
    assert_eq!(one.len(), other.len());
    let mut pairs = one.iter().zip(other);
    pairs
        .find(|(one, other)| one != other)
        .map(|(one, other)| (one.as_str(), other.as_str()))
}

/// Each share within four standard deviations, which holds for practically every seed.
fn shares_are_right(seen: &[String], truth: &[String]) {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for line in seen {
        for outcome in line.split(' ').skip(1) {
            *counts.entry(outcome).or_default() += 1;
        }
    }
    let reset = truth.iter().filter(|line| line.contains(" reset ")).count();
    let broken_before = counts["broken"] - reset;
    let cases = [
        ("429", 0.10, counts["429"]),
        ("502", 0.05, counts["502"]),
        ("reset after", 0.20, reset),
        ("reset before", 0.02, broken_before),
        ("201", 0.63, counts["201"]),
    ];
    let total = 2.0 * 1_000.0;
    for (what, share, count) in cases {
        let spread: f64 = total * share * (1.0 - share);
        let off = f64::from(u32::try_from(count).unwrap()) - total * share;
        assert!(off.abs() <= 4.0 * spread.sqrt(), "{what}: {count} of 2,000");
    }
    assert_eq!(truth.len(), counts["201"] + counts["502"] + reset);
    assert_eq!(counts.values().sum::<usize>(), 2 * ADDRESSES);
}

/// The faults of a message's callbacks depend on the message alone too.
async fn callback_faults(seed: u64, order: &[usize]) -> Vec<String> {
    let receiver = Receiver::start().await;
    let faults = Faults {
        callback_lost: 0.3,
        callback_doubled: 0.3,
        callback_forged: 0.2,
        ..Faults::default()
    };
    let caller = Caller::start(Settings {
        seed,
        faults,
        ..fast()
    })
    .await;
    let url = receiver.url("/status");
    for number in order {
        caller.text(&address(*number), Some(&url)).await.sid();
    }
    let one = |m: &TruthMessage| {
        let faults: Vec<_> = m
            .statuses
            .iter()
            .map(|s| (s.callback.lost, s.callback.tries))
            .collect();
        format!("{} {} {:?} {faults:?}", m.to, m.sid, words(m))
    };
    let mut told: Vec<String> = caller.quiet().await.iter().map(one).collect();
    told.sort();
    let calls = receiver.calls();
    let forged = calls
        .iter()
        .filter(|call| !call.is_signed_with(caller.sim.auth_token()));
    told.push(format!("{} calls, {} forged", calls.len(), forged.count()));
    told
}

#[tokio::test]
async fn callbacks_meet_the_same_faults_in_every_order_of_one_seed() {
    let forward: Vec<usize> = (0..120).collect();
    let backward: Vec<usize> = (0..120).rev().collect();
    let one = callback_faults(3, &forward).await;
    assert_eq!(one, callback_faults(3, &backward).await);
    assert_ne!(one, callback_faults(4, &forward).await);
}
