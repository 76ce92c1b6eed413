//! The parameters of a create, checked as Twilio checks them.

use serde_json::Value;

use crate::answer::ApiError;
use crate::form::Form;
use crate::state::State;

/// Longest text, in characters (21617).
const BODY_MAX: usize = 1_600;

/// Most media files in one message (21623).
const MEDIA_MAX: usize = 10;

/// The checked parameters of a create.
pub(crate) struct CreateParams {
    pub(crate) to: String,
    pub(crate) from: Option<String>,
    pub(crate) service: Option<String>,
    /// The text, rendered when it comes from a template.
    pub(crate) body: String,
    pub(crate) media: Vec<String>,
    pub(crate) content_sid: Option<String>,
    pub(crate) content_variables: Option<String>,
    pub(crate) status_callback: Option<String>,
    pub(crate) send_at: Option<jiff::Timestamp>,
}

impl CreateParams {
    /// Reads and checks a form.
    pub(crate) fn read(state: &State, form: &Form) -> Result<Self, ApiError> {
        let to = recipient(form)?;
        let service = service(state, form)?;
        let from = sender(state, form, &to, service.is_some())?;
        let content_sid = content_sid(form)?;
        let content_variables = content_variables(form, content_sid.is_some())?;
        let media = media(form)?;
        let body = body(
            state,
            form,
            content_sid.as_deref(),
            content_variables.as_deref(),
            &media,
        )?;
        validity(form)?;
        let status_callback = status_callback(form)?;
        let send_at = schedule(state, form, service.is_some())?;
        Ok(Self {
            to,
            from,
            service,
            body,
            media,
            content_sid,
            content_variables,
            status_callback,
            send_at,
        })
    }
}

fn refuse<T>(code: u32, message: impl Into<String>) -> Result<T, ApiError> {
    Err(ApiError::new(400, code, message))
}

fn recipient(form: &Form) -> Result<String, ApiError> {
    let Some(to) = form.filled("To") else {
        return refuse(21_604, "A 'To' phone number is required.");
    };
    let number = to.strip_prefix("whatsapp:").unwrap_or(to);
    if is_e164(number) || (number.len() != to.len() && is_scoped_id(number)) {
        return Ok(to.to_owned());
    }
    refuse(
        21_211,
        format!("Invalid 'To' Phone Number: {}", masked(number)),
    )
}

fn sender(
    state: &State,
    form: &Form,
    to: &str,
    has_service: bool,
) -> Result<Option<String>, ApiError> {
    let Some(from) = form.filled("From") else {
        if has_service {
            return Ok(None);
        }
        return refuse(
            21_603,
            "A 'From' or 'MessagingServiceSid' parameter is required.",
        );
    };
    let number = from.strip_prefix("whatsapp:").unwrap_or(from);
    if from.starts_with("whatsapp:") != to.starts_with("whatsapp:") {
        return refuse(21_910, "'From' and 'To' should be of the same channel.");
    }
    if !is_e164(number) {
        return refuse(21_212, "Invalid 'From' Number");
    }
    let senders = &state.settings.senders;
    if senders.is_empty() || senders.iter().any(|known| known == number) {
        return Ok(Some(from.to_owned()));
    }
    refuse(
        63_007,
        "Twilio could not find a Channel with the specified From address",
    )
}

fn service(state: &State, form: &Form) -> Result<Option<String>, ApiError> {
    let Some(service) = form.filled("MessagingServiceSid") else {
        return Ok(None);
    };
    if !is_sid(service, "MG") {
        return refuse(21_705, "The Messaging Service Sid is invalid.");
    }
    let known = &state.settings.messaging_services;
    if known.is_empty() || known.iter().any(|sid| sid == service) {
        return Ok(Some(service.to_owned()));
    }
    Err(ApiError::new(
        404,
        21_701,
        "The Messaging Service does not exist.",
    ))
}

fn content_sid(form: &Form) -> Result<Option<String>, ApiError> {
    match form.filled("ContentSid") {
        None => Ok(None),
        Some(sid) if is_sid(sid, "HX") => Ok(Some(sid.to_owned())),
        Some(_) => refuse(21_655, "The ContentSid is invalid."),
    }
}

fn content_variables(form: &Form, has_content: bool) -> Result<Option<String>, ApiError> {
    let Some(text) = form.filled("ContentVariables") else {
        return Ok(None);
    };
    if form.filled("Body").is_some() {
        return refuse(
            35_127,
            "Body and ContentVariables cannot be provided together.",
        );
    }
    if !has_content {
        return refuse(21_654, "ContentSid is required with ContentVariables.");
    }
    let values: Option<Value> = serde_json::from_str(text).ok();
    let fine = values
        .as_ref()
        .and_then(Value::as_object)
        .is_some_and(|values| {
            values.values().all(|value| {
                value
                    .as_str()
                    .is_some_and(|text| !text.is_empty() && !text.contains(['\n', '\t']))
            })
        });
    if fine {
        return Ok(Some(text.to_owned()));
    }
    refuse(21_656, "The ContentVariables parameter is invalid.")
}

