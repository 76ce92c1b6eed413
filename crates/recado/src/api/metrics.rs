//! The metrics of delivery: rates, times and errors from the counters.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use delivery::codes::ErrorSource;
use delivery::counter::{Metric, bucket_edge};
use delivery::state::State as MessageState;
use delivery::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::extract::Query;
use super::field::{parse_choice, parse_query_time, time_text};
use super::problem::{FieldProblem, Problem};
use super::state::Api;
use crate::store::{CounterGroup, CounterQuery, CounterRow};

/// Hours of the longest period.
const HOURS_MAX: i64 = 24 * 366;
/// Groups of the longest period by hour.
const HOUR_GROUPS_MAX: i64 = 24 * 31;
/// Cohorts of which one request sums up the counters: some seconds of reading.
const COHORTS_MAX: u32 = 500_000;

/// Which messages to count, and how to group them.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct DeliveryQuery {
    /// Messages accepted from this instant, rounded down to the hour; default 24 hours ago.
    from: Option<String>,
    /// Messages accepted before this instant, rounded up to the hour; default now. At most 366 days
    /// after `from`, 31 when grouped by hour; less when more was counted than one request may read:
    /// then `range_too_large` says until when it may be.
    to: Option<String>,
    /// `hour`, `day`, `sender`, `kind`, `template` or `area`. Default: everything in one group.
    group_by: Option<String>,
}

/// Counts of messages.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct DeliveryJson {
    /// First instant counted.
    pub from: String,
    /// First instant no longer counted.
    pub to: String,
    /// How it is grouped; null without grouping.
    pub group_by: Option<String>,
    /// One row for each group; one row when there is no grouping.
    pub groups: Vec<DeliveryGroupJson>,
}

/// The messages of one group.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct DeliveryGroupJson {
    /// The group's value; empty without grouping.
    pub group: String,
    /// Messages accepted.
    pub accepted: i64,
    /// Of these, seen at WhatsApp.
    pub sent: i64,
    /// Of these, seen on the device.
    pub delivered: i64,
    /// Of these, opened.
    pub read: i64,
    /// Of these, failed or undelivered now.
    pub failed: i64,
    /// Attempts made.
    pub attempts: i64,
    /// Retries among these.
    pub retries: i64,
    /// delivered / sent; 0 when nothing was sent.
    pub delivery_rate: f64,
    /// read / delivered; 0 when nothing was delivered.
    pub read_rate: f64,
    /// failed / accepted; 0 when nothing was accepted.
    pub failure_rate: f64,
    /// Messages by the state they are in now.
    pub states: BTreeMap<String, i64>,
    /// Errors by code.
    pub errors: Vec<ErrorCountJson>,
    /// From acceptance to WhatsApp.
    pub accepted_to_sent: TimesJson,
    /// From WhatsApp to the device.
    pub sent_to_delivered: TimesJson,
    /// From the device until it was opened.
    pub delivered_to_read: TimesJson,
}

/// How often an error occurred.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct ErrorCountJson {
    /// Twilio's code; null when there was none.
    pub code: Option<u32>,
    /// How often it occurred.
    pub count: i64,
    /// What it means.
    pub meaning: String,
}

/// Percentiles of a duration in milliseconds, from a histogram: at most 25 % too high. Null when
/// nothing was measured.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct TimesJson {
    /// How many were measured.
    pub count: i64,
    /// Half of them took no longer.
    pub p50_ms: Option<u64>,
    /// 95 % of them took no longer.
    pub p95_ms: Option<u64>,
    /// 99 % of them took no longer.
    pub p99_ms: Option<u64>,
}

