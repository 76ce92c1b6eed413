//! What the machine does in a second: callbacks, accepts, a drain, and how long a message takes
//! from our API to the provider's. The load comes from a second process of this same binary, so
//! that its CPU is not counted; the bare server of the same framework runs in the same session,
//! because on a noisy machine only ratios mean something. `writer` is the store alone with a fixed
//! amount of work, whose instructions `scripts/instructions` counts.
//!
//! `--once` makes one small round of everything (for CI), `--messages N` sets how many messages
//! are stored, `--runs N` and `--requests N` how much is measured, `--connections N` how many
//! connections send callbacks; a word picks one measurement. `growth` runs only when it is picked:
//! its `--messages` is a list of sizes, as in `--messages 10000,1000000`, and `--folder` says where
//! its databases are kept.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark that cannot go on must stop, and prints what it measured"
)]

mod bare;
mod callbacks;
mod growth;
mod load;
mod sending;
mod setup;
mod writer;

use growth::GrowthPlan;
use setup::Plan;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(at) = arguments.iter().position(|word| word == "load") {
        load::main(&arguments[at + 1..]);
        return;
    }
    let text = |name: &str| {
        let at = arguments.iter().position(|word| word == name)?;
        arguments.get(at + 1)
    };
    let value = |name: &str| text(name)?.parse().ok();
    let once = arguments
        .iter()
        .any(|word| word == "--once" || word == "--test");
    let plan = Plan {
        messages: value("--messages").unwrap_or(if once { 500 } else { 200_000 }),
        requests: value("--requests").unwrap_or(if once { 600 } else { 150_000 }),
        connections: value("--connections").map_or(vec![64, 128, 512], |n| vec![n]),
        runs: value("--runs").unwrap_or(if once { 1 } else { 3 }),
    };
    let growth = GrowthPlan {
        sizes: match text("--messages") {
            Some(list) => list.split(',').map(|size| size.parse().unwrap()).collect(),
            None if once => vec![500, 2_000],
            None => vec![10_000, 1_000_000, 10_000_000],
        },
        folder: match text("--folder") {
            Some(folder) => Some(folder.into()),
            None if once => None,
            None => Some(setup::target().join("growth")),
        },
        requests: value("--requests").unwrap_or(if once { 300 } else { 30_000 }),
        runs: plan.runs,
    };
    let wanted = |name: &str| {
        let names = [
            "callbacks",
            "accept",
            "drain",
            "latency",
            "memory",
            "writer",
            "growth",
        ];
        let picked: Vec<_> = arguments
            .iter()
            .filter(|word| names.contains(&word.as_str()))
            .collect();
        // All of them take some minutes; large databases alone take longer.
        let all = picked.is_empty() && (once || name != "growth");
        all || picked.iter().any(|word| *word == name)
    };
    if wanted("writer") {
        writer::measure(once);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        if wanted("memory") {
            sending::memory(&plan).await;
        }
        if wanted("callbacks") {
            callbacks::measure(&plan).await;
        }
        if wanted("accept") {
            sending::accept(&plan).await;
        }
        if wanted("drain") {
            sending::drain(&plan).await;
        }
        if wanted("latency") {
            sending::latency(&plan).await;
        }
        if wanted("growth") {
            growth::measure(&growth).await;
        }
    });
}