fn media(form: &Form) -> Result<Vec<String>, ApiError> {
    let media = form.all("MediaUrl");
    if media.len() > MEDIA_MAX {
        return refuse(21_623, "Number of media files exceeds allowed limit");
    }
    if media.iter().any(|url| !is_url(url)) {
        return refuse(21_620, "Invalid media URL(s)");
    }
    Ok(media.into_iter().map(str::to_owned).collect())
}

fn body(
    state: &State,
    form: &Form,
    content_sid: Option<&str>,
    variables: Option<&str>,
    media: &[String],
) -> Result<String, ApiError> {
    if let Some(sid) = content_sid {
        return Ok(rendered(state, sid, variables));
    }
    let body = form.get("Body").unwrap_or_default();
    if body.chars().count() > BODY_MAX {
        return refuse(
            21_617,
            "The concatenated message body exceeds the 1600 character limit",
        );
    }
    if body.is_empty() && media.is_empty() {
        return refuse(
            21_619,
            "A Message Body, Media URL or Content SID is required",
        );
    }
    Ok(body.to_owned())
}

/// A known template with its values filled in, or just the values of an unknown one.
fn rendered(state: &State, sid: &str, variables: Option<&str>) -> String {
    let values: serde_json::Map<String, Value> = variables
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    let template = state.inner().templates.get(sid).cloned();
    let Some(template) = template else {
        let values: Vec<&str> = values.values().filter_map(Value::as_str).collect();
        return values.join(" ");
    };
    // One pass, so that a value which looks like a placeholder is not replaced itself.
    let mut parts = template.split("{{");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let named = part
            .split_once("}}")
            .and_then(|(name, rest)| Some((values.get(name)?.as_str()?, rest)));
        match named {
            Some((value, rest)) => text.extend([value, rest]),
            None => text.extend(["{{", part]),
        }
    }
    text
}

fn validity(form: &Form) -> Result<(), ApiError> {
    match form.filled("ValidityPeriod").map(str::parse::<u32>) {
        None | Some(Ok(1..=36_000)) => Ok(()),
        Some(_) => refuse(21_624, "Invalid validity period value"),
    }
}

fn status_callback(form: &Form) -> Result<Option<String>, ApiError> {
    match form.filled("StatusCallback") {
        None => Ok(None),
        Some(url) if is_url(url) => Ok(Some(url.to_owned())),
        Some(_) => refuse(21_609, "The 'StatusCallback' URL is not a valid URL."),
    }
}

fn schedule(
    state: &State,
    form: &Form,
    has_service: bool,
) -> Result<Option<jiff::Timestamp>, ApiError> {
    let (kind, at) = (form.filled("ScheduleType"), form.filled("SendAt"));
    if kind.is_none() && at.is_none() {
        return Ok(None);
    }
    if !has_service {
        return refuse(
            35_118,
            "MessagingServiceSid is required to schedule a message",
        );
    }
    let Some(at) = at else {
        return refuse(35_111, "SendAt timestamp is missing");
    };
    let Ok(at) = at.parse::<jiff::Timestamp>() else {
        return refuse(35_114, "SendAt is not an ISO 8601 time");
    };
    let ahead = at.duration_since(state.now()).as_secs();
    if (900..=35 * 86_400).contains(&ahead) {
        return Ok(Some(at));
    }
    refuse(
        35_114,
        "SendAt must be between 15 minutes and 35 days in the future",
    )
}

fn is_e164(number: &str) -> bool {
    number.strip_prefix('+').is_some_and(|digits| {
        (7..=15).contains(&digits.len())
            && digits.bytes().all(|byte| byte.is_ascii_digit())
            && !digits.starts_with('0')
    })
}

/// `CC.` and an id, as WhatsApp gives them to people who hide their number.
fn is_scoped_id(text: &str) -> bool {
    text.split_once('.').is_some_and(|(country, id)| {
        country.len() == 2
            && country.bytes().all(|byte| byte.is_ascii_uppercase())
            && !id.is_empty()
            && id
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'.')
    })
}

/// Two letters and 32 hexadecimal digits.
pub(crate) fn is_sid(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix)
        .is_some_and(|rest| rest.len() == 32 && rest.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn is_url(text: &str) -> bool {
    let Ok(uri) = text
        .split('#')
        .next()
        .unwrap_or_default()
        .parse::<axum::http::Uri>()
    else {
        return false;
    };
    let host = uri.host().unwrap_or_default();
    matches!(uri.scheme_str(), Some("http" | "https")) && !host.is_empty() && !host.contains('_')
}

fn masked(number: &str) -> String {
    number.chars().take(3).chain("***".chars()).collect()
}
