//! The page for Prometheus, read by a small parser of the text format.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::json;
use simulator::{Phone, PhoneBehavior};

use super::later;
use crate::server::{SENDER, TestServer, mobile, notice};

/// A family of the page.
#[derive(Default)]
struct Family {
    kind: String,
    help: String,
    samples: Vec<(String, BTreeMap<String, String>, f64)>,
}

/// Reads the text format 0.0.4, and stops at anything that a Prometheus would not take.
fn parse(text: &str) -> HashMap<String, Family> {
    assert!(text.ends_with('\n'), "the last line ends");
    let mut families: HashMap<String, Family> = HashMap::new();
    let mut current = String::new();
    let mut series = HashSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(!families.contains_key(name), "{name} comes twice");
            assert!(is_name(name, true), "{name}");
            help.clone_into(&mut families.entry(name.to_owned()).or_default().help);
            name.clone_into(&mut current);
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(name, current, "TYPE follows HELP");
            assert!(
                ["counter", "gauge", "histogram", "summary"].contains(&kind),
                "{line}"
            );
            kind.clone_into(&mut families.get_mut(name).unwrap().kind);
        } else {
            let (name, labels, value) = sample(line);
            let family = families.get_mut(&current).unwrap();
            let suffix = name
                .strip_prefix(&current)
                .unwrap_or_else(|| panic!("{line}"));
            let suffixes: &[&str] = match family.kind.as_str() {
                "histogram" => &["_bucket", "_sum", "_count"],
                "summary" => &["", "_sum", "_count"],
                _ => &[""],
            };
            assert!(suffixes.contains(&suffix), "{line}");
            assert!(
                series.insert((name.clone(), labels.clone())),
                "twice: {line}"
            );
            family.samples.push((name, labels, value));
        }
    }
    families
}

fn is_name(text: &str, colons: bool) -> bool {
    !text.is_empty()
        && !text.starts_with(|c: char| c.is_ascii_digit())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_' || (colons && c == ':'))
}

fn sample(line: &str) -> (String, BTreeMap<String, String>, f64) {
    let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
    let (name, rest) = match series.split_once('{') {
        Some((name, rest)) => (
            name,
            rest.strip_suffix('}').unwrap_or_else(|| panic!("{line}")),
        ),
        None => (series, ""),
    };
    assert!(is_name(name, true), "{line}");
    let mut labels = BTreeMap::new();
    for pair in rest.split(',').filter(|pair| !pair.is_empty()) {
        let (label, value) = pair.split_once('=').unwrap_or_else(|| panic!("{line}"));
        let value = value
            .strip_prefix('"')
            .and_then(|v| v.strip_suffix('"'))
            .unwrap();
        assert!(is_name(label, false) && !value.contains('"'), "{line}");
        assert!(
            labels.insert(label.to_owned(), value.to_owned()).is_none(),
            "{line}"
        );
    }
    (
        name.to_owned(),
        labels,
        value.parse().unwrap_or_else(|_| panic!("{line}")),
    )
}

/// Buckets of every series of a histogram grow up to `+Inf`, which equals the count.
#[track_caller]
fn check_histogram(name: &str, family: &Family) {
    let mut series: HashMap<BTreeMap<String, String>, Vec<(f64, f64)>> = HashMap::new();
    let mut counts = HashMap::new();
    for (sample, labels, value) in &family.samples {
        let mut labels = labels.clone();
        if sample.ends_with("_bucket") {
            let edge = labels.remove("le").unwrap();
            let edge = if edge == "+Inf" {
                f64::INFINITY
            } else {
                edge.parse().unwrap()
            };
            series.entry(labels).or_default().push((edge, *value));
        } else if sample.ends_with("_count") {
            counts.insert(labels, *value);
        }
    }
    for (labels, buckets) in series {
        let grows = buckets
            .windows(2)
            .all(|two| two[0].0 < two[1].0 && two[0].1 <= two[1].1);
        assert!(grows, "{name} {labels:?}");
        let last = buckets.last().unwrap();
        assert!(
            last.0.is_infinite() && Some(&last.1) == counts.get(&labels),
            "{name} {labels:?}"
        );
    }
}

async fn page(server: &TestServer) -> (String, HashMap<String, Family>) {
    let answer = server.request("GET", "/metrics", &[], None).await;
    assert_eq!(answer.status, 200);
    let kind = answer.header("content-type").unwrap();
    assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
    let families = parse(&answer.text);
    for (name, family) in &families {
        assert!(name.starts_with("recado_"), "{name}");
        assert!(family.help.len() > 5 && !family.kind.is_empty(), "{name}");
        assert_eq!(family.kind == "counter", name.ends_with("_total"), "{name}");
        if family.kind == "histogram" {
            check_histogram(name, family);
        }
    }
    (answer.text, families)
}

#[track_caller]
fn value(families: &HashMap<String, Family>, name: &str, label: &str) -> Option<f64> {
    let family = families.get(name).unwrap_or_else(|| panic!("no {name}"));
    family
        .samples
        .iter()
        .find(|(_, labels, _)| label.is_empty() || labels.values().any(|value| value == label))
        .map(|(_, _, value)| *value)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_valid_true_and_names_no_person() {
    let server = TestServer::with(
        |settings| {
            let (number, character) = (mobile(2), PhoneBehavior::Fails(63_013));
            settings.phones = vec![Phone { number, character }];
        },
        &[],
    )
    .await;
    let (_, empty) = page(&server).await;
    assert_eq!(value(&empty, "recado_events_total", ""), Some(0.0));
    for name in [
        "recado_anomalies_total",
        "recado_queue_messages",
        "recado_queue_oldest_due_seconds",
        "recado_attempts_open",
        "recado_attempts_unknown",
        "recado_reports_parked",
    ] {
        assert_eq!(value(&empty, name, ""), Some(0.0), "{name}");
    }
    let waits = server.accept(later(&mobile(1), "segredo")).await;
    let failed = server.accept(notice(&mobile(2), "segredo")).await;
    server.until_state(&failed, "failed").await;
    let path = format!("/api/v1/senders/{SENDER}/pause");
    server.post(&path, &json!(null)).await;
    let (text, full) = page(&server).await;
    assert_eq!(
        value(&full, "recado_messages", "scheduled"),
        Some(1.0),
        "{text}"
    );
    assert_eq!(
        value(&full, "recado_messages", "failed"),
        Some(1.0),
        "{text}"
    );
    assert_eq!(
        value(&full, "recado_errors_total", "63013"),
        Some(1.0),
        "{text}"
    );
    assert_eq!(
        value(&full, "recado_sender_paused", SENDER),
        Some(1.0),
        "{text}"
    );
    assert_eq!(
        value(&full, "recado_queue_messages", ""),
        Some(1.0),
        "{text}"
    );
    assert!(value(&full, "recado_database_bytes", "").unwrap() > 4_096.0);
    assert!(value(&full, "recado_events_total", "").unwrap() >= 5.0);
    for secret in [
        "8598000000",
        "858000000",
        "segredo",
        waits.as_str(),
        failed.as_str(),
        &server.key,
    ] {
        assert!(!text.contains(secret), "{secret} is on the page");
    }
    // Labels have few values: as many series as before, whoever the messages are for.
    let before = text.lines().count();
    let items: Vec<_> = (10..60).map(|n| later(&mobile(n), "x")).collect();
    server
        .post("/api/v1/messages/bulk", &json!({ "messages": items }))
        .await;
    assert_eq!(page(&server).await.0.lines().count(), before);
}
