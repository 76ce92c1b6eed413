//! Holds: listed while they last, told to who looks after the server, and lifted once; what waited
//! leaves then.

use serde_json::{Value, json};
use simulator::Rule;

use super::{field_problem, headers, problem, with};
use crate::client::Answer;
use crate::server::{SENDER, TEMPLATE, TestServer, mobile, notice};

/// A template of which nothing is known when the other one is held.
const OTHER: &str = "HX00000000000000000000000000000002";
/// Twilio has disabled the template.
const DISABLED: u32 = 63_042;

/// Reports of messages by this template fail from now on; of all of them, if none is given.
fn disable(server: &mut TestServer, template: Option<&str>) {
    server.expect_error("held until the hold is lifted");
    server.simulator.set_rules(vec![Rule {
        template: template.map(str::to_owned),
        fails: Some(DISABLED),
        ..Rule::default()
    }]);
}

async fn list(server: &TestServer, query: &str) -> Vec<Value> {
    let answer = server.get(&format!("/api/v1/holds?{query}")).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()["holds"].as_array().unwrap().clone()
}

async fn until_held(server: &TestServer, holds: usize) {
    server
        .eventually("the templates are held", async |server| {
            list(server, "").await.len() == holds
        })
        .await;
}

async fn lift(server: &TestServer, id: &str, key: &str) -> Answer {
    let path = format!("/api/v1/holds/{id}");
    server.request("DELETE", &path, &headers(key), None).await
}

fn by(template: &str, to: usize) -> Value {
    with(
        notice(&mobile(to), "oi"),
        json!({ "content_sid": template }),
    )
}

