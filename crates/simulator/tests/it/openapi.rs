//! Every response is valid by Twilio's own OpenAPI description of the Messages resource.

use hyper::Method;
use jsonschema::Validator;
use serde_json::{Map, Value, json};
use simulator::{PhoneBehavior, Settings};

use crate::caller::{Answer, Caller, PERSON, SENDER, fast, phone};

const DESCRIPTION: &str = include_str!("../fixtures/twilio_messages_openapi.json");

const MESSAGES: &str = "/2010-04-01/Accounts/{AccountSid}/Messages.json";
const MESSAGE: &str = "/2010-04-01/Accounts/{AccountSid}/Messages/{Sid}.json";
const MEDIA: &str = "/2010-04-01/Accounts/{AccountSid}/Messages/{MessageSid}/Media.json";

/// The schema of one response, as JSON Schema.
fn answer_of(path: &str, method: &str, status: &str) -> Validator {
    let description: Value = serde_json::from_str(DESCRIPTION).unwrap();
    let answers = &description["paths"][path][method]["responses"];
    let schema = &answers[status]["content"]["application/json"]["schema"];
    assert!(schema.is_object(), "{path} {method} {status} is described");
    let mut whole = as_json_schema(schema);
    let parts = description["components"]["schemas"].as_object().unwrap();
    let parts: Map<String, Value> = parts
        .iter()
        .map(|(name, part)| (name.clone(), as_json_schema(part)))
        .collect();
    whole["components"] = json!({ "schemas": parts });
    jsonschema::draft202012::options()
        .with_format("date-time-rfc-2822", is_rfc2822)
        .with_format("phone-number", |text: &str| !text.is_empty())
        .with_format("currency", |text: &str| text.len() == 3)
        // Links are relative to the API's address, which strict URIs are not.
        .with_format("uri", |text: &str| text.starts_with("/2010-04-01/"))
        .with_format("uri-map", |_: &str| true)
        .should_validate_formats(true)
        .build(&whole)
        .unwrap()
}

/// OpenAPI 3.0 says `nullable` where JSON Schema uses `type` and `enum`. Its objects also allow any
/// field and require none, which would accept `{}`: here all fields are required and no others
/// allowed.
fn as_json_schema(openapi: &Value) -> Value {
    let Some(from) = openapi.as_object() else {
        return openapi.clone();
    };
    let mut to: Map<String, Value> = Map::new();
    for (name, value) in from {
        let value = match name.as_str() {
            "properties" => value
                .as_object()
                .unwrap()
                .iter()
                .map(|(name, value)| (name.clone(), as_json_schema(value)))
                .collect(),
            "items" => as_json_schema(value),
            "type" if from.get("nullable") == Some(&json!(true)) => json!([value, "null"]),
            "enum" if from.get("nullable") == Some(&json!(true)) => {
                let mut values = value.as_array().unwrap().clone();
                values.push(Value::Null);
                json!(values)
            }
            "nullable" | "description" | "x-twilio" | "title" => continue,
            _ => value.clone(),
        };
        to.insert(name.clone(), value);
    }
    if let Some(properties) = from.get("properties").and_then(Value::as_object) {
        let names: Vec<&String> = properties.keys().collect();
        to.insert("required".to_owned(), json!(names));
        to.insert("additionalProperties".to_owned(), json!(false));
    }
    Value::Object(to)
}

/// `Thu, 24 Aug 2023 05:01:45 +0000`, with the right day of the week.
fn is_rfc2822(text: &str) -> bool {
    let form = "%a, %d %b %Y %H:%M:%S %z";
    jiff::fmt::strtime::parse(form, text).is_ok_and(|parsed| {
        parsed.to_timestamp().is_ok() && text.ends_with(" +0000") && text.len() == 31
    })
}

#[track_caller]
fn check(validator: &Validator, answer: &Answer) {
    let kind = answer.header("content-type").unwrap_or_default();
    assert!(kind.starts_with("application/json"), "{kind}");
    let json = answer.json();
    let wrong: Vec<String> = validator
        .iter_errors(&json)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}\nin {json:#}");
}

fn settings() -> Settings {
    Settings {
        phones: vec![
            phone(PERSON, PhoneBehavior::ReadsAtOnce),
            phone("+5511900000002", PhoneBehavior::Blocked),
        ],
        ..fast()
    }
}

