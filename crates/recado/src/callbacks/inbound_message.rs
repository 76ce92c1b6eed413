//! Inbound messages: what a person wrote to one of our senders.

use delivery::sid::Sid;

use super::form::Form;

/// Media of one message; WhatsApp sends one, Twilio's form has room for ten.
pub const MEDIA_MAX: usize = 10;

/// One inbound message. It borrows from the verified form, and has no `Debug`: nearly all of it
/// is personal data. Everything but the SID may be missing; empty fields count as missing.
#[derive(Clone, PartialEq)]
pub struct InboundMessage<'a> {
    /// Twilio's id of the message.
    pub sid: Sid,
    /// The person: `whatsapp:+E164`, or `whatsapp:CC.id` when the number is hidden.
    pub from: Option<&'a str>,
    /// Our sender: `whatsapp:+E164`.
    pub to: Option<&'a str>,
    /// The Messaging Service that the sender belongs to.
    pub messaging_service: Option<Sid>,
    /// The person's WhatsApp id: digits without `+`. Old Brazilian accounts have no ninth digit.
    pub wa_id: Option<&'a str>,
    /// The person's id at this business: `whatsapp:CC.id`.
    pub external_user_id: Option<&'a str>,
    /// The name that the person chose.
    pub profile_name: Option<&'a str>,
    /// The text; the caption of media, the file name of documents, the title of buttons.
    pub body: Option<&'a str>,
    /// `text`, `image`, `location` and so on. A hint: it is not documented.
    pub message_type: Option<&'a str>,
    /// What came with it, at most [`MEDIA_MAX`].
    pub media: Vec<Medium<'a>>,
    /// A place.
    pub location: Option<Location<'a>>,
    /// A tapped button.
    pub button: Option<Button<'a>>,
    /// A chosen item of a list.
    pub list: Option<ListItem<'a>>,
    /// The message that it answers; Twilio tells it for seven days.
    pub reply_to_sid: Option<Sid>,
    /// Whether it was forwarded.
    pub forwarded: bool,
    /// Whether it was forwarded many times.
    pub frequently_forwarded: bool,
    /// Set when Twilio itself recognised a keyword and answered it (Advanced Opt-Out).
    pub opt_out_type: Option<OptOutType>,
    /// JSON about an interactive answer.
    pub interactive_data: Option<&'a str>,
    /// JSON with the answers of a WhatsApp Flow.
    pub flow_data: Option<&'a str>,
}

/// A medium that Twilio stores.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Medium<'a> {
    /// Where Twilio stores it.
    pub url: &'a str,
    /// MIME type.
    pub content_type: Option<&'a str>,
}

/// A place that was shared.
#[derive(Clone, Copy, PartialEq)]
pub struct Location<'a> {
    /// Degrees north, -90 to 90.
    pub latitude: f64,
    /// Degrees east, -180 to 180.
    pub longitude: f64,
    /// Postal address of a named place.
    pub address: Option<&'a str>,
    /// Name of a named place.
    pub label: Option<&'a str>,
}

/// A tapped button.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Button<'a> {
    /// What stood on it.
    pub text: Option<&'a str>,
    /// What the template gave it to carry.
    pub payload: Option<&'a str>,
}

/// A chosen item of a list.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ListItem<'a> {
    /// What the list gave the item to carry.
    pub id: Option<&'a str>,
    /// What the item was called.
    pub title: Option<&'a str>,
}

/// What Twilio understood a keyword to mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptOutType {
    /// No more messages.
    Stop,
    /// Messages again.
    Start,
    /// A question about how.
    Help,
}

impl<'a> InboundMessage<'a> {
    /// Reads a verified form; `None` when it carries no SID of a message.
    pub fn read(form: &'a Form) -> Option<Self> {
        let sid = ["MessageSid", "SmsMessageSid", "SmsSid"]
            .iter()
            .find_map(|name| Sid::parse_message(form.get(name)?).ok())?;
        let text = |name| form.get_filled(name);
        let is_true = |name| {
            form.get(name)
                .is_some_and(|word| word.eq_ignore_ascii_case("true"))
        };
        let service = text("MessagingServiceSid").and_then(|sid| Sid::parse(sid, &["MG"]).ok());
        let reply_to = text("OriginalRepliedMessageSid");
        Some(Self {
            sid,
            from: text("From"),
            to: text("To"),
            messaging_service: service,
            wa_id: text("WaId"),
            external_user_id: text("ExternalUserId"),
            profile_name: text("ProfileName"),
            body: text("Body"),
            message_type: text("MessageType"),
            media: media(form),
            location: location(form),
            button: button(form),
            list: list(form),
            reply_to_sid: reply_to.and_then(|sid| Sid::parse_message(sid).ok()),
            forwarded: is_true("Forwarded") || is_true("FrequentlyForwarded"),
            frequently_forwarded: is_true("FrequentlyForwarded"),
            opt_out_type: text("OptOutType").and_then(OptOutType::from_name),
            interactive_data: text("InteractiveData"),
            flow_data: text("FlowData"),
        })
    }
}

impl OptOutType {
    /// Reads Twilio's word; `None` when it is not one of the three.
    pub fn from_name(word: &str) -> Option<Self> {
        match word {
            "STOP" => Some(Self::Stop),
            "START" => Some(Self::Start),
            "HELP" => Some(Self::Help),
            _ => None,
        }
    }
}

/// The media that are there: `NumMedia` is believed only when it says none.
fn media(form: &Form) -> Vec<Medium<'_>> {
    // Most messages have none, and need no look at ten names.
    if form.get("NumMedia") == Some("0") {
        return Vec::new();
    }
    (0..MEDIA_MAX)
        .map_while(|n| {
            let url = form.get_filled(&format!("MediaUrl{n}"))?;
            Some(Medium {
                url,
                content_type: form.get_filled(&format!("MediaContentType{n}")),
            })
        })
        .collect()
}

fn location(form: &Form) -> Option<Location<'_>> {
    let degrees = |name, limit: f64| {
        let value: f64 = form.get(name)?.parse().ok()?;
        (value.abs() <= limit).then_some(value)
    };
    Some(Location {
        latitude: degrees("Latitude", 90.0)?,
        longitude: degrees("Longitude", 180.0)?,
        address: form.get_filled("Address"),
        label: form.get_filled("Label"),
    })
}

fn button(form: &Form) -> Option<Button<'_>> {
    let (text, payload) = (
        form.get_filled("ButtonText"),
        form.get_filled("ButtonPayload"),
    );
    (text.is_some() || payload.is_some()).then_some(Button { text, payload })
}

fn list(form: &Form) -> Option<ListItem<'_>> {
    let (id, title) = (form.get_filled("ListId"), form.get_filled("ListTitle"));
    (id.is_some() || title.is_some()).then_some(ListItem { id, title })
}

#[cfg(test)]
mod tests;