/// A server with a held template: the message that was told so, three that wait, and the hold.
async fn with_held_template() -> (TestServer, Vec<String>, Value) {
    let mut server = TestServer::start().await;
    disable(&mut server, Some(TEMPLATE));
    let mut ids = vec![server.accept(by(TEMPLATE, 1)).await];
    until_held(&server, 1).await;
    for n in 2..=4 {
        ids.push(server.accept(by(TEMPLATE, n)).await);
    }
    // What is not held leaves, and after whatever came before it.
    let free = with(by(OTHER, 5), json!({ "priority": "bulk" }));
    let free = server.accept(free).await;
    server.until(&free, |m| m["sent_at"].is_string()).await;
    let hold = list(&server, "").await.remove(0);
    (server, ids, hold)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_template_is_shown_everywhere_and_leaves_when_it_is_lifted() {
    let (server, ids, hold) = with_held_template().await;
    for (n, id) in ids.iter().enumerate() {
        let message = server.message(id).await;
        assert_eq!(message["due_at"], Value::Null, "{message:#}");
        let attempts = message["attempts"].as_array().unwrap().len();
        assert_eq!(attempts, usize::from(n == 0), "{message:#}");
    }
    let id = hold["id"].to_string();
    assert!(hold["since"].is_string(), "{hold:#}");
    let advice = hold["advice"].as_str().unwrap();
    assert!(
        advice.contains(&format!("recado holds lift {id}")),
        "{advice}"
    );
    let expected = json!({ "id": hold["id"], "scope": "template", "kind": null, "sender": null,
        "content_sid": TEMPLATE, "to": null, "code": DISABLED, "since": hold["since"],
        "until": null, "step": 1, "message_id": ids[0], "advice": advice });
    assert_eq!(hold, expected);
    let health = server.get("/api/v1/health").await.json();
    assert_eq!(health["status"], "degraded");
    let concerns = health["concerns"].to_string();
    for word in [TEMPLATE, "63042", "until it is lifted", advice] {
        assert!(concerns.contains(word), "{word}: {concerns}");
    }
    let gauge = async |n: u32| {
        let page = server.get("/metrics").await.text;
        assert!(
            page.contains(&format!("recado_holds{{scope=\"template\"}} {n}\n")),
            "{page}"
        );
        assert!(
            page.contains("recado_holds{scope=\"sender\"} 0\n"),
            "{page}"
        );
    };
    gauge(1).await;

    server.simulator.set_rules(Vec::new());
    let lifted = lift(&server, &id, &server.key).await;
    assert_eq!((lifted.status, lifted.text.as_str()), (204, ""));
    problem(&lift(&server, &id, &server.key).await, 404, "not_found");
    assert_eq!(list(&server, "").await, Vec::<Value>::new());
    for id in &ids {
        server.until(id, |m| m["delivered_at"].is_string()).await;
    }
    gauge(0).await;
    let health = server.get("/api/v1/health").await.json();
    assert_eq!(
        (&health["status"], &health["concerns"]),
        (&json!("ok"), &json!([]))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_is_lifted_too_early_comes_again_and_the_same_message_fails() {
    let (server, ids, hold) = with_held_template().await;
    let lifted = lift(&server, &hold["id"].to_string(), &server.key).await;
    assert_eq!(lifted.status, 204);
    server.until_state(&ids[0], "failed").await;
    until_held(&server, 1).await;
    let again = list(&server, "").await.remove(0);
    assert!(again["id"].as_i64() > hold["id"].as_i64(), "{again:#}");
    assert_ne!(again["message_id"], json!(ids[0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_administrators_lift_and_only_what_is_there() {
    let (server, ids, hold) = with_held_template().await;
    let id = hold["id"].to_string();
    for scope in ["read", "send"] {
        let key = server.new_key(scope);
        problem(&lift(&server, &id, &key).await, 403, "scope_missing");
        let headers = headers(&key);
        let listed = server.request("GET", "/api/v1/holds", &headers, None);
        assert_eq!(listed.await.status, 200, "{scope}");
    }
    for method in ["GET", "DELETE"] {
        let path = if method == "GET" {
            "/api/v1/holds"
        } else {
            "/api/v1/holds/1"
        };
        let answer = server.request(method, path, &[], None).await;
        assert_eq!(answer.status, 401, "{method}");
    }
    for unknown in ["0", "-1", "999", "x", "1x", "99999999999999999999"] {
        problem(&lift(&server, unknown, &server.key).await, 404, "not_found");
    }
    for (query, field, code) in [
        ("scope=flying", "scope", "scope_unknown"),
        ("limit=0", "limit", "limit_invalid"),
        ("limit=201", "limit", "limit_invalid"),
        ("cursor=x", "cursor", "cursor_invalid"),
    ] {
        let answer = server.get(&format!("/api/v1/holds?{query}")).await;
        field_problem(&answer, field, code);
    }
    assert_eq!(list(&server, "").await, [hold], "nothing of that lifts it");
    assert_eq!(server.message(&ids[1]).await["attempts"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn holds_are_paged_newest_first_and_filtered() {
    let mut server = TestServer::start().await;
    disable(&mut server, None);
    let template = |n: usize| format!("HX{n:032x}");
    for n in 1..=5 {
        server.accept(by(&template(n), n)).await;
        until_held(&server, n).await;
    }
    let mut pages: Vec<Vec<String>> = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = server
            .get(&format!("/api/v1/holds?limit=2{cursor}"))
            .await
            .json();
        let sid = |hold: &Value| hold["content_sid"].as_str().unwrap().to_owned();
        pages.push(page["holds"].as_array().unwrap().iter().map(sid).collect());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let expected = [vec![5, 4], vec![3, 2], vec![1]];
    assert_eq!(
        pages,
        expected.map(|page| page.into_iter().map(template).collect::<Vec<_>>())
    );
    for (scope, holds) in [
        ("template", 5),
        ("recipient", 0),
        ("sender", 0),
        ("account", 0),
    ] {
        assert_eq!(
            list(&server, &format!("scope={scope}")).await.len(),
            holds,
            "{scope}"
        );
    }
    let health = server.get("/api/v1/health").await.json();
    assert_eq!(
        health["concerns"].as_array().unwrap().len(),
        5,
        "{health:#}"
    );
}

/// A person is held for one kind, and the page for machines names nobody.
#[tokio::test(flavor = "multi_thread")]
async fn a_held_person_is_no_concern_and_other_messages_to_them_leave() {
    let server = TestServer::start().await;
    server.simulator.set_rules(vec![Rule {
        to: Some(mobile(1)),
        undelivered: Some(63_049),
        ..Rule::default()
    }]);
    let marketing = |text: &str| {
        let kind = json!({ "kind": "marketing" });
        with(notice(&mobile(1), text), kind)
    };
    server.accept(marketing("um")).await;
    until_held(&server, 1).await;
    server.simulator.set_rules(Vec::new());
    let second = server.accept(marketing("dois")).await;
    let other = server.accept(notice(&mobile(1), "outra coisa")).await;
    server.until(&other, |m| m["sent_at"].is_string()).await;
    let hold = list(&server, "scope=recipient").await.remove(0);
    assert_eq!(hold["to"], json!(mobile(1)), "{hold:#}");
    assert_eq!(
        (&hold["kind"], &hold["code"]),
        (&json!("marketing"), &json!(63_049))
    );
    let waits = server.message(&second).await;
    assert_eq!(waits["due_at"], hold["until"], "{waits:#}");
    assert_eq!(waits["attempts"], json!([]));
    let health = server.get("/api/v1/health").await.json();
    assert_eq!(
        health["concerns"],
        json!([]),
        "one person is nobody's concern"
    );
    let page = server.get("/metrics").await.text;
    assert!(
        page.contains("recado_holds{scope=\"recipient\"} 1\n"),
        "{page}"
    );
    let lifted = lift(&server, &hold["id"].to_string(), &server.key).await;
    assert_eq!(lifted.status, 204);
    server.until(&second, |m| m["sent_at"].is_string()).await;
    assert_eq!(
        server.get("/api/v1/senders").await.json()["senders"][0]["name"],
        SENDER
    );
}
