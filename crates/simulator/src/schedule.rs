//! Performs what was scheduled, at its time: statuses, callbacks, answers of people.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::callback::Call;
use crate::dates::rfc3339;
use crate::inbound::{self, user_fields};
use crate::inbound_record::Inbound;
use crate::rng::Rng;
use crate::state::{Inner, Scheduled, State};
use crate::truth::{TruthCallback, TruthMessage, TruthStatus};

/// Performs what is due until it is stopped.
pub(crate) async fn run(state: Arc<State>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let changed = state.changed.notified();
        let (due, next) = state.take_due();
        let idle = due.is_empty();
        for (generation, scheduled) in due {
            // Statuses are taken right here, in order; everything that calls out gets its own task.
            if let Scheduled::Status {
                message,
                status,
                code,
            } = scheduled
            {
                take_status(&state, generation, message, status, code);
                state.done();
                continue;
            }
            let task = Arc::clone(&state);
            let stop = stop.clone();
            state.tasks.spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = perform(&task, generation, scheduled) => {}
                }
                task.done();
            });
        }
        if !idle {
            continue;
        }
        let next = next.map_or_else(
            || tokio::time::Instant::now() + std::time::Duration::from_secs(3_600),
            tokio::time::Instant::from_std,
        );
        tokio::select! {
            () = stop.cancelled() => {}
            () = changed => {}
            () = tokio::time::sleep_until(next) => {}
        }
    }
}

async fn perform(state: &Arc<State>, generation: u64, scheduled: Scheduled) {
    match scheduled {
        Scheduled::Status { .. } => {}
        Scheduled::Callback {
            message,
            index,
            forged,
        } => {
            send_callback(state, generation, (message, index), forged).await;
        }
        Scheduled::Inbound { message } => {
            inbound::tell(state, generation, message).await;
        }
        Scheduled::Answer { message, text } => {
            let from = {
                let mut inner = state.inner();
                inner
                    .record_of(generation, message)
                    .map(|r| (r.truth.to.clone(), r.truth.from.clone()))
            };
            let Some((from, to)) = from else { return };
            let inbound = Inbound {
                from,
                to,
                body: Some(text),
                ..Inbound::default()
            };
            inbound::deliver(state, inbound).await;
        }
    }
}

fn take_status(
    state: &State,
    generation: u64,
    message: usize,
    status: &'static str,
    code: Option<u32>,
) {
    let mut inner = state.inner();
    let record = inner.record_of(generation, message);
    if record.is_none_or(|r| matches!(r.status, "canceled" | "failed")) {
        return;
    }
    set_status(state, &mut inner, message, status, code);
}

/// Gives a message a status, and schedules the callback with its faults.
pub(crate) fn set_status(
    state: &State,
    inner: &mut Inner,
    message: usize,
    status: &'static str,
    code: Option<u32>,
) {
    let now = state.now();
    let Some(record) = inner.records.get_mut(message) else {
        return;
    };
    record.status = status;
    record.error_code = code;
    record.updated = now;
    if status == "sent" {
        record.sent = Some(now);
    }
    if record.truth.from.is_none() {
        record.truth.from = Some(state.sender_of_service());
    }
    let index = record.truth.statuses.len();
    let key = record.key;
    record.truth.statuses.push(TruthStatus {
        status: status.to_owned(),
        at: rfc3339(jiff::Timestamp::now()),
        error_code: code,
        callback: TruthCallback::default(),
    });
    if record.truth.status_callback.is_some() {
        schedule_callback(state, inner, (message, index), key);
    }
}

