//! Draft -> Message: the one place where what a caller asks for is checked. All problems of a draft are
//! found at once, each with the field, a stable code and what to do.

use super::{
    BusinessKey, BusinessScope, Content, DedupeChoice, Kind, Message, Policy, Priority, SenderName,
    WindowChoice,
};
use crate::address::{Address, Context};
use crate::limits::{
    BODY_CHARACTERS_MAX, BUSINESS_KEY_BYTES_MAX, MEDIA_URL_BYTES_MAX, METADATA_BYTES_MAX,
    SEND_AHEAD_MAX, TEMPLATE_VALUES_CHARACTERS_MAX, TEMPLATE_VARIABLES_MAX,
    VARIABLE_NAME_CHARACTERS_MAX, VARIABLE_SPACES_IN_A_ROW_MAX,
};
use crate::sid::Sid;
use crate::time::Timestamp;

/// What a caller wrote, before anything was checked. `None` means that the field was left out.
#[derive(Clone, Default)]
pub struct Draft {
    /// The recipient as people type numbers, or as Twilio writes addresses.
    pub to: Option<String>,
    /// Free-form text, or the caption of `media_url`.
    pub body: Option<String>,
    /// SID of an approved template.
    pub content_sid: Option<String>,
    /// Names and values for the template.
    pub variables: Vec<(String, String)>,
    /// One medium.
    pub media_url: Option<String>,
    /// A place, `geo:LAT,LON` or `geo:LAT,LON|Label`; `body` then names it.
    pub persistent_action: Option<String>,
    /// One of our senders.
    pub from: Option<SenderName>,
    /// What it is for.
    pub kind: Option<Kind>,
    /// What may overtake what.
    pub priority: Option<Priority>,
    /// Not before.
    pub send_at: Option<Timestamp>,
    /// Never at or after.
    pub expires_at: Option<Timestamp>,
    /// What may happen in doubt.
    pub policy: Option<Policy>,
    /// How the window is treated.
    pub window: Option<WindowChoice>,
    /// What the message is about.
    pub business_key: Option<String>,
    /// Whose subject that is.
    pub business_scope: Option<BusinessScope>,
    /// The caller's own data as compact JSON.
    pub metadata: Option<String>,
    /// Whether repeated content is refused.
    pub dedupe: Option<DedupeChoice>,
}

/// One thing that is wrong with a draft.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The field, in the API's spelling.
    pub field: &'static str,
    /// Stable word for programs.
    pub code: &'static str,
    /// What is wrong and what to do, for people. Never contains the value itself.
    pub detail: String,
}

/// Everything that is wrong with a draft; at least one problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DraftError {
    /// The problems, in the order of the fields.
    pub problems: Vec<Problem>,
}

impl Draft {
    /// Checks everything and makes a message of it.
    ///
    /// # Errors
    /// Every problem that was found, not only the first.
    pub fn check(self, now: Timestamp) -> Result<Message, DraftError> {
        let mut problems = Problems::default();
        let to = problems.keep(check_to(self.to.as_deref()));
        let content = check_content(&self, &mut problems);
        check_times(&self, now, &mut problems);
        let business_key = check_business_key(&self, &mut problems);
        if self
            .metadata
            .as_ref()
            .is_some_and(|metadata| metadata.len() > METADATA_BYTES_MAX)
        {
            problems.add(
                "metadata",
                "metadata_too_long",
                format!("Metadata may have {METADATA_BYTES_MAX} bytes of JSON; store less of it."),
            );
        }
        let (Some(to), Some(content)) = (to, content) else {
            return Err(DraftError {
                problems: problems.found,
            });
        };
        let message = Message {
            kind: self.kind.unwrap_or(default_kind(&content)),
            to,
            sender: self.from,
            content,
            priority: self.priority.unwrap_or(Priority::Normal),
            policy: self.policy.unwrap_or(Policy::Once),
            window: self.window.unwrap_or(WindowChoice::Enforce),
            send_at: self.send_at.filter(|at| *at > now),
            expires_at: self.expires_at,
            business_key,
            metadata: self.metadata,
            dedupe: self.dedupe.unwrap_or(DedupeChoice::Refuse),
        };
        check_together(&message, &mut problems);
        if problems.found.is_empty() {
            Ok(message)
        } else {
            Err(DraftError {
                problems: problems.found,
            })
        }
    }
}

#[derive(Default)]
struct Problems {
    found: Vec<Problem>,
}

impl Problems {
    fn add(&mut self, field: &'static str, code: &'static str, detail: impl Into<String>) {
        self.found.push(Problem {
            field,
            code,
            detail: detail.into(),
        });
    }

    fn keep<T>(&mut self, result: Result<T, Problem>) -> Option<T> {
        result.map_err(|problem| self.found.push(problem)).ok()
    }
}

