//! The settings of `recado serve`: every problem is named at once, and production refuses what is
//! unsafe.

use serde_json::json;

use super::{ended, err, lines, out};
use crate::gateway::{Folder, run};
use crate::server::MASTER_KEY;

/// Settings with which production would start.
const PRODUCTION: [(&str, &str); 9] = [
    ("RECADO_ENV", "production"),
    ("DATABASE_URL", "sqlite:/tmp/never-opened/recado.db"),
    ("RECADO_MASTER_KEY", MASTER_KEY),
    ("TWILIO_ACCOUNT_SID", "AC00000000000000000000000000000001"),
    ("TWILIO_AUTH_TOKEN", "0123456789abcdef0123456789abcdef"),
    ("TWILIO_WHATSAPP_FROM", "+551140000000"),
    (
        "WEBHOOK_URL",
        "https://recado.example.com/api/v1/whatsapp/webhook",
    ),
    (
        "STATUS_CALLBACK_URL",
        "https://recado.example.com/api/v1/whatsapp/status",
    ),
    ("PORT", "0"),
];

/// The same with some changed; an empty value leaves a setting out.
fn production(changes: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    let mut settings = PRODUCTION.to_vec();
    for (name, value) in changes {
        settings.retain(|(known, _)| known != name);
        settings.push((name, value));
    }
    settings
}

#[test]
fn every_wrong_setting_is_named_at_once() {
    let folder = Folder::new();
    let wrong = [
        ("RECADO_ENV", "staging"),
        ("DATABASE_URL", "postgres://h/recado"),
        ("RECADO_MASTER_KEY", "short"),
        ("BIND_ADDRESS", "here"),
        ("PORT", "99999"),
        ("TWILIO_ACCOUNT_SID", "AC1"),
        ("TWILIO_API_KEY_SID", "SK00000000000000000000000000000001"),
        ("TWILIO_WHATSAPP_FROM", "11 4000-0000"),
        ("TWILIO_MESSAGING_SERVICE_SID", "MG1"),
        ("TWILIO_API_BASE_URL", "nonsense"),
        ("WEBHOOK_URL", "nonsense"),
        ("STATUS_CALLBACK_URL", "https://user@h/s"),
        ("RECADO_SENDER_RATE", "-1"),
        ("RECADO_PERSON_SECONDS", "x"),
        ("RECADO_CLOCK_SCALE", "0"),
        ("RECADO_API_RATE", "x"),
        ("RECADO_DEDUPE_SECONDS", "-1"),
        ("RECADO_DRAIN_SECONDS", "soon"),
        ("RECADO_CONNECTIONS_MAX", "0"),
        ("RECADO_ERROR_CODES", "/nowhere/codes.csv"),
        ("RECADO_LOG", "recado=loud"),
        ("RECADO_LOG_FORMAT", "xml"),
    ];
    for check in [false, true] {
        let arguments = if check {
            vec!["serve", "--check", "--json"]
        } else {
            vec!["serve"]
        };
        let output = run(&arguments, &wrong);
        ended(&output, 2);
        let problems = err(&output);
        for (name, _) in wrong.iter().chain([("TWILIO_AUTH_TOKEN", "")].iter()) {
            assert!(problems.contains(name), "{name} is not named:\n{problems}");
        }
        for line in problems.lines() {
            assert!(line.starts_with("recado: "), "{line}");
        }
        if check {
            let told = lines(&output)[0]["problems"].as_array().unwrap().len();
            assert_eq!(told, problems.lines().count());
        } else {
            assert_eq!(out(&output), "");
        }
        assert!(
            !problems.contains("short"),
            "a key is not repeated: {problems}"
        );
    }
    assert!(std::fs::read_dir(folder.0.path()).unwrap().next().is_none());
}

#[test]
fn without_settings_the_required_ones_are_named() {
    let output = run(&["serve", "--check"], &[]);
    ended(&output, 2);
    let problems = err(&output);
    for name in [
        "TWILIO_ACCOUNT_SID",
        "TWILIO_AUTH_TOKEN",
        "TWILIO_WHATSAPP_FROM",
    ] {
        assert!(problems.contains(name), "{problems}");
    }
    assert_eq!(problems.lines().count(), 3, "{problems}");
}

