//! Our senders: list, pause, resume.

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::extract::PathName;
use super::field::{sender_name, time_text};
use super::problem::Problem;
use super::state::Api;

/// Our senders.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct SendersJson {
    /// Each sender.
    pub senders: Vec<SenderJson>,
}

/// One of our senders.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct SenderJson {
    /// `+E164`, or the SID of a Messaging Service.
    pub name: String,
    /// Whether it is in the configuration.
    pub configured: bool,
    /// Since when it is paused; null when it is not.
    pub paused_at: Option<String>,
    /// `operator`, or the error code that paused it.
    pub pause_reason: Option<String>,
    /// Who has paused it: `operator`; `answer`, the provider's answer to a request, which also ends
    /// with a restart; `report`, the provider's report about a message that had left; `restore`, the
    /// start with a restored database.
    pub pause_source: Option<String>,
    /// Messages that are waiting.
    pub queued: u64,
    /// Requests to the provider that are open.
    pub open: u64,
}

/// Lists our senders.
#[utoipa::path(
    get, path = "/api/v1/senders", operation_id = "list_senders", tag = "senders",
    responses((status = 200, body = SendersJson))
)]
pub(super) async fn list(State(api): State<Api>) -> Result<Json<SendersJson>, Problem> {
    let senders = api.store.senders().await?;
    let senders = senders
        .into_iter()
        .map(|view| SenderJson {
            name: view.name,
            configured: view.configured,
            paused_at: view.paused_at.map(time_text),
            pause_reason: view.pause_reason,
            pause_source: view.pause_source.map(|source| source.as_str().to_owned()),
            queued: view.queued,
            open: view.open,
        })
        .collect();
    Ok(Json(SendersJson { senders }))
}

/// Pauses a sender: its messages wait.
#[utoipa::path(
    post, path = "/api/v1/senders/{name}/pause", operation_id = "pause_sender", tag = "senders",
    params(("name" = String, Path, description = "The sender's name, as listed by `GET /api/v1/senders`.")),
    responses((status = 200, body = SendersJson), (status = 404, body = Problem)),
)]
pub(super) async fn pause(
    State(api): State<Api>,
    PathName(name): PathName,
) -> Result<Json<SendersJson>, Problem> {
    set_pause(api, &name, true).await
}

/// Resumes a sender.
#[utoipa::path(
    post, path = "/api/v1/senders/{name}/resume", operation_id = "resume_sender", tag = "senders",
    params(("name" = String, Path, description = "The sender's name, as listed by `GET /api/v1/senders`.")),
    responses((status = 200, body = SendersJson), (status = 404, body = Problem)),
)]
pub(super) async fn resume(
    State(api): State<Api>,
    PathName(name): PathName,
) -> Result<Json<SendersJson>, Problem> {
    set_pause(api, &name, false).await
}

async fn set_pause(api: Api, name: &str, paused: bool) -> Result<Json<SendersJson>, Problem> {
    let name = sender_name(name).as_str().to_owned();
    let now = api.effects.clock.now();
    if !api.store.pause_sender(name, paused, now).await? {
        return Err(Problem::not_found("sender"));
    }
    list(State(api)).await
}
