//! `POST …/Messages.json`: checks, acceptance and faults.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use crate::address::has_ninth_digit;
use crate::answer::{ApiError, json_answer, message};
use crate::create_params::CreateParams;
use crate::dates::rfc3339;
use crate::during::real;
use crate::faults::CreateFault;
use crate::form::Form;
use crate::net::{ResetNow, reset_after};
use crate::outages::Affected;
use crate::phone::{PhoneBehavior, PhoneScript, phone_script};
use crate::rng::Rng;
use crate::rules::Ruling;
use crate::state::{Entry, Inner, Record, Scheduled, State};
use crate::truth::TruthMessage;

/// How long free-form messages are allowed after the person's last message.
const WINDOW: Duration = Duration::from_secs(24 * 3_600);

/// How long a request that gets no answer is kept open; longer than any client waits.
const HANG: Duration = Duration::from_secs(600);

/// How much longer, in real time, a response waits for the callback that must come before it.
const EARLY_CALLBACK_MARGIN: Duration = Duration::from_millis(500);

/// Handles a create.
pub(crate) async fn create(state: &Arc<State>, form: &Form) -> Response {
    let outage = state.outage(Affected::Create, &[&sender_of(state, form.filled("From"))]);
    let params = match CreateParams::read(state, form) {
        Ok(params) => params,
        // In an outage nobody looks at what was asked.
        Err(error) => {
            let fault = outage.unwrap_or(CreateFault::None);
            return refused(&fault)
                .await
                .unwrap_or_else(|| error.into_response());
        }
    };
    let received = jiff::Timestamp::now();
    let (key, fault) = state.next_fault(&params.to, outage);
    let mut rng = Rng::of_part(state.settings.seed, key, 2);
    let (faults, latency) = {
        let inner = state.inner();
        let (from, to) = inner.faults.latency_ms;
        (inner.faults.clone(), rng.between(from, to))
    };
    tokio::time::sleep(real(latency)).await;
    if let Some(refusal) = refused(&fault).await {
        return refusal;
    }
    let accepted = accept(state, params, key, &mut rng, (received, answered(&fault)));
    let (accepted, first_status) = match accepted {
        Ok(accepted) => accepted,
        Err(error) => return error.into_response(),
    };
    if rng.happens(faults.callback_before_answer) {
        let most = state.scaled(first_status + 250.0) + EARLY_CALLBACK_MARGIN;
        // The wait is limited because the callback may be late or never come.
        drop(tokio::time::timeout(most, wait_for_first_callback(state, &accepted)).await);
    }
    answer(&fault, &accepted).await
}

/// The sender of a message: the one that was asked for, or the one that the Messaging Service
/// chooses.
fn sender_of(state: &State, from: Option<&str>) -> String {
    from.map_or_else(|| state.sender_of_service(), str::to_owned)
}

/// The response to a request that creates nothing and meets a fault: every fault means that it is
/// not answered as usual. `None` lets it go on.
pub(crate) async fn met(fault: &CreateFault) -> Option<Response> {
    match fault {
        CreateFault::Slow { ms, .. } => {
            tokio::time::sleep(real(*ms)).await;
            None
        }
        CreateFault::Garbage { body } => Some(garbage(200, body)),
        CreateFault::ResetAfter { .. } => Some(reset()),
        CreateFault::ErrorAfter { .. } | CreateFault::Hang => {
            Some(answer(fault, &Value::Null).await)
        }
        _ => refused(fault).await,
    }
}

/// An answer of success that means nothing.
fn garbage(status: u16, body: &str) -> Response {
    let mut response = json_answer(status, &Value::Null);
    *response.body_mut() = body.to_owned().into();
    response
}

/// Waits until the first callback of a message was sent, or until it is clear that there is none.
async fn wait_for_first_callback(state: &State, accepted: &Value) {
    let sid = accepted["sid"].as_str().unwrap_or_default();
    loop {
        let changed = state.changed.notified();
        let waits = {
            let inner = state.inner();
            inner.outbound(sid).is_some_and(|r| {
                let first = r.truth.statuses.first().map(|status| &status.callback);
                r.truth.status_callback.is_some() && first.is_none_or(|c| c.tries == 0 && !c.lost)
            })
        };
        if !waits {
            return;
        }
        changed.await;
    }
}

