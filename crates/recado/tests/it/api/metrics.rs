//! The numbers of delivery: they equal what was done in every grouping, also in an empty database.

use serde_json::{Value, json};
use simulator::{Phone, PhoneBehavior};

use super::{encoded, field_problem, in_seconds, later, problem, with};
use crate::server::{SENDER, TEMPLATE, TestServer, mobile, notice};

const COUNTS: [&str; 7] = [
    "accepted",
    "sent",
    "delivered",
    "read",
    "failed",
    "attempts",
    "retries",
];

async fn numbers(server: &TestServer, query: &str) -> Value {
    let answer = server
        .get(&format!("/api/v1/metrics/delivery?{query}"))
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_database_has_zeros_and_no_percentiles() {
    let server = TestServer::start().await;
    let answer = numbers(&server, "").await;
    assert_eq!(answer["group_by"], Value::Null);
    let groups = answer["groups"].as_array().unwrap();
    assert_eq!(groups.len(), 1);
    for field in COUNTS {
        assert_eq!(groups[0][field], 0, "{field}");
    }
    for field in ["delivery_rate", "read_rate", "failure_rate"] {
        assert_eq!(groups[0][field], 0.0, "{field}");
    }
    for field in ["accepted_to_sent", "sent_to_delivered", "delivered_to_read"] {
        let empty = json!({ "count": 0, "p50_ms": null, "p95_ms": null, "p99_ms": null });
        assert_eq!(groups[0][field], empty, "{field}");
    }
    assert_eq!(groups[0]["states"], json!({}));
    assert_eq!(groups[0]["errors"], json!([]));
    for group in ["hour", "day", "sender", "kind", "template", "area"] {
        let answer = numbers(&server, &format!("group_by={group}")).await;
        assert_eq!(
            (&answer["group_by"], &answer["groups"]),
            (&json!(group), &json!([]))
        );
    }
}

/// Five read, two delivered, one failed, one canceled, one scheduled: in three kinds and two
/// area codes.
async fn populated() -> TestServer {
    let character = |n, character| Phone {
        number: mobile(n),
        character,
    };
    let server = TestServer::with(
        |settings| {
            settings.phones = (0..5)
                .map(|n| character(n, PhoneBehavior::ReadsAtOnce))
                .collect();
            settings
                .phones
                .extend((5..7).map(|n| character(n, PhoneBehavior::NeverReads)));
            settings
                .phones
                .push(character(7, PhoneBehavior::Fails(63_013)));
        },
        &[],
    )
    .await;
    for n in 0..5 {
        server.accept(notice(&mobile(n), "a")).await;
    }
    let text =
        json!({ "body": "b", "window": "assume_open", "content_sid": null, "variables": null });
    for n in 5..7 {
        server
            .accept(with(notice(&mobile(n), ""), text.clone()))
            .await;
    }
    let marketing = json!({ "kind": "marketing" });
    let failed = server
        .accept(with(notice(&mobile(7), "c"), marketing))
        .await;
    let canceled = server.accept(later("(11) 98000-0001", "d")).await;
    server
        .post(&format!("/api/v1/messages/{canceled}/cancel"), &Value::Null)
        .await;
    server.accept(later("(11) 98000-0002", "e")).await;
    server.until_state(&failed, "failed").await;
    server
        .eventually("all have arrived", async |server| {
            server.messages("state=read").await.len() == 5
                && server.messages("state=delivered").await.len() == 2
        })
        .await;
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn the_numbers_are_what_was_done_in_every_grouping() {
    let server = populated().await;
    let total = numbers(&server, "").await["groups"][0].clone();
    let expected = [10, 7, 7, 5, 1, 8, 0];
    for (field, count) in COUNTS.iter().zip(expected) {
        assert_eq!(total[field], count, "{field} {total:#}");
    }
    assert_eq!(
        (&total["delivery_rate"], &total["failure_rate"]),
        (&json!(1.0), &json!(0.1))
    );
    assert!((total["read_rate"].as_f64().unwrap() - 5.0 / 7.0).abs() < 1e-9);
    let states = json!({ "canceled": 1, "delivered": 2, "failed": 1, "read": 5, "scheduled": 1 });
    assert_eq!(total["states"], states);
    let errors = total["errors"].as_array().unwrap();
    assert_eq!(errors.len(), 1);
    assert_eq!(
        (&errors[0]["code"], &errors[0]["count"]),
        (&json!(63_013), &json!(1))
    );
    assert!(errors[0]["meaning"].as_str().unwrap().len() > 10);
    for (stage, count) in [
        ("accepted_to_sent", 7),
        ("sent_to_delivered", 7),
        ("delivered_to_read", 5),
    ] {
        assert_eq!(total[stage]["count"], count, "{stage}");
        let at = |name: &str| total[stage][name].as_u64().unwrap();
        assert!(
            at("p50_ms") <= at("p95_ms") && at("p95_ms") <= at("p99_ms"),
            "{total:#}"
        );
    }
    for (group, expected) in [
        ("sender", vec![(SENDER, 10)]),
        (
            "kind",
            vec![("marketing", 1), ("service", 2), ("utility", 7)],
        ),
        ("template", vec![("", 2), (TEMPLATE, 8)]),
        ("area", vec![("11", 2), ("85", 8)]),
    ] {
        let answer = numbers(&server, &format!("group_by={group}")).await;
        let groups = answer["groups"].as_array().unwrap();
        let found: Vec<_> = groups
            .iter()
            .map(|g| {
                (
                    g["group"].as_str().unwrap(),
                    g["accepted"].as_i64().unwrap(),
                )
            })
            .collect();
        assert_eq!(found, expected, "{group}");
        adds_up(groups, &total);
    }
    for group in ["hour", "day"] {
        let answer = numbers(&server, &format!("group_by={group}")).await;
        let groups = answer["groups"].as_array().unwrap();
        for row in groups {
            let start: jiff::Timestamp = row["group"].as_str().unwrap().parse().unwrap();
            let unit = if group == "hour" { 3_600 } else { 86_400 };
            assert_eq!(start.as_second() % unit, 0, "{row:#}");
        }
        adds_up(groups, &total);
    }
}

#[track_caller]
fn adds_up(groups: &[Value], total: &Value) {
    for field in COUNTS {
        let sum: i64 = groups
            .iter()
            .map(|group| group[field].as_i64().unwrap())
            .sum();
        assert_eq!(sum, total[field].as_i64().unwrap(), "{field} {groups:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_counts_what_was_accepted_in_it() {
    let server = TestServer::start().await;
    server.accept(later(&mobile(1), "a")).await;
    let count = async |from: i64, to: i64| {
        let (from, to) = (encoded(&in_seconds(from)), encoded(&in_seconds(to)));
        let answer = numbers(&server, &format!("from={from}&to={to}")).await;
        answer["groups"][0]["accepted"].as_i64().unwrap()
    };
    assert_eq!(count(-60, 60).await, 1);
    assert_eq!(count(-366 * 86_400 + 7_200, 0).await, 1);
    assert_eq!(count(-3 * 3_600, -2 * 3_600).await, 0);
    assert_eq!(count(2 * 3_600, 3 * 3_600).await, 0);
    let (from, to) = (in_seconds(-90), in_seconds(90));
    let answer = numbers(&server, &format!("from={from}&to={to}")).await;
    let at = |text: &Value| text.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    assert!(at(&answer["from"]) <= from.parse().unwrap());
    assert!(at(&answer["to"]) >= to.parse().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_and_groups_that_make_no_sense_are_refused() {
    let server = TestServer::start().await;
    for (query, field, code) in [
        ("from=yesterday".to_owned(), "from", "time_invalid"),
        ("to=2026-12-01".to_owned(), "to", "time_invalid"),
        ("group_by=color".to_owned(), "group_by", "group_by_unknown"),
        ("group_by=".to_owned(), "group_by", "group_by_unknown"),
        (
            format!("from={}", in_seconds(7_200)),
            "from",
            "range_invalid",
        ),
        (
            format!("to={}", in_seconds(-3 * 86_400)),
            "from",
            "range_invalid",
        ),
        (
            format!("from={}", in_seconds(-367 * 86_400)),
            "from",
            "range_invalid",
        ),
        (
            format!("group_by=hour&from={}", in_seconds(-32 * 86_400)),
            "from",
            "range_invalid",
        ),
        (
            "from=-009999-01-02T01:59:59Z&to=9999-12-30T00:00:00Z".to_owned(),
            "from",
            "range_invalid",
        ),
    ] {
        let answer = server
            .get(&format!("/api/v1/metrics/delivery?{query}"))
            .await;
        field_problem(&answer, field, code);
    }
    let answer = server.get("/api/v1/metrics/delivery?groupby=hour").await;
    problem(&answer, 422, "invalid_query");
}

/// A period of which too much was counted is refused with the time until which it may be, and so it is
/// answered.
#[tokio::test(flavor = "multi_thread")]
async fn a_period_with_too_many_counters_is_refused_with_a_shorter_one() {
    let server = TestServer::start().await;
    let hour: i64 = 20 * 365 * 24;
    let database = rusqlite::Connection::open(server.database()).unwrap();
    database
        .busy_timeout(std::time::Duration::from_secs(60))
        .unwrap();
    // 100,000 cohorts in each of five hours, and one more in the hour after.
    database
        .execute_batch(&format!(
            "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 500000) \
             INSERT INTO cohort (account_id, hour, sender_id, kind, template_id, area) \
             SELECT 1, {hour} + i / 100000, 1, 1, i, 85 FROM n; \
             INSERT INTO counter SELECT id, 0, 0, 7, 7 FROM cohort WHERE hour = {hour} \
             ORDER BY id LIMIT 3; \
             INSERT INTO counter SELECT id, 0, 0, 1, 1 FROM cohort WHERE hour = {hour} + 4 \
             ORDER BY id LIMIT 2;"
        ))
        .unwrap();
    let at = |hours: i64| {
        let at = jiff::Timestamp::from_second((hour + hours) * 3_600).unwrap();
        format!("{at:.6}")
    };
    let period = |hours: i64| format!("from={}&to={}", at(0), at(hours));
    let answer = server
        .get(&format!("/api/v1/metrics/delivery?{}", period(6)))
        .await;
    field_problem(&answer, "to", "range_too_large");
    assert!(answer.text.contains(&at(5)), "{}", answer.text);
    let answer = numbers(&server, &period(5)).await;
    assert_eq!(answer["groups"][0]["accepted"], 23);
    let answer = numbers(&server, &format!("{}&group_by=hour", period(5))).await;
    let groups = answer["groups"].as_array().unwrap();
    let found: Vec<_> = groups.iter().map(|group| &group["accepted"]).collect();
    assert_eq!(found, [21, 2]);
}
