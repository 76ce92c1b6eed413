//! Every problem at once, and what production refuses.

use std::collections::HashMap;

use delivery::message::SenderName;

use super::parsed::SANDBOX;
use super::*;

struct Fake(HashMap<&'static str, &'static str>);

impl Environment for Fake {
    fn variable(&self, name: &str) -> Option<String> {
        self.0.get(name).map(|value| (*value).to_owned())
    }

    fn file(&self, path: &str) -> std::io::Result<String> {
        match path {
            "token" => Ok("ffffffffffffffffffffffffffffffff\n".to_owned()),
            "codes" => Ok("63013,config_alert,sender,,\n".to_owned()),
            _ => Err(std::io::ErrorKind::NotFound.into()),
        }
    }
}

fn good() -> HashMap<&'static str, &'static str> {
    HashMap::from([
        ("TWILIO_ACCOUNT_SID", "AC00000000000000000000000000000001"),
        ("TWILIO_AUTH_TOKEN", "0123456789abcdef0123456789abcdef"),
        (
            "TWILIO_WHATSAPP_FROM",
            "whatsapp:+551140000000, +551140000001",
        ),
    ])
}

fn problems(changes: &[(&'static str, &'static str)]) -> Vec<String> {
    let mut variables = good();
    variables.extend(changes.iter().copied());
    Config::read(&Fake(variables)).err().unwrap_or_default()
}

#[test]
fn the_smallest_configuration_starts_with_the_documented_defaults() {
    let config = Config::read(&Fake(good())).ok().unwrap();
    assert_eq!((config.mode, config.port), (Mode::Development, 8080));
    assert_eq!(
        config.senders,
        [
            SenderName::new("+551140000000"),
            SenderName::new("+551140000001")
        ]
    );
    assert_eq!(
        config.sender_rate.per_second(&config.senders[0]),
        Some(80.0)
    );
    assert_eq!(
        config.sender_rate.per_second(&SenderName::new(SANDBOX)),
        Some(1.0 / 3.0)
    );
    assert!(matches!(config.database.key, KeySource::BesideDatabase));
}

#[test]
fn all_problems_are_named_at_once() {
    let found = Config::read(&Fake(HashMap::from([
        ("PORT", "eighty"),
        ("BIND_ADDRESS", "everywhere"),
        ("DATABASE_URL", "postgres://x"),
        ("RECADO_MASTER_KEY", "secret"),
        ("TWILIO_ACCOUNT_SID", "AC12"),
        ("TWILIO_WHATSAPP_FROM", "11 4000"),
        ("TWILIO_API_KEY_SID", "SK00000000000000000000000000000001"),
        ("WEBHOOK_URL", "recado.example.com"),
        ("RECADO_SENDER_RATE", "-1"),
        ("TWILIO_AUTH_TOKEN_FILE", "nowhere"),
    ])))
    .err()
    .unwrap();
    for name in [
        "PORT",
        "BIND_ADDRESS",
        "DATABASE_URL",
        "RECADO_MASTER_KEY",
        "TWILIO_ACCOUNT_SID",
        "TWILIO_WHATSAPP_FROM",
        "TWILIO_API_KEY_SID",
        "WEBHOOK_URL",
        "RECADO_SENDER_RATE",
        "TWILIO_AUTH_TOKEN_FILE",
    ] {
        assert!(
            found.iter().any(|problem| problem.starts_with(name)),
            "{name}: {found:?}"
        );
    }
}

#[test]
fn repetitions_are_not_looked_for_among_messages_that_are_gone() {
    let kept = ("RECADO_KEEP_DAYS", "10");
    let found = problems(&[kept, ("RECADO_DEDUPE_SECONDS", "864001")]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("RECADO_DEDUPE_SECONDS"), "{found:?}");
    let as_long = ("RECADO_DEDUPE_SECONDS", "864000");
    assert_eq!(problems(&[kept, as_long]), Vec::<String>::new());
    let all_kept = ("RECADO_DEDUPE_SECONDS", "86400000");
    assert_eq!(problems(&[all_kept]), Vec::<String>::new());
}

#[test]
fn files_give_values_and_codes_can_be_overridden() {
    let mut variables = good();
    variables.remove("TWILIO_AUTH_TOKEN");
    variables.insert("TWILIO_AUTH_TOKEN_FILE", "token");
    variables.insert("RECADO_ERROR_CODES", "codes");
    let config = Config::read(&Fake(variables)).ok().unwrap();
    assert_eq!(
        config.signing_tokens[0].expose(),
        "ffffffffffffffffffffffffffffffff"
    );
    let rule = config
        .codes
        .rule(Some(63_013), delivery::codes::ErrorSource::Status);
    assert_eq!(rule.action, delivery::codes::Action::ConfigAlert);
}

#[test]
fn production_refuses_what_is_unsafe() {
    let safe = [
        ("RECADO_ENV", "production"),
        (
            "RECADO_MASTER_KEY",
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        ),
        (
            "WEBHOOK_URL",
            "https://recado.example.com/api/v1/whatsapp/webhook",
        ),
        (
            "STATUS_CALLBACK_URL",
            "https://recado.example.com/api/v1/whatsapp/status",
        ),
    ];
    assert_eq!(problems(&safe), Vec::<String>::new());
    for (name, value) in [
        ("TWILIO_WHATSAPP_FROM", SANDBOX),
        ("TWILIO_API_BASE_URL", "http://127.0.0.1:4010"),
        ("TWILIO_API_BASE_URL", "https://localhost:4010"),
        ("TWILIO_API_BASE_URL", "https://api.twilio.com.evil.example"),
        ("WEBHOOK_URL", "http://recado.example.com/hook"),
        ("STATUS_CALLBACK_URL", "http://recado.example.com/status"),
        ("TWILIO_AUTH_TOKEN", "12345"),
        ("RECADO_MASTER_KEY", "AAAA"),
        ("RECADO_CLOCK_SCALE", "10"),
    ] {
        let mut changes = safe.to_vec();
        changes.push((name, value));
        let found = problems(&changes);
        assert!(
            found.iter().any(|problem| problem.starts_with(name)),
            "{name}={value}: {found:?}"
        );
    }
    let found = problems(&[("RECADO_ENV", "production")]);
    for name in ["RECADO_MASTER_KEY", "WEBHOOK_URL", "STATUS_CALLBACK_URL"] {
        assert!(
            found.iter().any(|problem| problem.starts_with(name)),
            "{name}: {found:?}"
        );
    }
}
