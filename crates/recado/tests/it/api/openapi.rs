//! The description of the API: whole, valid, and true.

use std::collections::BTreeSet;

use serde_json::Value;

use super::headers;
use crate::server::TestServer;

const METHODS: [&str; 7] = ["get", "put", "post", "delete", "patch", "head", "options"];

/// Routes that are on purpose not described: the description itself, and the two for Twilio,
/// whose description is Twilio's.
const NOT_DESCRIBED: [(&str, &str); 5] = [
    ("get", "/api/v1/openapi.json"),
    ("get", "/api/v1/whatsapp/status"),
    ("post", "/api/v1/whatsapp/status"),
    ("get", "/api/v1/whatsapp/webhook"),
    ("post", "/api/v1/whatsapp/webhook"),
];

async fn document() -> (TestServer, Value) {
    let server = TestServer::start().await;
    let answer = server
        .request("GET", "/api/v1/openapi.json", &[], None)
        .await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let document = answer.json();
    (server, document)
}

fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            assert!(METHODS.contains(&method.as_str()), "{path} {method}");
            found.push((method.clone(), path.clone(), operation.clone()));
        }
    }
    found
}

/// Every `$ref` of the document points to something.
fn references(value: &Value, document: &Value) -> usize {
    match value {
        Value::Object(fields) => {
            let own = fields
                .get("$ref")
                .and_then(Value::as_str)
                .map_or(0, |place| {
                    let pointer = place.strip_prefix('#').unwrap();
                    assert!(document.pointer(pointer).is_some(), "{place} is missing");
                    1
                });
            own + fields
                .values()
                .map(|field| references(field, document))
                .sum::<usize>()
        }
        Value::Array(items) => items.iter().map(|item| references(item, document)).sum(),
        _ => 0,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_is_openapi_3_1_and_has_not_changed_unseen() {
    let (_server, mut document) = document().await;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."));
    for field in ["title", "version"] {
        assert!(!document["info"][field].as_str().unwrap().is_empty());
    }
    assert!(references(&document, &document) > 20);
    let mut names = BTreeSet::new();
    for (method, path, operation) in operations(&document) {
        let at = format!("{method} {path}");
        let id = operation["operationId"].as_str().unwrap().to_owned();
        assert!(names.insert(id), "{at}: two operations of one name");
        assert!(
            operation["summary"]
                .as_str()
                .is_some_and(|text| text.len() > 5),
            "{at}"
        );
        let responses = operation["responses"].as_object().unwrap();
        assert!(!responses.is_empty(), "{at}");
        for (status, response) in responses {
            assert!(status.parse::<u16>().is_ok(), "{at}");
            assert!(response["description"].is_string(), "{at} {status}");
            // Problems have their own media type.
            if status.starts_with('4') || status.starts_with('5') {
                let kinds: Vec<_> = response["content"].as_object().unwrap().keys().collect();
                assert_eq!(kinds, ["application/problem+json"], "{at} {status}");
            }
        }
        parameters(&at, &path, &operation);
        if path.starts_with("/api/") {
            assert!(operation["security"][0]["key"].is_array(), "{at}");
            let mut wanted = vec!["401", "403", "429", "503"];
            if operation["requestBody"].is_object() {
                wanted.extend(["400", "413", "415", "422"]);
            }
            if operation["parameters"].to_string().contains("\"query\"") {
                wanted.push("422");
            }
            for status in wanted {
                assert!(
                    responses.contains_key(status),
                    "{at} does not describe {status}"
                );
            }
        }
    }
    assert_eq!(
        document["components"]["securitySchemes"]["key"]["scheme"],
        "bearer"
    );
    document["info"]["version"] = "[version]".into();
    insta::with_settings!({ snapshot_path => "../snapshots", prepend_module_to_snapshot => false }, {
        insta::assert_json_snapshot!("openapi", document);
    });
}

/// The names in the path are described as such, and everything else is in the query or a header.
fn parameters(at: &str, path: &str, operation: &Value) {
    let empty = Vec::new();
    let parameters = operation["parameters"].as_array().unwrap_or(&empty);
    let of = |place: &str| -> BTreeSet<&str> {
        parameters
            .iter()
            .filter(|parameter| parameter["in"] == place)
            .map(|parameter| parameter["name"].as_str().unwrap())
            .collect()
    };
    let in_path: BTreeSet<&str> = path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
        .collect();
    assert_eq!(of("path"), in_path, "{at}");
    for parameter in parameters {
        if parameter["in"] == "path" {
            assert_eq!(parameter["required"], true, "{at}");
        }
        assert!(parameter["schema"].is_object(), "{at} {parameter}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_described_answers() {
    let (server, document) = document().await;
    for (method, path, _) in operations(&document) {
        let path = path
            .replace("{id}", "0198c7d0-0000-7000-8000-000000000000")
            .replace("{name}", "nobody");
        if path == "/api/v1/events" {
            continue;
        }
        let method = method.to_uppercase();
        let answer = server
            .request(&method, &path, &headers(&server.key), None)
            .await;
        if answer.status == 404 {
            assert_eq!(answer.json()["code"], "not_found", "{method} {path}");
        }
        assert!(
            answer.status != 405 && answer.status < 500,
            "{method} {path} {}",
            answer.text
        );
    }
}

/// Routes stand in the sources as `.route("PATH", get(…).post(…))`, and those of the API in a table
/// of method, path, scope and handler.
#[tokio::test(flavor = "multi_thread")]
async fn what_answers_is_described() {
    let (_server, document) = document().await;
    let described: BTreeSet<(String, String)> = operations(&document)
        .into_iter()
        .map(|(method, path, _)| (method, path))
        .collect();
    let api = include_str!("../../../src/api/routes.rs");
    let callbacks = include_str!("../../../src/callbacks/mod.rs");
    let mut routes = BTreeSet::new();
    let (_, table) = api.split_once("\nroutes! {\n").unwrap();
    for line in table.split("\n}").next().unwrap().lines() {
        let mut words = line.split_whitespace();
        let (method, path) = (words.next().unwrap(), words.next().unwrap());
        assert!(METHODS.contains(&method), "{line}");
        routes.insert((method.to_owned(), path.trim_matches('"').to_owned()));
    }
    for source in [api, callbacks] {
        for part in source.split(".route(").skip(1) {
            let Some(part) = part.trim_start().strip_prefix('"') else {
                continue;
            };
            let (path, rest) = part.split_once('"').unwrap();
            // Up to the next call that is no method.
            let end = rest
                .find(".route")
                .unwrap_or(rest.len())
                .min(rest.find(";\n").unwrap_or(rest.len()));
            for method in METHODS {
                if rest[..end].contains(&format!("{method}(")) {
                    routes.insert((method.to_owned(), path.to_owned()));
                }
            }
        }
    }
    assert!(routes.len() > 20, "the routes were found: {routes:?}");
    for (method, path) in NOT_DESCRIBED {
        assert!(
            routes.remove(&(method.to_owned(), path.to_owned())),
            "{path} is gone"
        );
    }
    assert_eq!(described, routes);
}
