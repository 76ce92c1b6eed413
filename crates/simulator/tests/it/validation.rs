//! Requests that Twilio refuses, with their status and error code.

use hyper::Method;
use simulator::Settings;

use crate::caller::{Caller, PERSON, SENDER, encoded, fast};

const SERVICE: &str = "MG00000000000000000000000000000001";
const TEMPLATE: &str = "HX00000000000000000000000000000001";
const OTHER: &str = "whatsapp:+551140000009";

type Form<'a> = Vec<(&'a str, &'a str)>;

fn settings() -> Settings {
    Settings {
        senders: vec!["+551140000000".to_owned()],
        messaging_services: vec![SERVICE.to_owned()],
        api_keys: vec![(
            "SK00000000000000000000000000000001".to_owned(),
            "open".to_owned(),
        )],
        ..fast()
    }
}

/// An accepted form, with fields removed, replaced or added.
fn with<'a>(changes: &[(&'a str, Option<&'a str>)]) -> Form<'a> {
    let mut form: Form<'a> = vec![("To", PERSON), ("From", SENDER), ("Body", "Ola")];
    for (name, value) in changes {
        form.retain(|(known, _)| known != name);
        form.extend(value.map(|value| (*name, value)));
    }
    form
}

async fn check(cases: &[(&str, Form<'_>, u16, u64)]) {
    let caller = Caller::start(settings()).await;
    for (what, form, status, code) in cases {
        let answer = caller.create(form).await;
        assert_eq!(answer.refusal(), (*status, *code), "{what}");
        let json = answer.json();
        assert_eq!(json["status"], *status, "{what}");
        let more = format!("https://www.twilio.com/docs/errors/{code}");
        assert_eq!(json["more_info"], more, "{what}");
        assert!(!answer.field("message").is_empty(), "{what}");
    }
    assert!(caller.sim.truth().is_empty(), "nothing was accepted");
    caller.create(&with(&[])).await.sid();
    assert_eq!(caller.sim.truth().len(), 1);
}

#[tokio::test]
async fn recipients() {
    check(&[
        ("no recipient", with(&[("To", None)]), 400, 21_604),
        ("empty recipient", with(&[("To", Some(""))]), 400, 21_604),
        (
            "letters",
            with(&[("To", Some("whatsapp:ana"))]),
            400,
            21_211,
        ),
        (
            "too short",
            with(&[("To", Some("whatsapp:+55119"))]),
            400,
            21_211,
        ),
        (
            "too long",
            with(&[("To", Some("whatsapp:+5511900000001234"))]),
            400,
            21_211,
        ),
        (
            "no plus",
            with(&[("To", Some("whatsapp:5511900000001"))]),
            400,
            21_211,
        ),
        (
            "leading zero",
            with(&[("To", Some("whatsapp:+0511900000001"))]),
            400,
            21_211,
        ),
        (
            "punctuation",
            with(&[("To", Some("whatsapp:+55 11 90000-0001"))]),
            400,
            21_211,
        ),
        (
            "other channel",
            with(&[("To", Some("messenger:123"))]),
            400,
            21_211,
        ),
        (
            "scoped id without prefix",
            with(&[("To", Some("BR.abc123"))]),
            400,
            21_211,
        ),
    ])
    .await;
}

#[tokio::test]
async fn senders() {
    check(&[
        ("no sender", with(&[("From", None)]), 400, 21_603),
        (
            "prefix of To only",
            with(&[("From", Some("+551140000000"))]),
            400,
            21_910,
        ),
        (
            "prefix of From only",
            with(&[("To", Some("+5511900000001"))]),
            400,
            21_910,
        ),
        (
            "bad sender",
            with(&[("From", Some("whatsapp:me"))]),
            400,
            21_212,
        ),
        (
            "unknown sender",
            with(&[("From", Some(OTHER))]),
            400,
            63_007,
        ),
        (
            "malformed service",
            with(&[("MessagingServiceSid", Some("MG1"))]),
            400,
            21_705,
        ),
        (
            "unknown service",
            with(&[(
                "MessagingServiceSid",
                Some("MG00000000000000000000000000000002"),
            )]),
            404,
            21_701,
        ),
    ])
    .await;
}

#[tokio::test]
async fn contents() {
    let long = "ã".repeat(1_601);
    let url = "https://example.com/a.jpg";
    let mut crowd = with(&[("Body", None)]);
    crowd.extend([("MediaUrl", url); 11]);
    let template = ("ContentSid", Some(TEMPLATE));
    let vars = |text| vec![("Body", None), template, ("ContentVariables", Some(text))];
    check(&[
        (
            "1,601 characters",
            with(&[("Body", Some(&long))]),
            400,
            21_617,
        ),
        ("nothing", with(&[("Body", None)]), 400, 21_619),
        ("an empty text", with(&[("Body", Some(""))]), 400, 21_619),
        (
            "no address of a medium",
            with(&[("MediaUrl", Some("a.jpg"))]),
            400,
            21_620,
        ),
        (
            "a medium by ftp",
            with(&[("MediaUrl", Some("ftp://example.com/a"))]),
            400,
            21_620,
        ),
        ("eleven media", crowd, 400, 21_623),
        (
            "malformed template",
            with(&[("ContentSid", Some("HX1"))]),
            400,
            21_655,
        ),
        (
            "variables without a template",
            with(&[("Body", None), ("ContentVariables", Some(r#"{"1":"a"}"#))]),
            400,
            21_654,
        ),
        (
            "variables beside a text",
            with(&[template, ("ContentVariables", Some(r#"{"1":"a"}"#))]),
            400,
            35_127,
        ),
        (
            "variables that are a list",
            with(&vars(r#"["a"]"#)),
            400,
            21_656,
        ),
        (
            "variables that are no JSON",
            with(&vars("1=a")),
            400,
            21_656,
        ),
        ("a number as value", with(&vars(r#"{"1":1}"#)), 400, 21_656),
        ("an empty value", with(&vars(r#"{"1":""}"#)), 400, 21_656),
        (
            "a line break in a value",
            with(&vars(r#"{"1":"a\nb"}"#)),
            400,
            21_656,
        ),
    ])
    .await;
}

#[tokio::test]
async fn validity_and_callbacks() {
    check(&[
        (
            "valid for nothing",
            with(&[("ValidityPeriod", Some("0"))]),
            400,
            21_624,
        ),
        (
            "valid too long",
            with(&[("ValidityPeriod", Some("36001"))]),
            400,
            21_624,
        ),
        (
            "valid for a word",
            with(&[("ValidityPeriod", Some("long"))]),
            400,
            21_624,
        ),
        (
            "callback without host",
            with(&[("StatusCallback", Some("/status"))]),
            400,
            21_609,
        ),
        (
            "callback by ftp",
            with(&[("StatusCallback", Some("ftp://a.example/"))]),
            400,
            21_609,
        ),
        (
            "callback to an underscore",
            with(&[("StatusCallback", Some("https://a_b.example/"))]),
            400,
            21_609,
        ),
    ])
    .await;
}

#[tokio::test]
async fn schedules() {
    let at =
        |seconds| (jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds)).to_string();
    let (hour, soon, far) = (at(3_600), at(800), at(36 * 86_400));
    let service = ("MessagingServiceSid", Some(SERVICE));
    check(&[
        (
            "scheduled without service",
            with(&[("SendAt", Some(&hour))]),
            400,
            35_118,
        ),
        (
            "scheduled without time",
            with(&[service, ("ScheduleType", Some("fixed"))]),
            400,
            35_111,
        ),
        (
            "scheduled too soon",
            with(&[service, ("SendAt", Some(&soon))]),
            400,
            35_114,
        ),
        (
            "scheduled too far",
            with(&[service, ("SendAt", Some(&far))]),
            400,
            35_114,
        ),
        (
            "scheduled by a word",
            with(&[service, ("SendAt", Some("noon"))]),
            400,
            35_114,
        ),
    ])
    .await;
}

/// Requests just inside every limit.
#[tokio::test]
async fn what_is_just_right_is_accepted() {
    let caller = Caller::start(settings()).await;
    let full = "ã".repeat(1_600);
    let mut ten = with(&[("Body", None)]);
    ten.extend([("MediaUrl", "https://example.com/a.jpg"); 10]);
    let hour = (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1)).to_string();
    let service = ("MessagingServiceSid", Some(SERVICE));
    let callback = "http://127.0.0.1:1/s?m=1#rc=0";
    let forms = [
        with(&[("Body", Some(&full))]),
        ten,
        with(&[("ValidityPeriod", Some("1"))]),
        with(&[("ValidityPeriod", Some("36000"))]),
        with(&[("From", None), service]),
        with(&[service]),
        with(&[("To", Some("whatsapp:BR.abc123"))]),
        with(&[
            ("To", Some("+5511900000001")),
            ("From", Some("+551140000000")),
        ]),
        with(&[
            service,
            ("SendAt", Some(&hour)),
            ("ScheduleType", Some("fixed")),
        ]),
        with(&[("Body", None), ("ContentSid", Some(TEMPLATE))]),
        with(&[("StatusCallback", Some(callback))]),
    ];
    for form in &forms {
        let answer = caller.create(form).await;
        assert_eq!(answer.status, 201, "{form:?}: {}", answer.text);
    }
    assert_eq!(caller.sim.truth().len(), forms.len());
}

#[tokio::test]
async fn credentials() {
    let mut caller = Caller::start(settings()).await;
    let sid = caller.text(PERSON, None).await.sid();
    let account = caller.sim.account_sid().to_owned();
    let token = caller.sim.auth_token().to_owned();
    let key = "SK00000000000000000000000000000001".to_owned();
    let refused = [
        (account.clone(), "wrong".to_owned()),
        (account.clone(), String::new()),
        (
            "AC00000000000000000000000000000002".to_owned(),
            token.clone(),
        ),
        (key.clone(), token.clone()),
        (account.clone(), "open".to_owned()),
    ];
    for login in refused {
        caller.login = login;
        for path in [
            ".json".to_owned(),
            format!("/{sid}.json"),
            format!("/{sid}/Media.json"),
        ] {
            let answer = caller.get(&caller.messages(&path)).await;
            assert_eq!(answer.refusal(), (401, 20_003), "{path} {:?}", caller.login);
            let realm = answer.header("www-authenticate").unwrap();
            assert_eq!(realm, "Basic realm=\"Twilio API\"");
        }
        let answer = caller.create(&with(&[])).await;
        assert_eq!(answer.refusal(), (401, 20_003));
    }
    assert_eq!(caller.sim.truth().len(), 1);
    for login in [(account, token), (key, "open".to_owned())] {
        caller.login = login;
        assert_eq!(caller.fetch(&sid).await.status, 200);
        let other = "/2010-04-01/Accounts/AC00000000000000000000000000000002/Messages.json";
        let answer = caller.send(Method::POST, other, &encoded(&with(&[]))).await;
        assert_eq!(answer.refusal(), (401, 20_003));
    }
    assert_eq!(caller.sim.truth().len(), 1);
}

#[tokio::test]
async fn every_answer_names_the_request() {
    let caller = Caller::start(settings()).await;
    let mut seen = std::collections::HashSet::new();
    for answer in [
        caller.text(PERSON, None).await,
        caller.create(&with(&[("To", None)])).await,
        caller.fetch("SM00000000000000000000000000000000").await,
    ] {
        let id = answer.header("twilio-request-id").unwrap();
        assert!(id.starts_with("RQ") && id.len() == 34, "{id}");
        assert!(seen.insert(id.to_owned()));
        assert_eq!(answer.header("twilio-concurrent-requests"), Some("1"));
        let seconds: f64 = answer
            .header("twilio-request-duration")
            .unwrap()
            .parse()
            .unwrap();
        assert!((0.0..5.0).contains(&seconds));
    }
}
