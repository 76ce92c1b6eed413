//! Commands for many messages: what a filter finds is canceled or tried again, one commit a request.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use delivery::sid::Sid;
use delivery::state::{State as MessageState, may_retry, may_stop};
use delivery::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::extract::{Body, read_json};
use super::field::{parse_choice, parse_time, sender_name, time_text};
use super::page::{List, cursor, parse_cursor};
use super::problem::{FieldProblem, Problem};
use super::state::Api;
use crate::store::{
    CommandCondition, CommandResult, MessageCommand, MessageFilter, SelectedMessage,
};

/// Messages that one request may change.
const MESSAGES_MAX: usize = 1_000;
/// Pages that one request looks at; each looks at a bounded number of messages.
const PAGES_MAX: usize = 20;

/// Which messages, and how many of them. A message must match every filter.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BulkCommandRequest {
    /// Only in this state. Retry: `unknown`, `held`, `failed`, `undelivered`. Cancel: `accepted`,
    /// `scheduled`, `held`.
    state: String,
    /// Accepted at or after this instant (RFC 3339). `accepted` and `scheduled` need it, or
    /// `error_code`.
    since: Option<String>,
    /// Accepted before this instant (RFC 3339); default now.
    until: Option<String>,
    /// Only with this error code.
    error_code: Option<u32>,
    /// Only from this sender.
    sender: Option<String>,
    /// Only with this template: its ContentSid.
    template: Option<String>,
    /// Count, and change nothing.
    #[serde(default)]
    dry_run: bool,
    /// `next_cursor` from the request before, with the same filter.
    cursor: Option<String>,
    /// Change at most this many: 1 to 1,000; default 1,000. A dry run does not need it.
    limit: Option<usize>,
}

/// What one request has found and done.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct BulkCommandJson {
    /// Whether it only counted.
    pub dry_run: bool,
    /// Messages that the filter found.
    pub matched: usize,
    /// Of these, the messages that it changed.
    pub affected: usize,
    /// Of these, the messages that it left: they had changed meanwhile, or allow no more attempts.
    pub skipped: usize,
    /// Messages found, by state.
    pub by_state: BTreeMap<String, u64>,
    /// Messages found, by Twilio's code; `none` without one.
    pub by_code: BTreeMap<String, u64>,
    /// Messages found, by sender.
    pub by_sender: BTreeMap<String, u64>,
    /// Messages accepted before this instant were looked at. Send it with the requests that follow, so
    /// that none finds what was accepted meanwhile.
    pub until: String,
    /// Send it as `cursor` to go on; null when everything was looked at.
    pub next_cursor: Option<String>,
}

/// Retries the messages that a filter finds, newest first, one commit a request. Send it again with
/// `cursor` until `next_cursor` is null.
#[utoipa::path(
    post, path = "/api/v1/messages/retry", operation_id = "retry_messages", tag = "messages", request_body = BulkCommandRequest,
    responses((status = 200, body = BulkCommandJson), (status = 422, body = Problem)),
)]
pub(super) async fn retry(
    State(api): State<Api>,
    headers: HeaderMap,
    Body(body): Body,
) -> Result<Json<BulkCommandJson>, Problem> {
    run(&api, MessageCommand::Retry, read_json(&headers, &body)?).await
}

/// Cancels the messages that a filter finds, newest first, one commit a request. Send it again with
/// `cursor` until `next_cursor` is null.
#[utoipa::path(
    post, path = "/api/v1/messages/cancel", operation_id = "cancel_messages", tag = "messages", request_body = BulkCommandRequest,
    responses((status = 200, body = BulkCommandJson), (status = 422, body = Problem)),
)]
pub(super) async fn cancel(
    State(api): State<Api>,
    headers: HeaderMap,
    Body(body): Body,
) -> Result<Json<BulkCommandJson>, Problem> {
    run(&api, MessageCommand::Cancel, read_json(&headers, &body)?).await
}

/// A checked filter.
struct Selection {
    condition: CommandCondition,
    until: Timestamp,
    filter: MessageFilter,
}

async fn run(
    api: &Api,
    command: MessageCommand,
    request: BulkCommandRequest,
) -> Result<Json<BulkCommandJson>, Problem> {
    let now = api.effects.clock.now();
    let Selection {
        condition,
        until,
        mut filter,
    } = check(command, &request, now)?;
    let mut json = BulkCommandJson {
        dry_run: request.dry_run,
        matched: 0,
        affected: 0,
        skipped: 0,
        by_state: BTreeMap::new(),
        by_code: BTreeMap::new(),
        by_sender: BTreeMap::new(),
        until: time_text(until),
        next_cursor: None,
    };
    for _ in 0..PAGES_MAX {
        let page = api.store.selection(filter.clone()).await?;
        count(&mut json, &page.messages);
        filter.before = page.next;
        if !request.dry_run && !page.messages.is_empty() {
            let ids = page.messages.iter().map(|message| message.id).collect();
            let results = api.store.command_if(ids, command, condition, now).await?;
            let done = |result: &&CommandResult| matches!(result, CommandResult::Done(_));
            json.affected = results.iter().filter(done).count();
            json.skipped = results.len() - json.affected;
            // What was done is answered before anything else may go wrong.
            break;
        }
        if page.next.is_none() {
            break;
        }
    }
    json.next_cursor = filter.before.map(|key| cursor(List::Commands, key));
    Ok(Json(json))
}

