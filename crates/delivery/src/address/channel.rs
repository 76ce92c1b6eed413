//! The channel that people copy with an address: Twilio writes `whatsapp:` before each.

/// What stands before an address of WhatsApp.
pub(super) const CHANNEL: &str = "whatsapp:";

/// The text behind the channel, or all of it when none is named.
pub fn without_channel(text: &str) -> &str {
    text.strip_prefix(CHANNEL).unwrap_or(text)
}
