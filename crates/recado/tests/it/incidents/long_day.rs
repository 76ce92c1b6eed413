//! A day on which everything goes wrong at random: outages, resets, lost reports, crashes, restarts,
//! a clock that jumps by an hour, and a full disk. At its end everybody has got each message once,
//! nothing is in doubt, the recount agrees, and the process is as small as it was.
//!
//! It lasts `RECADO_SOAK_SECONDS`, 60 by default; `RECADO_SOAK_SEED` repeats one.

mod site;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use simulator::{Affected, Bodies, CreateFault, Faults, Inbound, Outage, Share};

use self::site::{Site, WRITERS, write};
use crate::rng::Rng;
use crate::server::mobile;

const HOUR: Duration = Duration::from_secs(3_600);
/// Those who leave, each once; nobody else writes to them.
const LEAVERS_FROM: usize = 5_000_000;

/// Handles that a server without callers may have more at the end than at the start.
const HANDLES_MORE_MAX: usize = 48;
/// What one process may hold at most, in KiB.
const MEMORY_KIB_MAX: u64 = 400 * 1_024;

fn setting(name: &str, fallback: u64) -> u64 {
    let value = std::env::var(name).ok();
    value.and_then(|n| n.parse().ok()).unwrap_or(fallback)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_of_every_trouble_loses_and_doubles_nothing() {
    let seed = setting("RECADO_SOAK_SEED", u64::from(std::process::id()));
    eprintln!("RECADO_SOAK_SEED={seed}");
    let rng = Rng::new(seed);
    let mut site = Site::start(seed).await;
    let handles = site.handles();
    let over = Arc::new(AtomicBool::new(false));
    let accepted = Arc::new(AtomicUsize::new(0));
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| write(&site, writer, &over, &accepted))
        .map(tokio::spawn)
        .collect();
    let end = Instant::now() + Duration::from_secs(setting("RECADO_SOAK_SECONDS", 60));
    let mut leavers = 0;
    let began = Instant::now();
    while Instant::now() < end {
        let person = mobile(LEAVERS_FROM + leavers);
        leaves(&site, &person).await;
        leavers += 1;
        trouble(&mut site, &rng, is_lull(began.elapsed())).await;
        pause(&rng, 200, 1_200).await;
    }
    over.store(true, Ordering::Relaxed);
    site.simulator.set_outages(Vec::new());
    site.simulator.set_faults(Faults::default());
    for writer in writers {
        writer.await.unwrap();
    }
    let accepted = accepted.load(Ordering::Relaxed);
    site.at_rest().await;
    everybody_has_got_each_once(&site, accepted).await;
    for leaver in 0..leavers {
        site.is_out(&mobile(LEAVERS_FROM + leaver), leaver).await;
    }
    site.assert_verified();
    let memory = site.memory_kib_most();
    assert!(memory < MEMORY_KIB_MAX, "{memory} KiB");
    let (first, last) = (handles, site.handles());
    assert!(last <= first + HANDLES_MORE_MAX, "{first}, now {last}");
    site.assert_nothing_panicked();
    eprintln!(
        "{accepted} messages, {leavers} people who left, {}",
        site.summary()
    );
}

async fn leaves(site: &Site, person: &str) {
    let inbound = Inbound {
        from: person.to_owned(),
        body: Some("SAIR".to_owned()),
        ..Inbound::default()
    };
    // Whoever is not answered in time is found in the list.
    site.simulator.inbound(inbound).await;
}

async fn pause(rng: &Rng, low: usize, high: usize) {
    let millis = low + rng.below(high - low);
    tokio::time::sleep(Duration::from_millis(u64::try_from(millis).unwrap())).await;
}

/// Of every two minutes, the second passes without a restart: the proof that a request was lost takes
/// one process up to an hour, which is 36 s here.
fn is_lull(passed: Duration) -> bool {
    passed.as_secs() % 120 >= 60
}

