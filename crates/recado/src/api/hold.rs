//! Holds: who waits because of what the provider said, and lifting them.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use delivery::hold::HoldScope;
use delivery::row::HoldRow;
use serde::{Deserialize, Serialize};

use super::extract::{PathName, Query};
use super::field::{parse_choice, time_text};
use super::page::{List, cursor, page_limit, parse_cursor};
use super::problem::Problem;
use super::state::Api;
use crate::store::{HoldFilter, HoldView};

/// Which holds to list.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct HoldListQuery {
    /// Only of this scope: `recipient`, `template`, `sender` or `account`.
    scope: Option<String>,
    /// `next_cursor` from the previous page.
    cursor: Option<String>,
    /// 1 to 200; default 50.
    limit: Option<usize>,
}

/// Holds that are in effect, newest first.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct HoldPageJson {
    /// The holds.
    pub holds: Vec<HoldJson>,
    /// Send it as `cursor` to get the next page; null on the last page.
    pub next_cursor: Option<String>,
}

/// A hold: messages wait because of what the provider said about one of them.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct HoldJson {
    /// Its id, by which it is lifted.
    pub id: i64,
    /// What is held: `recipient`, `template`, `sender` or `account`.
    pub scope: String,
    /// The only kind of message that is held; null when all kinds are.
    pub kind: Option<String>,
    /// The sender, when one is held.
    pub sender: Option<String>,
    /// The ContentSid of the template, when one is held.
    pub content_sid: Option<String>,
    /// The person's canonical address, when one is held; null also when the person was erased.
    pub to: Option<String>,
    /// Twilio's error code.
    pub code: Option<u32>,
    /// When it began.
    pub since: String,
    /// When it ends by itself; null when it lasts until it is lifted.
    pub until: Option<String>,
    /// Its place in a row of holds of the same, from 1; each is twice as long as the one before.
    pub step: u32,
    /// The message that met the code.
    pub message_id: Option<String>,
    /// What to do about it.
    pub advice: String,
}

/// Lists the holds that are in effect.
#[utoipa::path(
    get, path = "/api/v1/holds", operation_id = "list_holds", tag = "senders", params(HoldListQuery),
    responses((status = 200, body = HoldPageJson), (status = 422, body = Problem))
)]
pub(super) async fn list(
    State(api): State<Api>,
    Query(query): Query<HoldListQuery>,
) -> Result<Json<HoldPageJson>, Problem> {
    let parse_scope = |text| parse_choice("scope", text, HoldScope::ALL, HoldScope::as_str);
    let parse_before = |cursor| parse_cursor(List::Holds, cursor);
    let page = api
        .store
        .holds(HoldFilter {
            now: api.effects.clock.now(),
            scope: query.scope.as_deref().map(parse_scope).transpose()?,
            before: query.cursor.as_deref().map(parse_before).transpose()?,
            limit: page_limit(query.limit)?,
        })
        .await?;
    Ok(Json(HoldPageJson {
        next_cursor: page.next.map(|key| cursor(List::Holds, key)),
        holds: page.holds.into_iter().map(hold_json).collect(),
    }))
}

/// Lifts a hold: what waits for it is due again.
#[utoipa::path(
    delete, path = "/api/v1/holds/{id}", operation_id = "lift_hold", tag = "senders",
    params(("id" = String, Path, description = "The hold's id, as listed by `GET /api/v1/holds`.")),
    responses((status = 204, description = "It is lifted."), (status = 404, body = Problem)),
)]
pub(super) async fn lift(
    State(api): State<Api>,
    PathName(id): PathName,
) -> Result<StatusCode, Problem> {
    let id: i64 = id.parse().map_err(|_| Problem::not_found("hold"))?;
    let now = api.effects.clock.now();
    if api.store.lift_hold(HoldRow(id), now).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Problem::not_found("hold"))
    }
}

/// What the operator should know of holds that concern more than one person, in words.
pub(super) async fn concerns(api: &Api) -> Result<Vec<String>, Problem> {
    let mut concerns = Vec::new();
    for scope in [HoldScope::Account, HoldScope::Sender, HoldScope::Template] {
        let filter = HoldFilter {
            now: api.effects.clock.now(),
            scope: Some(scope),
            before: None,
            limit: CONCERNS_OF_A_SCOPE_MAX,
        };
        let page = api.store.holds(filter).await?;
        concerns.extend(page.holds.iter().map(concern));
        if page.next.is_some() {
            let scope = scope.as_str();
            concerns.push(format!("more holds of the scope {scope} are in effect"));
        }
    }
    Ok(concerns)
}

/// Concerns of one scope that are told; the list of holds has the rest.
const CONCERNS_OF_A_SCOPE_MAX: usize = 10;

fn concern(view: &HoldView) -> String {
    let what = match view.scope {
        HoldScope::Recipient => "a person".to_owned(),
        HoldScope::Template => format!("template {}", view.template.as_deref().unwrap_or("?")),
        HoldScope::Sender => format!("sender {}", view.sender.as_deref().unwrap_or("?")),
        HoldScope::Account => "the account".to_owned(),
    };
    let code = view
        .code
        .map_or_else(String::new, |code| format!(": {code}"));
    let until = match view.until {
        Some(until) => format!("until {}", time_text(until)),
        None => "until it is lifted".to_owned(),
    };
    format!("{what} is held {until}{code}; {}", advice(view))
}

fn advice(view: &HoldView) -> String {
    let lift = format!("recado holds lift {}", view.row);
    match (view.scope, view.until) {
        (HoldScope::Template, None) => format!(
            "correct the template at Twilio and lift the hold (`{lift}`), or cancel what waits for it"
        ),
        (_, None) => format!("correct the cause at Twilio and lift the hold (`{lift}`)"),
        (_, Some(_)) => {
            format!("it is tried again then; lift it earlier when the limit is gone (`{lift}`)")
        }
    }
}

fn hold_json(view: HoldView) -> HoldJson {
    HoldJson {
        id: view.row.0,
        scope: view.scope.as_str().to_owned(),
        kind: view.kind.map(|kind| kind.as_str().to_owned()),
        advice: advice(&view),
        sender: view.sender,
        content_sid: view.template,
        to: view
            .recipient
            .as_ref()
            .map(|address| address.canonical().to_owned()),
        code: view.code,
        since: time_text(view.since),
        until: view.until.map(time_text),
        step: view.step.saturating_add(1),
        message_id: view.message.map(|id| id.to_string()),
    }
}