fn default_kind(content: &Content) -> Kind {
    if content.needs_window() {
        Kind::Service
    } else {
        Kind::Utility
    }
}

fn check_to(to: Option<&str>) -> Result<Address, Problem> {
    let Some(to) = to else {
        return Err(Problem {
            field: "to",
            code: "to_missing",
            detail: "Give the recipient, for example \"+55 85 98888-7777\".".into(),
        });
    };
    match Address::parse(to, Context::of_field(to.trim_start())) {
        Ok(parsed) => Ok(parsed.address),
        Err(rejection) => Err(Problem {
            field: "to",
            code: rejection.reason.as_str(),
            detail: rejection.reason.explain().to_owned(),
        }),
    }
}

fn check_content(draft: &Draft, problems: &mut Problems) -> Option<Content> {
    let before = problems.found.len();
    let template = draft.content_sid.is_some();
    if template && (draft.body.is_some() || draft.media_url.is_some()) {
        problems.add(
            "content_sid",
            "content_not_single",
            "Give one of body, content_sid or media_url: a template brings its own text and media.",
        );
        return None;
    }
    let with_nul = |text: &str| text.contains('\0');
    if draft.body.as_deref().is_some_and(with_nul) {
        problems.add(
            "body",
            "nul_character",
            "Take the NUL character (U+0000) out: no message can carry it.",
        );
    }
    if draft
        .variables
        .iter()
        .any(|(name, value)| with_nul(name) || with_nul(value))
    {
        problems.add(
            "variables",
            "nul_character",
            "Take the NUL character (U+0000) out: no message can carry it.",
        );
    }
    if !template && !draft.variables.is_empty() {
        problems.add(
            "variables",
            "variables_without_template",
            "Variables need content_sid: they fill the placeholders of a template.",
        );
    }
    if draft.persistent_action.is_some() && (template || draft.media_url.is_some()) {
        problems.add(
            "persistent_action",
            "persistent_action_not_allowed",
            "A place goes with body alone, not with a template or media.",
        );
    }
    let content = if let Some(sid) = &draft.content_sid {
        check_template(sid, &draft.variables, problems)
    } else if let Some(url) = &draft.media_url {
        check_media(url, draft.body.as_deref(), problems)
    } else if let Some(body) = &draft.body {
        check_text(body, draft.persistent_action.as_deref(), problems)
    } else {
        problems.add(
            "body",
            "content_missing",
            "Give one of body, content_sid (with variables) or media_url.",
        );
        None
    };
    content.filter(|_| problems.found.len() == before)
}

fn check_text(body: &str, action: Option<&str>, problems: &mut Problems) -> Option<Content> {
    check_body(body, problems);
    if action.is_some_and(|action| !is_geo(action)) {
        problems.add(
            "persistent_action",
            "persistent_action_invalid",
            "Write geo:LATITUDE,LONGITUDE or geo:LATITUDE,LONGITUDE|Label, in degrees.",
        );
    }
    Some(Content::Text {
        body: body.to_owned(),
        persistent_action: action.map(str::to_owned),
    })
}

fn check_body(body: &str, problems: &mut Problems) {
    if body.trim().is_empty() {
        problems.add(
            "body",
            "body_empty",
            "The text is empty; write at least one character.",
        );
    }
    let characters = body.chars().count();
    if characters > BODY_CHARACTERS_MAX {
        let detail = format!(
            "The text has {characters} characters and may have {BODY_CHARACTERS_MAX}; shorten it \
             or send two messages."
        );
        problems.add("body", "body_too_long", detail);
    }
}

fn check_media(url: &str, caption: Option<&str>, problems: &mut Problems) -> Option<Content> {
    if url.len() > MEDIA_URL_BYTES_MAX || !is_http_url(url) {
        problems.add(
            "media_url",
            "media_url_invalid",
            "Give an http or https URL with a host that Twilio can reach, without user name, \
             spaces or fragment.",
        );
    }
    if let Some(caption) = caption {
        check_body(caption, problems);
    }
    Some(Content::Media {
        url: url.to_owned(),
        caption: caption.map(str::to_owned),
    })
}