#[tokio::test]
async fn every_kind_of_message_is_described_when_created_and_when_it_is_over() {
    let caller = Caller::start(settings()).await;
    let created = answer_of(MESSAGES, "post", "201");
    let fetched = answer_of(MESSAGE, "get", "200");
    let service = ("MessagingServiceSid", "MG00000000000000000000000000000001");
    let template = ("ContentSid", "HX00000000000000000000000000000001");
    let later = (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1)).to_string();
    let from = ("From", SENDER);
    let forms: [Vec<(&str, &str)>; 6] = [
        vec![("To", PERSON), from, ("Body", "Ola")],
        vec![("To", PERSON), service, ("Body", "Ola")],
        vec![
            ("To", PERSON),
            from,
            ("MediaUrl", "https://example.com/a.jpg"),
        ],
        vec![
            ("To", PERSON),
            from,
            template,
            ("ContentVariables", r#"{"1":"Ana"}"#),
        ],
        vec![("To", "whatsapp:+5511900000002"), from, ("Body", "Ola")],
        vec![("To", PERSON), service, ("Body", "Ola"), ("SendAt", &later)],
    ];
    let mut sids = Vec::new();
    for form in &forms {
        let answer = caller.create(form).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        check(&created, &answer);
        sids.push(answer.sid());
    }
    let scheduled = sids.last().unwrap();
    let path = caller.messages(&format!("/{scheduled}.json"));
    let canceled = caller.send(Method::POST, &path, "Status=canceled").await;
    check(&answer_of(MESSAGE, "post", "200"), &canceled);
    caller.quiet().await;
    let mut words = Vec::new();
    for sid in &sids {
        let answer = caller.fetch(sid).await;
        check(&fetched, &answer);
        words.push(answer.field("status"));
    }
    assert_eq!(
        words,
        ["read", "read", "read", "read", "failed", "canceled"]
    );
}

#[tokio::test]
async fn lists_of_messages_are_described_empty_and_on_every_page() {
    let caller = Caller::start(settings()).await;
    let listed = answer_of(MESSAGES, "get", "200");
    check(&listed, &caller.get(&caller.messages(".json")).await);
    for _ in 0..5 {
        caller.text(PERSON, None).await.sid();
    }
    let mut next = Some(caller.messages(".json?PageSize=2"));
    let mut pages = 0;
    while let Some(path) = next {
        let answer = caller.get(&path).await;
        check(&listed, &answer);
        next = answer.json()["next_page_uri"].as_str().map(str::to_owned);
        pages += 1;
    }
    assert_eq!(pages, 3);
}

#[tokio::test]
async fn lists_of_media_are_described() {
    let caller = Caller::start(settings()).await;
    let listed = answer_of(MEDIA, "get", "200");
    let none = caller.text(PERSON, None).await.sid();
    let path = caller.messages(&format!("/{none}/Media.json"));
    check(&listed, &caller.get(&path).await);
    let media = ("MediaUrl", "https://example.com/a.jpg");
    let some = caller
        .create(&[("To", PERSON), ("From", SENDER), media])
        .await
        .sid();
    assert!(some.starts_with("MM"));
    let path = caller.messages(&format!("/{some}/Media.json"));
    let answer = caller.get(&path).await;
    check(&listed, &answer);
    let json = answer.json();
    assert_eq!(json["media_list"].as_array().unwrap().len(), 1);
    assert_eq!(json["media_list"][0]["parent_sid"], some.as_str());
}

/// The checks above would be worthless if they accepted these.
#[tokio::test]
async fn wrong_answers_are_told_from_right_ones() {
    let caller = Caller::start(settings()).await;
    let created = answer_of(MESSAGES, "post", "201");
    let right = caller.text(PERSON, None).await.json();
    assert!(created.is_valid(&right));
    let wrong = [
        ("sid", json!("SM1")),
        ("sid", json!(null)),
        ("status", json!("underway")),
        ("status", json!(null)),
        ("num_media", json!(0)),
        ("error_code", json!("63016")),
        ("date_created", json!("2026-11-20T10:00:00Z")),
        ("date_created", json!("Mon, 20 Nov 2026 10:00:00 +0000")),
        ("account_sid", json!("AC1")),
        ("price_unit", json!("dollars")),
        ("direction", json!("outbound")),
        ("surprise", json!(1)),
    ];
    for (name, value) in wrong {
        let mut answer = right.clone();
        answer[name] = value.clone();
        // Of these fields, the description lets only `sid` be null.
        let allowed = name == "sid" && value.is_null();
        assert_eq!(created.is_valid(&answer), allowed, "{name} = {value}");
    }
    for name in right.as_object().unwrap().keys() {
        let mut answer = right.clone();
        answer.as_object_mut().unwrap().remove(name);
        assert!(!created.is_valid(&answer), "without {name}");
    }
}
