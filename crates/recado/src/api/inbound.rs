//! Inbound messages: what people write to us.

use axum::Json;
use axum::extract::State;
use delivery::event::Source;
use serde::{Deserialize, Serialize};

use super::extract::Query;
use super::field::{parse_address, time_text};
use super::page::{List, cursor, page_limit, parse_cursor};
use super::problem::Problem;
use super::state::Api;
use crate::store::{InboundQuery, InboundView};

/// Which inbound messages to list.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct InboundListQuery {
    /// Only from this person; the address may have any form.
    from: Option<String>,
    /// `next_cursor` from the previous page.
    cursor: Option<String>,
    /// 1 to 200; default 50.
    limit: Option<usize>,
}

/// Inbound messages, newest first.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct InboundPageJson {
    /// The messages.
    pub messages: Vec<InboundJson>,
    /// Send it as `cursor` to get the next page; null on the last page.
    pub next_cursor: Option<String>,
}

/// A message that a person sent to us.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct InboundJson {
    /// Twilio's SID.
    pub provider_sid: String,
    /// The person's canonical address; null when the person was erased.
    pub from: Option<String>,
    /// The sender that it was sent to.
    pub to: Option<String>,
    /// `text`, `image`, `location`, `button` …
    pub message_type: String,
    /// What it says: text, media, location, button or list.
    #[schema(value_type = Option<Object>)]
    pub content: Option<serde_json::Value>,
    /// Our message that it replies to.
    pub reply_to: Option<String>,
    /// When it was stored.
    pub received_at: String,
    /// When it was written, by Twilio's clock, to the second; null while nobody has asked.
    pub written_at: Option<String>,
    /// `callback`, or `poll` for one that was found in Twilio's list because no callback had told of
    /// it: the list shows text and media, and no buttons, places or names.
    pub source: String,
}

/// Lists inbound messages.
#[utoipa::path(
    get, path = "/api/v1/inbound", operation_id = "list_inbound", tag = "people", params(InboundListQuery),
    responses((status = 200, body = InboundPageJson))
)]
pub(super) async fn list(
    State(api): State<Api>,
    Query(query): Query<InboundListQuery>,
) -> Result<Json<InboundPageJson>, Problem> {
    let parse_before = |cursor| parse_cursor(List::Inbound, cursor);
    let parse_from = |from| parse_address("from", from);
    let before = query.cursor.as_deref().map(parse_before).transpose()?;
    let limit = page_limit(query.limit)?;
    let from = query.from.as_deref().map(parse_from).transpose()?;
    let views = api
        .store
        .inbound_messages(InboundQuery {
            from,
            before,
            limit,
        })
        .await?;
    let next = (views.len() == limit)
        .then(|| views.last().map(|view| cursor(List::Inbound, view.key)))
        .flatten();
    Ok(Json(InboundPageJson {
        messages: views.into_iter().map(inbound_json).collect(),
        next_cursor: next,
    }))
}

fn inbound_json(view: InboundView) -> InboundJson {
    let source = if view.listed {
        Source::Poll
    } else {
        Source::Callback
    };
    InboundJson {
        provider_sid: view.sid.to_string(),
        from: view
            .from
            .as_ref()
            .map(|address| address.canonical().to_owned()),
        to: view.to,
        message_type: view.message_type,
        content: view
            .payload
            .as_ref()
            .and_then(|text| serde_json::from_str(text).ok()),
        reply_to: view.reply_to.map(|id| id.to_string()),
        received_at: time_text(view.received_at),
        written_at: view.written_at.map(time_text),
        source: source.as_str().to_owned(),
    }
}
