//! Keys: who is let in, to which endpoints, and that keys stay secret.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{headers, problem};
use crate::server::{SENDER, TestServer, mobile, notice};

const NOBODY: &str = "0198c7d0-0000-7000-8000-000000000000";

/// Every endpoint behind a key with the least scope it needs: 0 read, 1 send, 2 admin.
fn endpoints() -> Vec<(&'static str, String, Option<Value>, usize)> {
    let message = |n| notice(&mobile(n), "porta");
    let consent = json!({ "to": mobile(9), "consent": "open" });
    let filter = json!({ "state": "held" });
    let to = format!("to={}", super::encoded(&mobile(9)));
    let get = |path: String| ("GET", path, None, 0);
    let post = |path: String, body, scope| ("POST", path, body, scope);
    vec![
        get("/api/v1/messages".into()),
        get(format!("/api/v1/messages/{NOBODY}")),
        get("/api/v1/inbound".into()),
        get("/api/v1/metrics/delivery".into()),
        get("/api/v1/health".into()),
        get("/api/v1/senders".into()),
        get("/api/v1/holds".into()),
        get(format!("/api/v1/consent?{to}")),
        post("/api/v1/messages".into(), Some(message(1)), 1),
        post(
            "/api/v1/messages/bulk".into(),
            Some(json!({ "messages": [message(2)] })),
            1,
        ),
        post("/api/v1/messages/cancel".into(), Some(filter.clone()), 1),
        post("/api/v1/messages/retry".into(), Some(filter), 1),
        post(format!("/api/v1/messages/{NOBODY}/cancel"), None, 1),
        post(format!("/api/v1/messages/{NOBODY}/retry"), None, 1),
        ("PUT", "/api/v1/consent".into(), Some(consent), 2),
        ("DELETE", "/api/v1/holds/1".into(), None, 2),
        post(format!("/api/v1/senders/{SENDER}/pause"), None, 2),
        post(format!("/api/v1/senders/{SENDER}/resume"), None, 2),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn each_scope_opens_its_endpoints_and_no_others() {
    let server = TestServer::start().await;
    for (strength, scope) in ["read", "send", "admin"].into_iter().enumerate() {
        let key = server.new_key(scope);
        for (method, path, body, needed) in endpoints() {
            let body = body.map(|body| body.to_string().into_bytes());
            let answer = server.request(method, &path, &headers(&key), body).await;
            if strength < needed {
                let problem = problem(&answer, 403, "scope_missing");
                let detail = problem["detail"].as_str().unwrap();
                assert!(detail.contains(scope), "{detail}");
            } else {
                assert!(
                    !matches!(answer.status, 401 | 403 | 405 | 500..),
                    "{scope} {method} {path}: {} {}",
                    answer.status,
                    answer.text
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_good_key_nothing_opens() {
    let server = TestServer::start().await;
    let good = server.key.clone();
    let (id, secret) = good.strip_prefix("rk_").unwrap().split_once('_').unwrap();
    let mut wrong_secret = secret.to_owned();
    let last = wrong_secret.pop().unwrap();
    wrong_secret.push(if last == 'A' { 'B' } else { 'A' });
    let wrong = [
        String::new(),
        "Bearer".into(),
        "Bearer ".into(),
        "Bearer rk_".into(),
        "Bearer rk__".into(),
        format!("Bearer rk_{id}"),
        format!("Bearer rk_{id}_"),
        format!("Bearer rk_{id}_{wrong_secret}"),
        format!("Bearer rk_{id}_{secret}x"),
        format!("Bearer rk_unknown_{secret}"),
        format!("Bearer {}", good.to_uppercase()),
        format!("Basic {good}"),
        good.clone(),
        format!("Bearer {good} {good}"),
        format!("Bearer rk_{}", "x".repeat(8_000)),
        "Bearer rk_' OR 1=1 --_x".into(),
    ];
    for (method, path, body, _) in endpoints() {
        let body = body.map(|body| body.to_string().into_bytes());
        let none = [("content-type", "application/json".to_owned())];
        let answer = server.request(method, &path, &none, body).await;
        problem(&answer, 401, "unauthorized");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
    for header in wrong {
        let headers = [("authorization", header.clone())];
        let answer = server
            .request("GET", "/api/v1/messages", &headers, None)
            .await;
        let problem = problem(&answer, 401, "unauthorized");
        assert!(!problem.to_string().contains(secret), "{header}");
    }
    // RFC 9110: the name of the scheme has no case.
    for scheme in ["bearer", "BEARER"] {
        let headers = [("authorization", format!("{scheme} {good}"))];
        let answer = server
            .request("GET", "/api/v1/messages", &headers, None)
            .await;
        assert_eq!(answer.status, 200, "{scheme} {}", answer.text);
    }
    for path in ["/livez", "/readyz", "/metrics", "/api/v1/openapi.json"] {
        let answer = server.request("GET", path, &[], None).await;
        assert_eq!(answer.status, 200, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_stops_within_a_second_and_others_go_on() {
    let server = TestServer::start().await;
    let key = server.new_key("send");
    let look = || server.request("GET", "/api/v1/messages", &[], None);
    assert_eq!(look().await.status, 401);
    let with_key = headers(&key);
    let ask = || server.request("GET", "/api/v1/messages", &with_key, None);
    assert_eq!(ask().await.status, 200);
    let id = key.split('_').nth(1).unwrap();
    let revoked = server.cli(&["keys", "revoke", "--id", id, "--json"]);
    assert!(revoked.status.success());
    let since = Instant::now();
    let mut answer = ask().await;
    while answer.status == 200 {
        assert!(since.elapsed() < Duration::from_millis(1_500), "still open");
        tokio::time::sleep(Duration::from_millis(20)).await;
        answer = ask().await;
    }
    problem(&answer, 401, "unauthorized");
    assert_eq!(server.get("/api/v1/messages").await.status, 200);
    assert_eq!(ask().await.status, 401, "it stays closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_in_no_file_and_in_no_log() {
    let mut server = TestServer::with(|_| {}, &[("RECADO_LOG", "trace")]).await;
    let key = server.new_key("send");
    let body = notice(&mobile(1), "oi").to_string().into_bytes();
    let sent = server
        .request("POST", "/api/v1/messages", &headers(&key), Some(body))
        .await;
    assert_eq!(sent.status, 202);
    let wrong = format!("{key}x");
    let refused = server
        .request("GET", "/api/v1/messages", &headers(&wrong), None)
        .await;
    assert_eq!(refused.status, 401);
    let id = sent.json()["id"].as_str().unwrap().to_owned();
    server
        .until(&id, |message| message["sent_at"].is_string())
        .await;
    let listed = server.cli(&["keys", "list", "--json"]).stdout;
    assert!(server.gateway.terminate().success());
    let mut places = vec![
        ("log".to_owned(), server.gateway.log().into_bytes()),
        ("keys list".to_owned(), listed),
    ];
    for entry in std::fs::read_dir(server.folder()).unwrap() {
        let path = entry.unwrap().path();
        places.push((path.display().to_string(), std::fs::read(&path).unwrap()));
    }
    let (key_id, secret) = key.strip_prefix("rk_").unwrap().split_once('_').unwrap();
    let holds = |bytes: &[u8], text: &str| memchr::memmem::find(bytes, text.as_bytes()).is_some();
    for (name, bytes) in &places {
        assert!(!holds(bytes, secret), "the key is in {name}");
        assert!(
            !holds(bytes, server.simulator.auth_token()),
            "Twilio's token is in {name}"
        );
    }
    // The search finds what is there.
    assert!(places.iter().any(|(_, bytes)| holds(bytes, key_id)));
    assert!(holds(&places[0].1, "shutting down"), "the log was read");
}
