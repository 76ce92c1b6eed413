//! Scripted servers over real sockets: what is sent, how often, and what is believed.

mod breaks;
mod questions;
mod reuse;
mod secure;
mod servers;
mod time;

use delivery::message::{Content, SenderName};
use delivery::outcome::{NotSentCause, ProviderStatus, UnknownCause};

use self::servers::*;
use super::*;
use crate::secrets::Secret;

fn create_request() -> CreateRequest {
    CreateRequest {
        to: "+5511900000001".into(),
        from: SenderName::new("+551140000000"),
        messaging_service: None,
        content: Content::Text {
            body: "Bom dia, ação!".into(),
            persistent_action: None,
        },
        // So far ahead that the form is the same whatever the time is.
        expires_at: Some(delivery::time::Timestamp::from_micros(i64::MAX)),
        correlation_id: "00ff".into(),
    }
}

fn now() -> delivery::time::Timestamp {
    Effects::real().clock.now()
}

fn sent(n: u32) -> Outcome {
    Outcome::Sent {
        sid: sid(n),
        status: ProviderStatus::Queued,
    }
}

fn not_sent(cause: NotSentCause) -> Outcome {
    Outcome::NotSent {
        cause,
        retry_after: None,
    }
}

const LOST: Outcome = Outcome::Unknown(UnknownCause::ConnectionLost);

#[tokio::test]
async fn a_request_as_twilio_wants_it() {
    let server = Server::answering(|_, _| ok_answer(1)).await;
    assert_eq!(server.twilio().create(&create_request()).await, sent(1));
    let request = String::from_utf8(server.requests().remove(0)).unwrap();
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let mut lines = head.split("\r\n");
    let path = format!("/2010-04-01/Accounts/{ACCOUNT}/Messages.json");
    assert_eq!(lines.next().unwrap(), format!("POST {path} HTTP/1.1"));
    let mut headers: Vec<_> = lines.collect();
    headers.sort_unstable();
    let basic = STANDARD.encode(format!("{ACCOUNT}:token"));
    let expected = [
        "accept: application/json".to_owned(),
        format!("authorization: Basic {basic}"),
        format!("content-length: {}", body.len()),
        "content-type: application/x-www-form-urlencoded".to_owned(),
        format!("host: {}", server.address),
        format!("user-agent: recado/{}", env!("CARGO_PKG_VERSION")),
    ];
    assert_eq!(headers, expected);
    let form = form::create_form(&create_request(), now(), Some(STATUS_CALLBACK));
    assert_eq!(body, form);
    assert!(
        body.ends_with(
            "&StatusCallback=https%3A%2F%2Fgateway.example.com%2Fcb%3Fc%3D00ff%23rc%3D3"
        )
    );
}

#[tokio::test]
async fn an_api_key_signs_in_with_its_own_sid() {
    let server = Server::answering(|_, _| ok_answer(1)).await;
    let sid = "SK00000000000000000000000000000001".to_owned();
    let mut settings = settings(server.address);
    settings.credentials = Credentials::ApiKey {
        sid: sid.clone(),
        secret: Secret::new("s:x".into()),
    };
    let twilio = Twilio::new(&settings, &Effects::real()).unwrap();
    assert_eq!(twilio.create(&create_request()).await, sent(1));
    let request = String::from_utf8(server.requests().remove(0)).unwrap();
    assert!(request.contains(&format!(
        "Basic {}\r\n",
        STANDARD.encode(format!("{sid}:s:x"))
    )));
    assert!(request.starts_with(&format!("POST /2010-04-01/Accounts/{ACCOUNT}/")));
}

#[test]
fn settings_are_checked() {
    let make = |base_url: &str, account: &str, credentials| {
        let settings = TwilioSettings::new(base_url.into(), account.into(), credentials);
        Twilio::new(&settings, &Effects::real()).err()
    };
    let token = || Credentials::AuthToken(Secret::new("token".into()));
    for good in [
        "https://api.twilio.com",
        "https://api.twilio.com/",
        "https://api.dublin.ie1.twilio.com:8443",
        "http://127.0.0.1:4010",
        "http://[::1]:4010",
        "https://10.0.0.1",
        "HTTPS://api.twilio.com",
    ] {
        assert!(make(good, ACCOUNT, token()).is_none(), "{good}");
    }
    for bad in [
        "",
        "api.twilio.com",
        "/",
        "ftp://api.twilio.com",
        "https://",
        "https://user:p@api.twilio.com",
        "https://api.twilio.com/2010-04-01",
        "https://api.twilio.com?x=1",
        "https://a b",
        "https://a:x",
        "https://a:",
        "http://127.0.0.1:99999",
    ] {
        let error = make(bad, ACCOUNT, token());
        assert!(matches!(error, Some(TwilioSettingsError::BaseUrl)), "{bad}");
    }
    for bad in [
        "",
        "AC1",
        "SK00000000000000000000000000000001",
        "AC0000000000000000000000000000000/",
    ] {
        let error = make("https://api.twilio.com", bad, token());
        assert!(
            matches!(error, Some(TwilioSettingsError::AccountSid)),
            "{bad}"
        );
    }
    let key = Credentials::ApiKey {
        sid: "AC1".into(),
        secret: Secret::new("s".into()),
    };
    let error = make("https://api.twilio.com", ACCOUNT, key);
    assert!(matches!(error, Some(TwilioSettingsError::ApiKeySid)));
}

#[test]
fn the_authorization_is_never_shown() {
    let server = settings("127.0.0.1:1".parse().unwrap());
    let shown = format!("{:?}", authorization(&server).unwrap());
    assert_eq!(shown, "Sensitive");
}
