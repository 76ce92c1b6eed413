//! The page for Prometheus. It names no person, and its labels have few values.

use std::fmt::Write;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use delivery::message::SenderName;
use delivery::outage::{Outage, Unlisted};
use delivery::time::Timestamp;

use super::problem::Problem;
use super::state::Api;
use crate::store::{Gauges, SenderView};

/// Shows the page for Prometheus.
#[utoipa::path(
    get, path = "/metrics", tag = "health",
    responses((status = 200, content_type = "text/plain"), (status = 503, body = Problem))
)]
pub(super) async fn metrics(State(api): State<Api>) -> Result<Response, Problem> {
    let gauges = api.store.gauges(api.effects.clock.now()).await?;
    let senders = api.store.senders().await?;
    let last = u64::try_from(api.store.last_event().await?).unwrap_or_default();
    let mut page = Page::default();
    page.labeled(&gauges, &senders);
    page.single(&gauges, api.effects.clock.now());
    page.family(
        "recado_events_total",
        "counter",
        "Events in the log.",
        one(last),
    );
    let held = api.store.hold_counts(api.effects.clock.now()).await?;
    let held = held
        .iter()
        .map(|(scope, n)| (format!("{{scope=\"{}\"}}", scope.as_str()), *n))
        .collect();
    let help = "Holds in effect by what is held, up to 10,000 of each.";
    page.family("recado_holds", "gauge", help, held);
    let now = api.effects.clock.now();
    page.outages(&api.outages(now), now);
    page.unlisted(api.unlisted.borrow().as_ref(), now);
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], page.text).into_response())
}

#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn labeled(&mut self, gauges: &Gauges, senders: &[SenderView]) {
        let states = gauges
            .states
            .iter()
            .map(|(state, n)| (format!("{{state=\"{}\"}}", state.as_str()), *n))
            .collect();
        self.family(
            "recado_messages",
            "gauge",
            "Messages by the state they are in.",
            states,
        );
        let errors = gauges
            .errors
            .iter()
            .map(|(code, n)| (format!("{{code=\"{code}\"}}"), *n))
            .collect();
        let help = "Errors by Twilio's code (0: none given).";
        self.family("recado_errors_total", "counter", help, errors);
        let paused = senders
            .iter()
            .map(|s| {
                (
                    format!("{{sender=\"{}\"}}", s.name),
                    u64::from(s.paused_at.is_some()),
                )
            })
            .collect();
        self.family(
            "recado_sender_paused",
            "gauge",
            "1 when a sender is paused.",
            paused,
        );
    }

    fn single(&mut self, gauges: &Gauges, now: Timestamp) {
        let age = gauges
            .oldest_due_at
            .map_or(0, |due| now.since(due).as_secs());
        for (name, kind, help, value) in [
            (
                "recado_anomalies_total",
                "counter",
                "Facts that contradicted what was known.",
                gauges.anomalies,
            ),
            (
                "recado_queue_messages",
                "gauge",
                "Messages that are waiting.",
                gauges.queued,
            ),
            (
                "recado_queue_oldest_due_seconds",
                "gauge",
                "For how long the oldest due message has been due.",
                age,
            ),
            (
                "recado_attempts_open",
                "gauge",
                "Requests to the provider that are open.",
                gauges.open_attempts,
            ),
            (
                "recado_attempts_unknown",
                "gauge",
                "Attempts with an unknown outcome that is being looked for.",
                gauges.unknown_watched,
            ),
            (
                "recado_list_lag_seconds",
                "gauge",
                "The largest lag of the provider's list within a day.",
                gauges.list_lag.map_or(0, |lag| lag.as_secs()),
            ),
            (
                "recado_reports_parked",
                "gauge",
                "Reports about messages that are not known yet.",
                gauges.parked,
            ),
            (
                "recado_database_bytes",
                "gauge",
                "Size of the database on disk.",
                gauges.database_bytes,
            ),
        ] {
            self.family(name, kind, help, one(value));
        }
    }

    fn outages(&mut self, outages: &[Outage], now: Timestamp) {
        let seconds = |outage: &Outage| now.since(outage.since).as_secs();
        self.family(
            "recado_provider_unreachable_seconds",
            "gauge",
            "For how long the provider has been unreachable; 0 when it can be reached.",
            one(outages.iter().map(seconds).max().unwrap_or(0)),
        );
        let labels = |outage: &Outage| {
            let sender = outage.sender.as_ref().map_or("", SenderName::as_str);
            let reason = outage.reason.as_str();
            format!("{{sender=\"{sender}\",reason=\"{reason}\"}}")
        };
        let samples = outages
            .iter()
            .map(|outage| (labels(outage), seconds(outage)));
        self.family(
            "recado_provider_outage_seconds",
            "gauge",
            "For how long requests to the provider have failed, by sender (empty: all) and reason.",
            samples.collect(),
        );
        let samples = outages.iter().map(|outage| (labels(outage), outage.probes));
        self.family(
            "recado_provider_outage_probes",
            "gauge",
            "Requests made since then to see whether it is over.",
            samples.collect(),
        );
    }

    fn unlisted(&mut self, unlisted: Option<&Unlisted>, now: Timestamp) {
        let seconds = unlisted.map_or(0, |unlisted| now.since(unlisted.since).as_secs());
        self.family(
            "recado_inbound_unlisted_seconds",
            "gauge",
            "For how long what people wrote could not be listed; 0 when it can be.",
            one(seconds),
        );
        let waits = unlisted.is_some_and(|unlisted| unlisted.sending_waits);
        self.family(
            "recado_inbound_sending_waits",
            "gauge",
            "1 while nothing is sent because it is not known what people wrote.",
            one(u64::from(waits)),
        );
    }

    fn family(&mut self, name: &str, kind: &str, help: &str, samples: Vec<(String, u64)>) {
        // Writing into a string cannot fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in samples {
            let _ = writeln!(self.text, "{name}{labels} {value}");
        }
    }
}

fn one(value: u64) -> Vec<(String, u64)> {
    vec![(String::new(), value)]
}