/// The response to a create that this fault keeps from being accepted; waits where the fault is
/// a wait.
async fn refused(fault: &CreateFault) -> Option<Response> {
    Some(match fault {
        CreateFault::TooMany { retry_after } => {
            let error = ApiError::new(429, 20_429, "Too Many Requests");
            let mut response = error.into_response();
            let value = retry_after.as_deref().map(HeaderValue::from_str);
            if let Some(Ok(value)) = value {
                response.headers_mut().insert(header::RETRY_AFTER, value);
            }
            response
        }
        CreateFault::ErrorBefore { status, html: true } => {
            let mut response = json_answer(*status, &Value::Null);
            let reason = response.status().canonical_reason().unwrap_or("Error");
            let body = format!("<html><body><h1>{status} {reason}</h1></body></html>");
            *response.body_mut() = body.into();
            let kind = HeaderValue::from_static("text/html");
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
            response
        }
        CreateFault::ErrorBefore {
            status,
            html: false,
        } => {
            ApiError::new(*status, 20_500, "An internal server error has occurred").into_response()
        }
        CreateFault::ResetBefore => reset(),
        CreateFault::HangBefore => {
            tokio::time::sleep(HANG).await;
            reset()
        }
        CreateFault::Slow {
            ms,
            accepted_first: false,
        } => {
            tokio::time::sleep(real(*ms)).await;
            return None;
        }
        CreateFault::Redirect => {
            let mut response = json_answer(307, &Value::Null);
            let location = HeaderValue::from_static("/elsewhere");
            response.headers_mut().insert(header::LOCATION, location);
            response
        }
        CreateFault::Refuse { status, code } => refusal(*status, *code).into_response(),
        CreateFault::ErrorAfter { .. }
        | CreateFault::ResetAfter { .. }
        | CreateFault::Hang
        | CreateFault::Garbage { .. }
        | CreateFault::Slow { .. }
        | CreateFault::None => return None,
    })
}

/// How the truth log names the response to an accepted message.
fn answered(fault: &CreateFault) -> String {
    match fault {
        CreateFault::ErrorAfter { status } => status.to_string(),
        CreateFault::ResetAfter { .. } => "reset".to_owned(),
        CreateFault::Hang => "hang".to_owned(),
        CreateFault::Garbage { .. } => "garbage".to_owned(),
        _ => "201".to_owned(),
    }
}

/// The response to an accepted message.
async fn answer(fault: &CreateFault, accepted: &Value) -> Response {
    match fault {
        CreateFault::ErrorAfter { status } => {
            ApiError::new(*status, 20_500, "An internal server error has occurred").into_response()
        }
        CreateFault::ResetAfter { after_bytes: None } => reset(),
        CreateFault::ResetAfter {
            after_bytes: Some(bytes),
        } => reset_after(201, &accepted.to_string(), *bytes),
        CreateFault::Hang => {
            tokio::time::sleep(HANG).await;
            reset()
        }
        CreateFault::Garbage { body } => garbage(201, body),
        CreateFault::Slow {
            ms,
            accepted_first: true,
        } => {
            tokio::time::sleep(real(*ms)).await;
            json_answer(201, accepted)
        }
        _ => json_answer(201, accepted),
    }
}

/// The connection is reset instead of answering.
pub(crate) fn reset() -> Response {
    let mut response = Response::default();
    response.extensions_mut().insert(ResetNow);
    response
}

/// Accepts a message, unless its phone or a rule refuses it; returns it as Twilio's API shows it,
/// and the time of its first status in milliseconds.
fn accept(
    state: &State,
    params: CreateParams,
    key: u64,
    rng: &mut Rng,
    (received, answered): (jiff::Timestamp, String),
) -> Result<(Value, f64), ApiError> {
    let mut inner = state.inner();
    let inner = &mut *inner;
    let ruling = inner.ruling(&params, &sender_of(state, params.from.as_deref()));
    let phone = inner.phones.get(&inner.person(&params.to));
    let refused = match phone {
        Some(PhoneBehavior::Refused(code)) => Some(*code),
        _ => ruling.refused,
    };
    if let Some(code) = refused {
        return Err(refusal(400, code));
    }
    let script = script_for(state, inner, &params, ruling, rng);
    let sid = format!(
        "{}{}",
        if params.media.is_empty() { "SM" } else { "MM" },
        rng.hex()
    );
    let starts = params.send_at.map_or(Duration::ZERO, |at| {
        let wait = at.duration_since(state.now());
        state.scaled(wait.as_secs_f64() * 1_000.0)
    });
    let lag = ruling.list_lag_ms.unwrap_or(inner.faults.list_lag_ms);
    let created = state.now();
    let mut record = record(&params, sid.clone(), key, created, state.scaled(lag));
    record.truth.received_at = rfc3339(received);
    record.truth.answered = answered;
    let object = message(&state.settings, &record, inner.faults.bodies);
    let index = inner.records.len();
    inner.by_sid.insert(sid, Entry::Outbound(index));
    inner.put_in_list(&params.to, created, Entry::Outbound(index));
    inner.records.push(record);
    let first = schedule_statuses(state, inner, (index, starts), &params, script, rng);
    Ok((object, first))
}