#[test]
fn production_takes_what_is_safe_and_refuses_each_thing_that_is_not() {
    let good = run(&["serve", "--check", "--json"], &production(&[]));
    ended(&good, 0);
    // The inbound URL has the retries that a status callback has; Twilio has no others by default.
    let inbound_url = "https://recado.example.com/api/v1/whatsapp/webhook#rc=5&rp=5xx,ct,rt";
    let said = lines(&good);
    assert_eq!(
        said,
        [json!({ "problems": [], "warnings": [], "inbound_url": inbound_url })]
    );
    let good = run(&["serve", "--check"], &production(&[]));
    ended(&good, 0);
    assert_eq!(out(&good), format!("{inbound_url}\n"));
    // With a fragment of one's own none are added, which is said when they are missing.
    for (own, few) in [
        (
            "https://recado.example.com/api/v1/whatsapp/webhook#rc=2&rp=5xx&e=sao-paulo",
            false,
        ),
        (
            "https://recado.example.com/api/v1/whatsapp/webhook#e=sao-paulo",
            true,
        ),
    ] {
        let settings = production(&[("WEBHOOK_URL", own)]);
        let good = run(&["serve", "--check"], &settings);
        ended(&good, 0);
        assert_eq!(out(&good), format!("{own}\n"));
        let said = err(&good);
        assert_eq!(said.contains("WEBHOOK_URL: what follows #"), few, "{said}");
        let good = run(&["serve", "--check", "--json"], &settings);
        let said = lines(&good)[0]["warnings"].as_array().unwrap().len();
        assert_eq!(said, usize::from(few));
    }
    for (name, value, why) in [
        ("TWILIO_WHATSAPP_FROM", "+14155238886", "sandbox"),
        (
            "TWILIO_WHATSAPP_FROM",
            "+551140000000, whatsapp:+14155238886",
            "sandbox",
        ),
        (
            "WEBHOOK_URL",
            "http://recado.example.com/api/v1/whatsapp/webhook",
            "https",
        ),
        (
            "STATUS_CALLBACK_URL",
            "http://recado.example.com/api/v1/whatsapp/status",
            "https",
        ),
        ("WEBHOOK_URL", "", "missing"),
        ("STATUS_CALLBACK_URL", "", "missing"),
        ("RECADO_MASTER_KEY", "", "master key"),
        ("RECADO_MASTER_KEY", "c2hvcnQ=", "32 random bytes"),
        (
            "RECADO_MASTER_KEY",
            "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
            "not random",
        ),
        ("TWILIO_AUTH_TOKEN", "secret", "32 characters"),
        ("TWILIO_AUTH_TOKEN_SECONDARY", "secret", "32 characters"),
        ("TWILIO_API_BASE_URL", "http://127.0.0.1:4010", "simulator"),
        ("TWILIO_API_BASE_URL", "http://localhost:4010", "simulator"),
        ("TWILIO_API_BASE_URL", "https://localhost", "simulator"),
        ("TWILIO_API_BASE_URL", "https://[::1]", "simulator"),
        (
            "TWILIO_API_BASE_URL",
            "https://api.twilio.com.example.com",
            "simulator",
        ),
        ("TWILIO_API_BASE_URL", "http://api.twilio.com", "simulator"),
        ("RECADO_CLOCK_SCALE", "100", "tests"),
    ] {
        let output = run(&["serve", "--check"], &production(&[(name, value)]));
        ended(&output, 2);
        let problems = err(&output);
        assert!(
            problems.contains(name) && problems.contains(why),
            "{name}={value}: {problems}"
        );
        assert_eq!(problems.lines().count(), 1, "{name}={value}: {problems}");
    }
    // Development takes most of these.
    let development = production(&[
        ("RECADO_ENV", "development"),
        ("TWILIO_WHATSAPP_FROM", "+14155238886"),
        ("WEBHOOK_URL", ""),
        ("STATUS_CALLBACK_URL", "http://127.0.0.1:1/s"),
        ("RECADO_MASTER_KEY", ""),
        ("TWILIO_AUTH_TOKEN", "secret"),
        ("TWILIO_API_BASE_URL", "http://127.0.0.1:4010"),
        ("RECADO_CLOCK_SCALE", "100"),
    ]);
    ended(&run(&["serve", "--check"], &development), 0);
}

#[test]
fn settings_come_from_files_and_the_variable_wins() {
    let folder = Folder::new();
    let file = |name: &str, text: &str| {
        let path = folder.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let key = file("key", &format!("{MASTER_KEY}\n"));
    let token = file("token", "0123456789abcdef0123456789abcdef\r\n");
    let settings = |changes: &[(&'static str, &'static str)]| {
        let mut settings: Vec<(&str, &str)> =
            production(&[("RECADO_MASTER_KEY", ""), ("TWILIO_AUTH_TOKEN", "")]);
        settings.extend(changes);
        settings
    };
    let mut from_files = settings(&[]);
    from_files.push(("RECADO_MASTER_KEY_FILE", &key));
    from_files.push(("TWILIO_AUTH_TOKEN_FILE", &token));
    ended(&run(&["serve", "--check"], &from_files), 0);
    let mut wins = from_files.clone();
    wins.retain(|(name, _)| *name != "RECADO_MASTER_KEY");
    wins.push(("RECADO_MASTER_KEY", "short"));
    ended(&run(&["serve", "--check"], &wins), 2);
    let mut missing = settings(&[]);
    missing.push(("RECADO_MASTER_KEY_FILE", "/nowhere/key"));
    missing.push(("TWILIO_AUTH_TOKEN_FILE", &token));
    let output = run(&["serve", "--check"], &missing);
    ended(&output, 2);
    assert!(
        err(&output).contains("RECADO_MASTER_KEY_FILE: /nowhere/key"),
        "{}",
        err(&output)
    );
}