fn count(json: &mut BulkCommandJson, messages: &[SelectedMessage]) {
    json.matched += messages.len();
    let one_more = |counts: &mut BTreeMap<String, u64>, what: &str| match counts.get_mut(what) {
        Some(n) => *n += 1,
        None => {
            counts.insert(what.to_owned(), 1);
        }
    };
    for message in messages {
        let code = message
            .code
            .map_or_else(|| "none".to_owned(), |code| code.to_string());
        one_more(&mut json.by_state, message.state.as_str());
        one_more(&mut json.by_code, &code);
        one_more(&mut json.by_sender, &message.from);
    }
}

fn check(
    command: MessageCommand,
    request: &BulkCommandRequest,
    now: Timestamp,
) -> Result<Selection, Problem> {
    let mut problems = Vec::new();
    let mut note = |problem: FieldProblem| problems.push(problem);
    let state = state(command, &request.state).map_err(&mut note).ok();
    let since = optional(request.since.as_deref(), |text| parse_time("since", text));
    let since = since.map_err(&mut note).unwrap_or_default();
    let until = optional(request.until.as_deref(), |text| parse_time("until", text));
    let until = until.map_err(&mut note).unwrap_or_default().unwrap_or(now);
    let template = optional(request.template.as_deref(), parse_template);
    let template = template.map_err(&mut note).unwrap_or_default();
    let before = optional(request.cursor.as_deref(), |text| {
        parse_cursor(List::Commands, text)
    });
    let before = before.map_err(&mut note).unwrap_or_default();
    let limit = limit(request.limit).map_err(&mut note).unwrap_or_default();
    if since.is_some_and(|since| since >= until) {
        note(FieldProblem::new(
            "since",
            "range_invalid",
            "since must be before until, which is now when it is not given.",
        ));
    }
    if let Some(state) = state
        && state.is_waiting()
        && request.since.is_none()
        && request.error_code.is_none()
    {
        note(FieldProblem::new(
            "since",
            "filter_not_indexed",
            format!(
                "No index finds {} messages, and all that are stored would be looked at. Give \
                 since: then only those accepted since that time are.",
                state.as_str()
            ),
        ));
    }
    let (Some(state), true) = (state, problems.is_empty()) else {
        return Err(Problem::fields(problems));
    };
    let sender = request.sender.as_deref();
    Ok(Selection {
        condition: CommandCondition {
            state,
            error: request.error_code,
            since,
            until: Some(until),
        },
        until,
        filter: MessageFilter {
            state: Some(state),
            to: None,
            sender: sender.map(|name| sender_name(name).as_str().to_owned()),
            error: request.error_code,
            template,
            since,
            until: Some(until),
            before,
            limit: if request.dry_run { usize::MAX } else { limit },
        },
    })
}

fn optional<T>(
    text: Option<&str>,
    parse: impl FnOnce(&str) -> Result<T, FieldProblem>,
) -> Result<Option<T>, FieldProblem> {
    text.map(parse).transpose()
}

/// A state in which the command can do something.
fn state(command: MessageCommand, text: &str) -> Result<MessageState, FieldProblem> {
    let suits = |state: MessageState| match command {
        MessageCommand::Cancel => may_stop(state),
        MessageCommand::Retry => may_retry(state) && state != MessageState::Sending,
    };
    let state = parse_choice("state", text, MessageState::ALL, MessageState::as_str)?;
    if suits(state) {
        return Ok(state);
    }
    let suitable = MessageState::ALL.iter().copied().filter(|one| suits(*one));
    let words: Vec<_> = suitable.map(MessageState::as_str).collect();
    Err(FieldProblem::new(
        "state",
        "state_unsuitable",
        format!(
            "This command does nothing to {} messages. Give one of {}.",
            state.as_str(),
            words.join(", ")
        ),
    ))
}

fn parse_template(text: &str) -> Result<Sid, FieldProblem> {
    Sid::parse(text.trim(), &["HX"]).map_err(|_| {
        FieldProblem::new(
            "template",
            "template_invalid",
            "A template is named by its ContentSid: HX and 32 hexadecimal digits.",
        )
    })
}

fn limit(limit: Option<usize>) -> Result<usize, FieldProblem> {
    match limit.unwrap_or(MESSAGES_MAX) {
        limit @ 1..=MESSAGES_MAX => Ok(limit),
        _ => Err(FieldProblem::new(
            "limit",
            "limit_invalid",
            format!("Must be a number from 1 to {MESSAGES_MAX}."),
        )),
    }
}