/// Schedules what happens to a message, which begins after a time; returns the time of its first
/// status in milliseconds.
fn schedule_statuses(
    state: &State,
    inner: &mut Inner,
    (message, starts): (usize, Duration),
    params: &CreateParams,
    script: PhoneScript,
    rng: &mut Rng,
) -> f64 {
    let mut first = None;
    let queued = params.service.is_some().then_some((30.0, "queued", None));
    for (after, status, code) in queued.into_iter().chain(script.statuses.iter().copied()) {
        first.get_or_insert(after);
        let scheduled = Scheduled::Status {
            message,
            status,
            code,
        };
        state.schedule(inner, starts + state.scaled(after), scheduled);
    }
    if let Some(text) = script.answer {
        let after = script.statuses.last().map_or(0.0, |(after, ..)| *after);
        let after = after + rng.between(1_000.0, 8_000.0);
        let scheduled = Scheduled::Answer { message, text };
        state.schedule(inner, starts + state.scaled(after), scheduled);
    }
    first.unwrap_or_default()
}

fn record(
    params: &CreateParams,
    sid: String,
    key: u64,
    created: jiff::Timestamp,
    lag: Duration,
) -> Record {
    let status = match (params.send_at, &params.service) {
        (Some(_), _) => "scheduled",
        (None, Some(_)) => "accepted",
        (None, None) => "queued",
    };
    Record {
        truth: TruthMessage {
            sid,
            to: params.to.clone(),
            from: params.from.clone(),
            messaging_service_sid: params.service.clone(),
            body: params.body.clone(),
            content_sid: params.content_sid.clone(),
            content_variables: params.content_variables.clone(),
            status_callback: params.status_callback.clone(),
            received_at: String::new(),
            accepted_at: rfc3339(jiff::Timestamp::now()),
            answered: String::new(),
            statuses: Vec::new(),
        },
        key,
        created,
        listed_from: Instant::now() + lag,
        status,
        error_code: None,
        media: params.media.clone(),
        redacted: false,
        deleted: false,
        updated: created,
        sent: None,
    }
}

/// A refusal with one of Twilio's codes.
fn refusal(status: u16, code: u32) -> ApiError {
    let text = format!("The request was refused with {code}");
    ApiError::new(status, code, text)
}

/// What happens to a message, from the rules, the phone's behavior and the 24-hour window.
fn script_for(
    state: &State,
    inner: &mut Inner,
    params: &CreateParams,
    ruling: Ruling,
    rng: &mut Rng,
) -> PhoneScript {
    let who = inner.person(&params.to);
    let known = inner.phones.get(&who).cloned();
    let mut behavior = known.unwrap_or_else(|| PhoneBehavior::drawn(rng));
    if let Some(code) = ruling.fails {
        behavior = PhoneBehavior::Fails(code);
    } else if let Some(code) = ruling.undelivered {
        behavior = PhoneBehavior::Undelivered(code);
    }
    let first_time =
        behavior == PhoneBehavior::LimitedOnce && inner.limited_before.insert(who.clone());
    let open = inner
        .last_inbound
        .get(&who)
        .is_some_and(|at| at.elapsed() < WINDOW);
    let mut script = phone_script(&behavior, has_ninth_digit(&params.to), first_time, rng);
    if state.settings.window_enforced && params.content_sid.is_none() && !open {
        // A free-form message outside the window is accepted and fails later.
        script.statuses.truncate(1);
        if let Some((_, status, code)) = script.statuses.first_mut() {
            (*status, *code) = ("failed", code.or(Some(63_016)));
        }
        script.answer = None;
    }
    script
}