fn check_template(
    sid: &str,
    variables: &[(String, String)],
    problems: &mut Problems,
) -> Option<Content> {
    let Ok(content_sid) = Sid::parse(sid, &["HX"]) else {
        problems.add(
            "content_sid",
            "content_sid_invalid",
            "A template's SID is HX and 32 hexadecimal digits; copy it from the Content Template \
             Builder.",
        );
        return None;
    };
    if variables.len() > TEMPLATE_VARIABLES_MAX {
        let detail = format!("A template takes at most {TEMPLATE_VARIABLES_MAX} variables.");
        problems.add("variables", "variables_too_many", detail);
    }
    for (name, value) in variables {
        check_variable(name, value, problems);
    }
    let characters: usize = variables
        .iter()
        .map(|(_, value)| value.chars().count())
        .sum();
    if characters > TEMPLATE_VALUES_CHARACTERS_MAX {
        let detail = format!(
            "The values have {characters} characters together; WhatsApp takes \
             {TEMPLATE_VALUES_CHARACTERS_MAX} for template and values."
        );
        problems.add("variables", "variables_too_long", detail);
    }
    let mut variables = variables.to_vec();
    variables.sort();
    Some(Content::Template {
        content_sid,
        variables,
    })
}

fn check_variable(name: &str, value: &str, problems: &mut Problems) {
    let name_fits = !name.is_empty()
        && name.chars().count() <= VARIABLE_NAME_CHARACTERS_MAX
        && !name.chars().any(char::is_whitespace);
    if !name_fits {
        let detail = format!(
            "The name of a variable has 1 to {VARIABLE_NAME_CHARACTERS_MAX} characters and no \
             spaces, for example \"1\"."
        );
        problems.add("variables", "variable_name_invalid", detail);
    }
    let shown = if name_fits { name } else { "?" };
    if value.trim().is_empty() {
        let detail = format!("Variable {shown} is empty; WhatsApp refuses empty values.");
        problems.add("variables", "variable_empty", detail);
    }
    let too_wide = " ".repeat(VARIABLE_SPACES_IN_A_ROW_MAX + 1);
    if value.contains(['\n', '\r', '\t']) || value.contains(&too_wide) {
        let detail = format!(
            "Variable {shown} has a line break, a tab or more than \
             {VARIABLE_SPACES_IN_A_ROW_MAX} spaces in a row; WhatsApp refuses them (63013)."
        );
        problems.add("variables", "variable_characters", detail);
    }
}

fn check_times(draft: &Draft, now: Timestamp, problems: &mut Problems) {
    if draft
        .send_at
        .is_some_and(|at| at > now.plus(SEND_AHEAD_MAX))
    {
        problems.add(
            "send_at",
            "send_at_too_far",
            "A message can be scheduled at most 366 days ahead.",
        );
    }
    let Some(expires_at) = draft.expires_at else {
        return;
    };
    if expires_at <= now {
        problems.add(
            "expires_at",
            "expires_at_past",
            "expires_at has passed; give an instant in the future with its offset.",
        );
    } else if draft.send_at.is_some_and(|send_at| send_at >= expires_at) {
        problems.add(
            "expires_at",
            "expires_before_send",
            "expires_at is not after send_at: the message could never be sent.",
        );
    }
}

fn check_business_key(draft: &Draft, problems: &mut Problems) -> Option<BusinessKey> {
    let Some(key) = draft.business_key.as_deref() else {
        if draft.business_scope.is_some() {
            problems.add(
                "business_scope",
                "business_scope_without_key",
                "A scope needs a business_key; send both or neither.",
            );
        }
        return None;
    };
    if key.is_empty() || key.len() > BUSINESS_KEY_BYTES_MAX || key.chars().any(char::is_control) {
        let detail = format!(
            "A business key has 1 to {BUSINESS_KEY_BYTES_MAX} bytes and no control characters, \
             for example \"interview:42:reminder:v3\"."
        );
        problems.add("business_key", "business_key_invalid", detail);
        return None;
    }
    Some(BusinessKey {
        scope: draft.business_scope.unwrap_or(BusinessScope::Person),
        ..BusinessKey::parse(key)
    })
}

fn check_together(message: &Message, problems: &mut Problems) {
    if message.kind == Kind::Authentication && message.to.e164().is_none() {
        problems.add(
            "kind",
            "authentication_needs_phone",
            "Authentication templates need a phone number; this recipient is a user id.",
        );
    }
}

fn is_geo(action: &str) -> bool {
    let Some(place) = action.strip_prefix("geo:") else {
        return false;
    };
    let numbers = place.split_once('|').map_or(place, |(numbers, _)| numbers);
    let Some((latitude, longitude)) = numbers.split_once(',') else {
        return false;
    };
    let within = |text: &str, bound: f64| {
        text.trim()
            .parse::<f64>()
            .is_ok_and(|degrees| degrees.abs() <= bound)
    };
    within(latitude, 90.0) && within(longitude, 180.0)
}

fn is_http_url(url: &str) -> bool {
    let Some(rest) = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"))
    else {
        return false;
    };
    let host = rest.split(['/', '?']).next().unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    !name.is_empty()
        && !host.contains('@')
        && !url.contains('#')
        && !url.chars().any(|c| c.is_whitespace() || c.is_control())
}
