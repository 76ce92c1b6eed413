//! Callbacks as the provider would make them, written by the test itself.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use sha1::Sha1;

use crate::client::Answer;
use crate::server::TestServer;

/// `X-Twilio-Signature` of a form: HMAC-SHA1 over the URL without its fragment and the sorted
/// fields (twilio.com/docs/usage/security).
pub(crate) fn signature(url: &str, fields: &[(String, String)], token: &str) -> String {
    let mut sorted = fields.to_vec();
    sorted.sort();
    let mut text = url.split('#').next().unwrap().to_owned();
    for (name, value) in sorted {
        text.push_str(&name);
        text.push_str(&value);
    }
    let mut mac = Hmac::<Sha1>::new_from_slice(token.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

pub(crate) fn body(fields: &[(String, String)]) -> String {
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let pairs: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{}={}", encoded(name), encoded(value)))
        .collect();
    pairs.join("&")
}

/// The fields of a status report.
pub(crate) fn status_fields(sid: &str, status: &str) -> Vec<(String, String)> {
    [
        ("MessageSid", sid),
        ("SmsSid", sid),
        ("MessageStatus", status),
        ("SmsStatus", status),
        ("AccountSid", "AC00000000000000000000000000000001"),
        ("ApiVersion", "2010-04-01"),
        ("ChannelPrefix", "whatsapp"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

impl TestServer {
    /// Sends a report to the URL that the provider was given.
    pub(crate) async fn report(&self, callback_url: &str, sid: &str, status: &str) -> Answer {
        let fields = status_fields(sid, status);
        let sign = signature(callback_url, &fields, self.simulator.auth_token());
        self.callback(callback_url, body(&fields), Some(sign)).await
    }

    /// Posts a form to one of our URLs.
    pub(crate) async fn callback(
        &self,
        url: &str,
        body: impl Into<Vec<u8>>,
        signature: Option<String>,
    ) -> Answer {
        let mut headers = vec![(
            "content-type",
            "application/x-www-form-urlencoded; charset=UTF-8".to_owned(),
        )];
        headers.extend(signature.map(|signature| ("x-twilio-signature", signature)));
        let url = url.split('#').next().unwrap();
        let path = url.strip_prefix(&self.gateway.url).unwrap();
        self.request("POST", path, &headers, Some(body.into()))
            .await
    }

    pub(crate) fn status_url(&self) -> String {
        format!("{}/api/v1/whatsapp/status", self.gateway.url)
    }
}
