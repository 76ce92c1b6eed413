//! A second implementation of `X-Twilio-Signature`, to check the simulator's.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

/// The signature of a form sent to a URL.
pub(crate) fn of(url: &str, fields: &[(String, String)], token: &str) -> String {
    let sorted: BTreeMap<&String, &String> = fields.iter().map(|(n, v)| (n, v)).collect();
    assert_eq!(sorted.len(), fields.len(), "no field comes twice");
    let mut mac = Hmac::<Sha1>::new_from_slice(token.as_bytes()).unwrap();
    mac.update(url.as_bytes());
    for (name, value) in sorted {
        mac.update(name.as_bytes());
        mac.update(value.as_bytes());
    }
    STANDARD.encode(mac.finalize().into_bytes())
}

#[test]
fn agrees_with_a_published_signature() {
    let fields = [
        ("To", "+18005551212"),
        ("CallSid", "CA1234567890ABCDE"),
        ("Caller", "+14158675309"),
        ("Digits", "1234"),
        ("From", "+14158675309"),
    ];
    let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let url = "https://mycompany.com/myapp.php?foo=1&bar=2";
    assert_eq!(of(url, &fields, "12345"), "RSOYDt4T1cUTdK1PDd93/VVr8B8=");
    assert_ne!(of(url, &fields, "12346"), "RSOYDt4T1cUTdK1PDd93/VVr8B8=");
}
