//! What happens to messages: events as JSON, and the live stream of server-sent events in the
//! order of commits, resumable by `Last-Event-ID`.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use delivery::codes::{Codes, ErrorSource};
use delivery::event::EventKind;
use futures_util::stream::{self, Stream};
use serde::{Deserialize, Serialize};

use super::error::{ErrorJson, code_json};
use super::extract::Query;
use super::field::time_text;
use super::problem::Problem;
use super::state::Api;
use crate::store::{EventView, HistoryView};

/// Events read at once.
const PAGE: usize = 256;

/// One event of a message.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct HistoryJson {
    /// What happened, for example `message.accepted` or `message.reported`.
    pub event: String,
    /// The state after it.
    pub state: String,
    /// Where it came from: `api`, `dispatch`, `callback`, `poll`, `operator` or `recipient`.
    pub source: String,
    /// When it was committed.
    pub at: String,
    /// The number of the attempt it is about.
    pub attempt: Option<u32>,
    /// The status that Twilio reported.
    pub provider_status: Option<String>,
    /// The error that came with it.
    pub error: Option<ErrorJson>,
    /// A stable word with more detail.
    pub detail: Option<String>,
}

/// Where to start.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct StreamQuery {
    /// Start after this event, like `Last-Event-ID`; 0 for the beginning of the log. Without
    /// it, the stream starts with the next event.
    after: Option<i64>,
}

/// One event of the stream. It names no person.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct EventJson {
    /// The message it is about.
    pub message_id: String,
    /// What happened.
    #[serde(flatten)]
    pub entry: HistoryJson,
}

/// Streams events as they happen.
#[utoipa::path(
    get, path = "/api/v1/events", operation_id = "stream_events", tag = "events", params(StreamQuery),
    responses((status = 200, description = "Server-sent events; the data of each is an EventJson.", content_type = "text/event-stream", body = EventJson)),
)]
pub(super) async fn stream(
    State(api): State<Api>,
    Query(query): Query<StreamQuery>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let header = match headers.get("last-event-id").map(|value| value.to_str()) {
        Some(Ok(text)) if !text.is_empty() => Some(text.parse::<i64>().map_err(|_| {
            Problem::field(
                "Last-Event-ID",
                "event_id_invalid",
                "Must be the id of an event.",
            )
        })?),
        _ => None,
    };
    let after = match header.or(query.after) {
        Some(after) => after,
        None => api.store.last_event().await?,
    };
    let reader = Reader {
        api,
        after,
        waiting: Vec::new().into_iter(),
    };
    let events = stream::unfold(reader, |mut reader| async move {
        let event = reader.next().await?;
        Some((Ok(event), reader))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))))
}

struct Reader {
    api: Api,
    after: i64,
    waiting: std::vec::IntoIter<EventView>,
}

impl Reader {
    /// The next event; `None` when the server stops or cannot read the log. The caller reconnects
    /// and continues where it was.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(view) = self.waiting.next() {
                self.after = view.key;
                return self.event(&view);
            }
            self.api.last_event.borrow_and_update();
            let page = self.api.store.events(self.after, PAGE).await.ok()?;
            if page.is_empty() {
                let shutdown = self.api.shutdown.clone();
                tokio::select! {
                    () = shutdown.cancelled() => return None,
                    changed = self.api.last_event.changed() => changed.ok()?,
                }
            } else {
                self.waiting = page.into_iter();
            }
        }
    }

    fn event(&self, view: &EventView) -> Option<Event> {
        let json = EventJson {
            message_id: view.message.to_string(),
            entry: history_json(&view.entry, &self.api.codes),
        };
        Event::default()
            .id(view.key.to_string())
            .event(json.entry.event.clone())
            .json_data(&json)
            .ok()
    }
}

/// One entry of a history as JSON.
pub(super) fn history_json(view: &HistoryView, codes: &Codes) -> HistoryJson {
    let refused = view.kind == EventKind::AttemptRefused;
    let error = if view.code.is_some() || refused {
        let error_source = if refused {
            ErrorSource::Response
        } else {
            ErrorSource::Status
        };
        Some(code_json(view.code, error_source, codes))
    } else {
        None
    };
    HistoryJson {
        event: format!("message.{}", view.kind.as_str()),
        state: view.state.as_str().to_owned(),
        source: view.source.as_str().to_owned(),
        at: time_text(view.at),
        attempt: view.attempt,
        provider_status: view.status.map(|status| status.as_str().to_owned()),
        error,
        detail: view.detail.clone(),
    }
}
