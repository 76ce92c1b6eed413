//! A database that was restored, copied or moved: the operator lets it send again.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::{Deserialize, Serialize};

use super::extract::{Body, read_json};
use super::field::parse_choice;
use super::problem::Problem;
use super::state::Api;
use crate::store::{RestoreView, ResumeAfter};

/// What has happened to the database.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ResumeRequest {
    /// `restore`: it was restored from a backup or copied, so what waited in it is looked for at Twilio
    /// before it leaves. `move`: it was only moved, and no other server has used it since.
    pub after: String,
}

/// What was resumed.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct ResumeJson {
    /// Senders that were paused for this reason and send again.
    pub resumed: usize,
}

/// Lets a database send again that was restored, copied or moved. Where nothing waits for it, nothing
/// changes.
#[utoipa::path(
    post, path = "/api/v1/resume", operation_id = "resume", tag = "senders", request_body = ResumeRequest,
    responses((status = 200, body = ResumeJson), (status = 422, body = Problem)),
)]
pub(super) async fn resume(
    State(api): State<Api>,
    headers: HeaderMap,
    Body(body): Body,
) -> Result<Json<ResumeJson>, Problem> {
    let request: ResumeRequest = read_json(&headers, &body)?;
    let after = parse_choice(
        "after",
        &request.after,
        ResumeAfter::ALL,
        ResumeAfter::as_str,
    )?;
    let now = api.effects.clock.now();
    let resumed = api.store.resume_after(after, now).await?;
    Ok(Json(ResumeJson { resumed }))
}

/// What the operator is told while a database waits.
pub(super) fn concern(waiting: &RestoreView) -> String {
    format!(
        "nothing is sent: this database was restored, copied or moved ({}). Make sure that no other \
         server uses it or its original, then run `recado resume --after-restore`, which looks for \
         what was waiting before it sends, or `recado resume --after-move` if it was only moved",
        waiting.reason
    )
}