/// Shows rates, times and errors of the messages accepted in a period.
#[utoipa::path(
    get, path = "/api/v1/metrics/delivery", operation_id = "delivery_numbers", tag = "numbers", params(DeliveryQuery),
    responses((status = 200, body = DeliveryJson), (status = 422, body = Problem)),
)]
pub(super) async fn delivery(
    State(api): State<Api>,
    Query(query): Query<DeliveryQuery>,
) -> Result<Json<DeliveryJson>, Problem> {
    let now = api.effects.clock.now();
    let day = std::time::Duration::from_secs(86_400);
    let from = instant("from", query.from.as_deref(), now.minus(day))?.hour();
    let to = instant("to", query.to.as_deref(), now)?;
    let to = to
        .plus(std::time::Duration::from_secs(3_600))
        .minus(MICRO)
        .hour();
    if to <= from || to - from > HOURS_MAX {
        return Err(Problem::field(
            "from",
            "range_invalid",
            "from must be before to, by at most 366 days.",
        ));
    }
    let group = group(query.group_by.as_deref())?;
    if group == CounterGroup::Hour && to - from > HOUR_GROUPS_MAX {
        return Err(Problem::field(
            "from",
            "range_invalid",
            "Grouped by hour, from must be before to by at most 31 days. Ask for one month after the \
             other, or group by day.",
        ));
    }
    let rows = counted(
        &api,
        CounterQuery {
            from_hour: from,
            to_hour: to,
            group,
        },
    )
    .await?;
    let mut groups: BTreeMap<String, Vec<CounterRow>> = BTreeMap::new();
    if group == CounterGroup::None {
        groups.insert(String::new(), Vec::new());
    }
    for row in rows {
        groups
            .entry(group_name(group, &row.group))
            .or_default()
            .push(row);
    }
    Ok(Json(DeliveryJson {
        from: time_text(Timestamp::from_seconds(from * 3_600)),
        to: time_text(Timestamp::from_seconds(to * 3_600)),
        group_by: query.group_by,
        groups: groups
            .iter()
            .map(|(name, rows)| group_json(&api, name, rows))
            .collect(),
    }))
}

/// What was counted, unless it is more than one request may read.
async fn counted(api: &Api, query: CounterQuery) -> Result<Vec<CounterRow>, Problem> {
    let until = api.store.counters_until(query, COHORTS_MAX).await?;
    if until < query.to_hour {
        let until = time_text(Timestamp::from_seconds(until * 3_600));
        return Err(Problem::field(
            "to",
            "range_too_large",
            format!(
                "More was counted in this period than one request may read. Ask for a period with the \
                 same from and with to at {until} or before, and for the rest in requests of their own."
            ),
        ));
    }
    Ok(api.store.counters(query).await?)
}

const MICRO: std::time::Duration = std::time::Duration::from_micros(1);

fn instant(field: &str, text: Option<&str>, default: Timestamp) -> Result<Timestamp, FieldProblem> {
    text.map_or(Ok(default), |text| parse_query_time(field, text))
}

fn group(text: Option<&str>) -> Result<CounterGroup, FieldProblem> {
    let groups = [
        ("hour", CounterGroup::Hour),
        ("day", CounterGroup::Day),
        ("sender", CounterGroup::Sender),
        ("kind", CounterGroup::Kind),
        ("template", CounterGroup::Template),
        ("area", CounterGroup::Area),
    ];
    match text {
        None => Ok(CounterGroup::None),
        Some(text) => {
            parse_choice("group_by", text, &groups, |(word, _)| word).map(|(_, group)| group)
        }
    }
}

fn group_name(group: CounterGroup, value: &str) -> String {
    let hours = |factor: i64| {
        let hour = value.parse::<i64>().unwrap_or_default() * factor;
        time_text(Timestamp::from_seconds(hour * 3_600))
    };
    match group {
        CounterGroup::Hour => hours(1),
        CounterGroup::Day => hours(24),
        CounterGroup::None
        | CounterGroup::Sender
        | CounterGroup::Kind
        | CounterGroup::Template
        | CounterGroup::Area => value.to_owned(),
    }
}

