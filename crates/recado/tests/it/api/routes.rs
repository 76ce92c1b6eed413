//! Paths and methods that are not there, HEAD, and the pages of health.

use serde_json::json;

use super::{headers, problem};
use crate::server::{TestServer, mobile, notice};

#[tokio::test(flavor = "multi_thread")]
async fn unknown_paths_and_methods_are_problems_too() {
    let server = TestServer::start().await;
    for path in [
        "/",
        "/api",
        "/api/v1",
        "/api/v2/messages",
        "/api/v1/message",
        "/api/v1/messages/",
        "/api/v1/messages/x/y",
        "/api/v1/senders/x",
        "/metrics/",
        "/simulator/truth",
        "/.env",
        "/api/v1/whatsapp",
    ] {
        for method in ["GET", "POST", "DELETE"] {
            let answer = server
                .request(method, path, &headers(&server.key), None)
                .await;
            assert_eq!(answer.status, 404, "{method} {path} {}", answer.text);
            problem(&answer, 404, "no_such_route");
        }
    }
    for (method, path, allowed) in [
        ("DELETE", "/api/v1/messages", "POST"),
        ("PUT", "/api/v1/messages", "POST"),
        ("GET", "/api/v1/messages/bulk", "POST"),
        ("GET", "/api/v1/messages/retry", "POST"),
        ("PATCH", "/api/v1/messages/x", "GET"),
        ("GET", "/api/v1/messages/x/cancel", "POST"),
        ("POST", "/api/v1/metrics/delivery", "GET"),
        ("POST", "/livez", "GET"),
        ("POST", "/api/v1/consent", "PUT"),
        ("POST", "/api/v1/holds", "GET"),
        ("GET", "/api/v1/holds/1", "DELETE"),
        ("DELETE", "/api/v1/whatsapp/status", "POST"),
        ("PUT", "/api/v1/whatsapp/webhook", "POST"),
    ] {
        let answer = server
            .request(method, path, &headers(&server.key), None)
            .await;
        problem(&answer, 405, "method_not_allowed");
        let allow = answer.header("allow").unwrap_or_default().to_owned();
        assert!(allow.contains(allowed), "{method} {path}: {allow}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn head_answers_as_get_does_without_a_body() {
    let server = TestServer::start().await;
    let id = server.accept(notice(&mobile(1), "oi")).await;
    let reader = server.new_key("read");
    let message = format!("/api/v1/messages/{id}");
    for path in [
        "/livez",
        "/readyz",
        "/metrics",
        "/api/v1/openapi.json",
        "/api/v1/messages",
        &message,
        "/api/v1/messages?state=flying",
        "/api/v1/messages/x",
        "/api/v1/health",
        "/api/v1/senders",
        "/api/v1/holds",
        "/api/v1/metrics/delivery",
        "/api/v1/inbound",
        "/api/v1/consent?to=85980000001",
        "/nowhere",
        "/api/v1/whatsapp/status",
        "/api/v1/whatsapp/webhook",
    ] {
        let get = server.request("GET", path, &headers(&reader), None).await;
        let head = server.request("HEAD", path, &headers(&reader), None).await;
        assert_eq!(head.status, get.status, "{path}");
        assert_eq!(
            head.header("content-type"),
            get.header("content-type"),
            "{path}"
        );
        assert_eq!(head.text, "", "{path}");
    }
    let none = server.request("HEAD", "/api/v1/messages", &[], None).await;
    assert_eq!(none.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_of_health_say_how_it_is() {
    let server = TestServer::start().await;
    for path in ["/livez", "/readyz"] {
        let answer = server.request("GET", path, &[], None).await;
        assert_eq!(
            (answer.status, answer.text.as_str()),
            (200, "ok\n"),
            "{path}"
        );
    }
    for path in ["/api/v1/whatsapp/status", "/api/v1/whatsapp/webhook"] {
        assert_eq!(
            server.request("GET", path, &[], None).await.status,
            200,
            "{path}"
        );
    }
    let health = server.get("/api/v1/health").await.json();
    for (field, value) in [
        ("status", json!("ok")),
        ("concerns", json!([])),
        ("queued", json!(0)),
        ("oldest_due_seconds", json!(0)),
        ("open_attempts", json!(0)),
        ("unknown_attempts", json!(0)),
        ("parked_reports", json!(0)),
        ("version", json!(env!("CARGO_PKG_VERSION"))),
    ] {
        assert_eq!(health[field], value, "{field} {health:#}");
    }
    assert!(health["database_bytes"].as_u64().unwrap() > 4_096);
}

/// Without a key nothing is changed, not even by a commit that means nothing.
#[tokio::test(flavor = "multi_thread")]
async fn asking_whether_it_is_ready_commits_nothing() {
    let server = TestServer::start().await;
    let database = rusqlite::Connection::open(server.database()).unwrap();
    let probes = || -> i64 {
        let read = database.query_row("PRAGMA user_version", [], |row| row.get(0));
        read.unwrap()
    };
    let before = probes();
    for _ in 0..50 {
        assert_eq!(
            server.request("GET", "/readyz", &[], None).await.status,
            200
        );
    }
    // The server itself makes one when it has been idle for a while.
    assert!(probes() - before <= 2, "{} commits", probes() - before);
}