fn schedule_callback(state: &State, inner: &mut Inner, at: (usize, usize), key: u64) {
    let (message, index) = at;
    let part = u64::try_from(index).unwrap_or_default();
    let mut rng = Rng::of_part(state.settings.seed, key, 16 + part);
    let faults = inner.faults.clone();
    let lost = rng.happens(faults.callback_lost);
    let late = rng.happens(faults.callback_late);
    let doubled = rng.happens(faults.callback_doubled);
    // All callbacks of a message are reordered, or none: this draw does not depend on the status.
    let mut of_message = Rng::of_part(state.settings.seed, key, 1);
    let reordered = of_message.happens(faults.callback_reordered);
    let forged = rng.happens(faults.callback_forged);
    if lost {
        if let Some(status) = inner
            .records
            .get_mut(message)
            .and_then(|r| r.truth.statuses.get_mut(index))
        {
            status.callback.lost = true;
        }
        return;
    }
    let mut after = rng.between(5.0, 60.0);
    if late {
        after += faults.callback_late_ms;
    }
    if reordered {
        // The first callback is sent after the second, whose status follows within two seconds; the
        // order of the others is left to the draw.
        let (low, high) = if index == 0 {
            (4_000.0, 6_000.0)
        } else {
            (0.0, 2_000.0)
        };
        after += rng.between(low, high);
    }
    let callback = |forged| Scheduled::Callback {
        message,
        index,
        forged,
    };
    state.schedule(inner, state.scaled(after), callback(false));
    if doubled {
        state.schedule(
            inner,
            state.scaled(after + rng.between(1.0, 500.0)),
            callback(false),
        );
    }
    if forged {
        state.schedule(inner, state.scaled(after), callback(true));
    }
}

/// Sends the callback of one status.
async fn send_callback(state: &State, generation: u64, at: (usize, usize), forged: bool) {
    let (message, index) = at;
    let prepared = {
        let mut inner = state.inner();
        let told = inner.record_of(generation, message).and_then(|record| {
            let status = record.truth.statuses.get(index)?;
            let url = record.truth.status_callback.clone()?;
            Some((url, record.truth.clone(), status.clone(), record.key))
        });
        told.map(|(url, message, status, key)| {
            let mut fields = fields(state, &message, &status);
            fields.extend(user_fields(inner.user(&message.to)));
            (url, fields, key)
        })
    };
    let Some((url, fields, key)) = prepared else {
        return;
    };
    let mut rng = Rng::of_part(
        state.settings.seed,
        key,
        1_000 + u64::try_from(index).unwrap_or_default(),
    );
    let token = if forged {
        "forged"
    } else {
        state.settings.auth_token.as_str()
    };
    let call = Call {
        url: &url,
        fields,
        token,
        idempotency: rng.hex(),
    };
    let result = state.caller.send(&call).await;
    let answered = result.last().and_then(|last| last.answered);
    let tries = u32::try_from(result.len()).unwrap_or(u32::MAX);
    let mut inner = state.inner();
    let status = inner
        .record_of(generation, message)
        .and_then(|r| r.truth.statuses.get_mut(index));
    if let (Some(status), false) = (status, forged) {
        status.callback.tries += tries;
        status.callback.answered = answered;
    }
}

/// The fields of a status callback, in Twilio's order.
fn fields(
    state: &State,
    message: &TruthMessage,
    status: &TruthStatus,
) -> Vec<(&'static str, String)> {
    let mut fields = Vec::with_capacity(16);
    let event = match status.status.as_str() {
        "delivered" => Some("DELIVERED"),
        "read" => Some("READ"),
        "undelivered" => Some("UNDELIVERED"),
        _ => None,
    };
    fields.extend(event.map(|event| ("EventType", event.to_owned())));
    if let Some(code) = status.error_code {
        fields.push(("ErrorCode", code.to_string()));
    }
    fields.push(("SmsSid", message.sid.clone()));
    fields.push(("SmsStatus", status.status.clone()));
    fields.push(("MessageStatus", status.status.clone()));
    let to = message.to.strip_prefix("whatsapp:").unwrap_or(&message.to);
    fields.push(("ChannelToAddress", to.to_owned()));
    fields.push(("To", message.to.clone()));
    fields.push(("ChannelPrefix", "whatsapp".to_owned()));
    if let Some(service) = &message.messaging_service_sid {
        fields.push(("MessagingServiceSid", service.clone()));
    }
    fields.push(("MessageSid", message.sid.clone()));
    fields.push(("AccountSid", state.settings.account_sid.clone()));
    if let Some(code) = status.error_code {
        fields.push((
            "ChannelStatusMessage",
            format!("The channel reported {code}"),
        ));
    }
    if status.status == "sent" {
        fields.push((
            "StructuredMessage",
            message.content_sid.is_some().to_string(),
        ));
    }
    if let Some(from) = &message.from {
        fields.push(("From", from.clone()));
    }
    fields.push(("ApiVersion", "2010-04-01".to_owned()));
    fields.push((
        "ChannelInstallSid",
        "XE00000000000000000000000000000001".to_owned(),
    ));
    fields
}