fn group_json(api: &Api, name: &str, rows: &[CounterRow]) -> DeliveryGroupJson {
    let sum = |metric: Metric| {
        rows.iter()
            .filter(|row| row.metric == metric)
            .map(|row| row.n)
            .sum()
    };
    let states: BTreeMap<String, i64> = rows
        .iter()
        .filter(|row| row.metric == Metric::State && row.n != 0)
        .filter_map(|row| {
            Some((
                MessageState::from_number(row.code)?.as_str().to_owned(),
                row.n,
            ))
        })
        .collect();
    let in_state = |state: MessageState| states.get(state.as_str()).copied().unwrap_or(0);
    let failed = in_state(MessageState::Failed) + in_state(MessageState::Undelivered);
    let (accepted, sent) = (sum(Metric::Accepted), sum(Metric::Sent));
    let (delivered, read) = (sum(Metric::Delivered), sum(Metric::Read));
    DeliveryGroupJson {
        group: name.to_owned(),
        accepted,
        sent,
        delivered,
        read,
        failed,
        attempts: sum(Metric::Attempts),
        retries: sum(Metric::Retries),
        delivery_rate: rate(delivered, sent),
        read_rate: rate(read, delivered),
        failure_rate: rate(failed, accepted),
        states,
        errors: rows
            .iter()
            .filter(|row| row.metric == Metric::Errors && row.n != 0)
            .map(|row| {
                let code = u32::try_from(row.code).ok().filter(|code| *code > 0);
                let meaning = api.codes.rule(code, ErrorSource::Status).meaning;
                ErrorCountJson {
                    code,
                    count: row.n,
                    meaning,
                }
            })
            .collect(),
        accepted_to_sent: times(rows, Metric::AcceptedToSent),
        sent_to_delivered: times(rows, Metric::SentToDelivered),
        delivered_to_read: times(rows, Metric::DeliveredToRead),
    }
}

/// A part of a whole; 0 when the whole is 0.
fn rate(part: i64, whole: i64) -> f64 {
    if whole == 0 {
        return 0.0;
    }
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    let rate = part as f64 / whole as f64;
    rate
}

fn times(rows: &[CounterRow], metric: Metric) -> TimesJson {
    let mut buckets: Vec<(i64, i64)> = rows
        .iter()
        .filter(|row| row.metric == metric)
        .map(|row| (row.code, row.n))
        .collect();
    buckets.sort_unstable();
    let count: i64 = buckets.iter().map(|(_, n)| n).sum();
    let percentile = |hundredths: i64| {
        let rank = (count * hundredths + 99) / 100;
        let mut seen = 0;
        buckets.iter().find_map(|(bucket, n)| {
            seen += n;
            (count > 0 && seen >= rank.max(1))
                .then(|| u64::try_from(bucket_edge(*bucket).as_millis()).unwrap_or(u64::MAX))
        })
    };
    TimesJson {
        count,
        p50_ms: percentile(50),
        p95_ms: percentile(95),
        p99_ms: percentile(99),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(metric: Metric, code: i64, n: i64) -> CounterRow {
        CounterRow {
            group: String::new(),
            metric,
            code,
            n,
        }
    }

    #[test]
    fn percentiles_come_from_the_ranks_and_rates_of_nothing_are_zero() {
        let rows = [
            row(
                Metric::AcceptedToSent,
                delivery::counter::bucket(std::time::Duration::from_millis(10)),
                98,
            ),
            row(
                Metric::AcceptedToSent,
                delivery::counter::bucket(std::time::Duration::from_millis(1_000)),
                2,
            ),
        ];
        let times_of = times(&rows, Metric::AcceptedToSent);
        assert_eq!(times_of.count, 100);
        assert!((10..=12).contains(&times_of.p50_ms.unwrap()));
        assert!((10..=12).contains(&times_of.p95_ms.unwrap()));
        assert!((1_000..=1_200).contains(&times_of.p99_ms.unwrap()));
        assert_eq!(times(&[], Metric::AcceptedToSent).p50_ms, None);
        assert_eq!(rate(0, 0), 0.0);
        assert_eq!(rate(1, 2), 0.5);
    }
}