/// One trouble of many; in a lull, none that ends the process.
async fn trouble(site: &mut Site, rng: &Rng, lull: bool) {
    match rng.below(if lull { 5 } else { 8 }) {
        0 | 1 => site.simulator.set_outages(vec![outage(rng)]),
        2 | 3 => site.simulator.set_faults(faults(rng)),
        4 => site.full_disk(Duration::from_millis(800)).await,
        5 => site.kill_and_restart().await,
        6 => site.terminate_and_restart().await,
        _ => {
            // An hour forward or back in the middle, and back to the right time at the end.
            let then = [Duration::ZERO, 2 * HOUR][rng.below(2)];
            site.serve_ahead(HOUR, async |program| {
                pause(rng, 300, 900).await;
                program.set(then);
                pause(rng, 300, 900).await;
            })
            .await;
        }
    }
}

fn outage(rng: &Rng) -> Outage {
    let html = rng.below(2) == 0;
    let fault = match rng.below(7) {
        0 => Some(CreateFault::ErrorBefore { status: 503, html }),
        1 => Some(CreateFault::ErrorBefore {
            status: 403,
            html: true,
        }),
        2 => Some(CreateFault::ErrorAfter { status: 502 }),
        3 => Some(CreateFault::ResetBefore),
        4 => Some(CreateFault::TooMany { retry_after: None }),
        5 => Some(CreateFault::Slow {
            ms: 700.0,
            accepted_first: true,
        }),
        _ => None,
    };
    let affects = match fault {
        None => vec![Affected::Connections],
        Some(_) if rng.below(2) == 0 => vec![Affected::Create],
        Some(_) => vec![Affected::Create, Affected::List, Affected::Fetch],
    };
    Outage {
        to_ms: Some(u32::try_from(200 + rng.below(2_000)).unwrap().into()),
        affects,
        fault,
        ..Outage::default()
    }
}

fn faults(rng: &Rng) -> Faults {
    let kinds = [
        CreateFault::ResetBefore,
        CreateFault::ResetAfter { after_bytes: None },
        CreateFault::ResetAfter {
            after_bytes: Some(40),
        },
        CreateFault::ErrorAfter { status: 500 },
        CreateFault::Garbage {
            body: "{".to_owned(),
        },
        CreateFault::TooMany { retry_after: None },
    ];
    let share = |fault| Share { share: 0.05, fault };
    Faults {
        latency_ms: (0.0, 20.0),
        create: kinds.into_iter().map(share).collect(),
        callback_lost: 0.2,
        callback_late: 0.1,
        callback_late_ms: 10_000.0,
        callback_doubled: 0.1,
        callback_reordered: 0.2,
        callback_before_answer: 0.05,
        callback_forged: 0.05,
        // Well below the bound that the proof of absence has, at both speeds.
        list_lag_ms: 10_000.0,
        bodies: [Bodies::All, Bodies::NullForTemplates][rng.below(2)],
        inbound_lost: 0.3,
        ..Faults::default()
    }
}

async fn everybody_has_got_each_once(site: &Site, accepted: usize) {
    let mut copies: HashMap<String, usize> = HashMap::new();
    for truth in site.simulator.truth() {
        *copies.entry(truth.to).or_default() += 1;
    }
    let messages = site.messages().await;
    let mut mistakes: Vec<&Value> = Vec::new();
    for message in &messages {
        let address = format!("whatsapp:{}", message["to"].as_str().unwrap());
        let once = copies.get(&address) == Some(&1);
        let state = message["state"].as_str().unwrap();
        if !once || !matches!(state, "sent" | "delivered" | "read") {
            mistakes.push(message);
        }
    }
    let some = mistakes.iter().take(5).collect::<Vec<_>>();
    assert!(mistakes.is_empty(), "{}, such as {some:#?}", mistakes.len());
    assert_eq!(messages.len(), accepted);
}
