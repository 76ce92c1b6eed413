//! Responses in Twilio's format.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::dates::rfc2822;
use crate::faults::Bodies;
use crate::inbound_record::InboundRecord;
use crate::settings::Settings;
use crate::state::Record;

/// An error of Twilio's API.
#[derive(Clone, Debug)]
pub(crate) struct ApiError {
    pub(crate) status: u16,
    pub(crate) code: u32,
    pub(crate) message: String,
}

impl ApiError {
    pub(crate) fn new(status: u16, code: u32, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = json!({
            "code": self.code,
            "message": self.message,
            "more_info": format!("https://www.twilio.com/docs/errors/{}", self.code),
            "status": self.status,
        });
        json_answer(self.status, &body)
    }
}

/// A JSON response with the headers that Twilio sends.
pub(crate) fn json_answer(status: u16, body: &Value) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, body.to_string()).into_response();
    let kind = HeaderValue::from_static("application/json;charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// A message of ours as Twilio's API shows it.
pub(crate) fn message(settings: &Settings, record: &Record, bodies: Bodies) -> Value {
    let account = &settings.account_sid;
    let truth = &record.truth;
    let uri = format!("/2010-04-01/Accounts/{account}/Messages/{}.json", truth.sid);
    let media = format!(
        "/2010-04-01/Accounts/{account}/Messages/{}/Media.json",
        truth.sid
    );
    let is_shown = match bodies {
        Bodies::All => true,
        Bodies::Null => false,
        Bodies::NullForTemplates => truth.content_sid.is_none(),
    };
    let body = if record.redacted { "" } else { &truth.body };
    json!({
        "sid": truth.sid,
        "account_sid": account,
        "messaging_service_sid": truth.messaging_service_sid,
        "from": truth.from,
        "to": truth.to,
        "body": is_shown.then_some(body),
        "status": record.status,
        "direction": "outbound-api",
        // 0 until the Messaging Service has chosen a sender; WhatsApp does not split messages.
        "num_segments": if truth.from.is_none() { "0" } else { "1" },
        "num_media": record.media.len().to_string(),
        "price": null,
        "price_unit": null,
        "error_code": record.error_code,
        "error_message": record.error_code.map(|code| format!("Error {code}")),
        "date_created": rfc2822(record.created),
        "date_updated": rfc2822(record.updated),
        "date_sent": record.sent.map(rfc2822),
        "api_version": "2010-04-01",
        "uri": uri,
        "subresource_uris": { "media": media },
    })
}

/// A message of a person as Twilio's API shows it.
pub(crate) fn inbound_message(
    settings: &Settings,
    record: &InboundRecord,
    bodies: Bodies,
) -> Value {
    let account = &settings.account_sid;
    let truth = &record.truth;
    let base = format!("/2010-04-01/Accounts/{account}/Messages/{}", truth.sid);
    let written = rfc2822(record.created);
    let body = if record.redacted { "" } else { &truth.body };
    json!({
        "sid": truth.sid,
        "account_sid": account,
        "messaging_service_sid": record.inbound.messaging_service_sid,
        "from": truth.from,
        "to": truth.to,
        "body": (bodies != Bodies::Null).then_some(body),
        "status": "received",
        "direction": "inbound",
        "num_segments": "1",
        "num_media": record.inbound.media.len().to_string(),
        "price": null,
        "price_unit": null,
        "error_code": null,
        "error_message": null,
        "date_created": written,
        "date_updated": written,
        "date_sent": written,
        "api_version": "2010-04-01",
        "uri": format!("{base}.json"),
        "subresource_uris": { "media": format!("{base}/Media.json") },
    })
}
