//! Whether the process is alive, whether it can do its work, and what needs attention.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use delivery::outage::Outage;
use delivery::state::State as MessageState;
use delivery::time::Timestamp;
use serde::Serialize;

use super::hold;
use super::problem::Problem;
use super::restore;
use super::state::Api;
use crate::store::PAUSED_AS_RESTORED;

/// Answers while the process is alive. It does not check the database or the provider, because a
/// restart would help neither.
#[utoipa::path(get, path = "/livez", tag = "health", responses((status = 200)))]
pub(super) async fn live() -> &'static str {
    "ok\n"
}

/// Answers 200 when the server can do its work: its last commits went through. Asking makes none.
#[utoipa::path(
    get, path = "/readyz", tag = "health",
    responses((status = 200), (status = 503, body = Problem))
)]
pub(super) async fn ready(State(api): State<Api>) -> Response {
    if api.shutdown.is_cancelled() {
        return Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "shutting_down",
            "The server is shutting down.",
        )
        .after(5)
        .into_response();
    }
    match api.store.writable() {
        Ok(()) => "ok\n".into_response(),
        Err(error) => Problem::from(error).into_response(),
    }
}

/// How the server is doing.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct HealthJson {
    /// `ok`, or `degraded` when something needs attention.
    pub status: String,
    /// What needs attention, in words.
    pub concerns: Vec<String>,
    /// Messages that are waiting.
    pub queued: u64,
    /// Seconds since the oldest due message became due.
    pub oldest_due_seconds: u64,
    /// Requests to the provider that are open.
    pub open_attempts: u64,
    /// Attempts with an unknown outcome that is still being looked for.
    pub unknown_attempts: u64,
    /// Reports about messages that are not known yet.
    pub parked_reports: u64,
    /// Size of the database in bytes.
    pub database_bytes: u64,
    /// The version of the server.
    pub version: String,
}

/// Shows how the server is doing.
#[utoipa::path(
    get, path = "/api/v1/health", tag = "health",
    responses((status = 200, body = HealthJson))
)]
pub(super) async fn health(State(api): State<Api>) -> Result<Json<HealthJson>, Problem> {
    let gauges = api.store.gauges(api.effects.clock.now()).await?;
    let now = api.effects.clock.now();
    let mut concerns = Vec::new();
    let waiting = api.store.waiting_since_restore().await?;
    concerns.extend(waiting.as_ref().map(restore::concern));
    for sender in api.store.senders().await? {
        if let Some(reason) = &sender.pause_reason
            && reason != PAUSED_AS_RESTORED
        {
            concerns.push(format!("sender {} is paused: {reason}", sender.name));
        }
        if !sender.configured && sender.queued > 0 {
            concerns.push(format!(
                "{} messages are waiting for sender {}, which is no longer configured",
                sender.queued, sender.name
            ));
        }
    }
    concerns.extend(hold::concerns(&api).await?);
    // An outage is told before the lists that cannot be read because of it.
    let unlisted = api.unlisted.borrow().clone();
    for outage in &api.outages(now) {
        concerns.push(concern(outage, now));
    }
    concerns.extend(unlisted.map(|unlisted| unlisted.why));
    concerns.extend(api.clock_concern.borrow().clone());
    let unknown = gauges
        .states
        .iter()
        .find(|(state, _)| *state == MessageState::Unknown);
    let looked_for = gauges
        .unknown_watched
        .saturating_sub(gauges.unknown_overdue);
    let undecided = unknown.map_or(0, |(_, n)| n.saturating_sub(looked_for));
    if undecided > 0 {
        concerns.push(format!(
            "{undecided} messages ended as unknown: Twilio may have sent them; retry or leave them"
        ));
    }
    if gauges.unknown_endless > 0 {
        concerns.push(format!(
            "{} requests have been looked for in Twilio's list for days, because the looks fail or \
             something cannot be read: the log says why. Their messages are kept, however old",
            gauges.unknown_endless
        ));
    }
    let oldest = gauges
        .oldest_due_at
        .map_or(0, |due| now.since(due).as_secs());
    if let Err(error) = api.store.writable() {
        concerns.push(format!("cannot write to the database: {error}"));
    }
    Ok(Json(HealthJson {
        status: if concerns.is_empty() {
            "ok"
        } else {
            "degraded"
        }
        .to_owned(),
        concerns,
        queued: gauges.queued,
        oldest_due_seconds: oldest,
        open_attempts: gauges.open_attempts,
        unknown_attempts: gauges.unknown_watched,
        parked_reports: gauges.parked,
        database_bytes: gauges.database_bytes,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }))
}

/// An outage of the provider, in words.
fn concern(outage: &Outage, now: Timestamp) -> String {
    let whose = outage.sender.as_ref().map_or(String::new(), |name| {
        format!(" for sender {}", name.as_str())
    });
    format!(
        "Twilio has not been reached{whose} for {} s ({}; {} probes); messages wait and leave when it answers again",
        now.since(outage.since).as_secs(),
        outage.reason,
        outage.probes
    )
}
