//! `recado holds`: what is held, and lifting it.

use serde_json::json;
use simulator::Rule;

use super::{ended, err, lines, out};
use crate::server::{TEMPLATE, TestServer, mobile, notice};

/// Twilio has disabled a template; a person is held back from marketing.
async fn with_holds() -> TestServer {
    let mut server = TestServer::start().await;
    server.expect_error("held until the hold is lifted");
    let person = Rule {
        to: Some(mobile(2)),
        undelivered: Some(63_049),
        ..Rule::default()
    };
    let template = Rule {
        template: Some(TEMPLATE.to_owned()),
        fails: Some(63_042),
        ..Rule::default()
    };
    server.simulator.set_rules(vec![person, template]);
    let mut marketing = notice(&mobile(2), "segredo");
    marketing["kind"] = json!("marketing");
    marketing["content_sid"] = json!("HX00000000000000000000000000000002");
    server.accept(marketing).await;
    until_held(&server, 1).await;
    server.accept(notice(&mobile(1), "segredo")).await;
    until_held(&server, 2).await;
    server
}

async fn until_held(server: &TestServer, holds: usize) {
    server
        .eventually("they are held", async |server| {
            let listed = server.get("/api/v1/holds").await.json();
            listed["holds"].as_array().unwrap().len() == holds
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn holds_are_listed_filtered_and_masked() {
    let server = with_holds().await;
    let list = |more: &[&str]| server.cli(&[&["holds", "list"][..], more].concat());
    for (more, scopes) in [
        (vec![], vec!["template", "recipient"]),
        (vec!["--scope", "recipient"], vec!["recipient"]),
        (vec!["--scope", "sender"], vec![]),
        (vec!["--limit", "1"], vec!["template"]),
        (vec!["--limit", "0"], vec![]),
        (vec!["--limit", "1000"], vec!["template", "recipient"]),
    ] {
        let output = list(&[&["--json"][..], &more].concat());
        ended(&output, 0);
        let listed: Vec<_> = lines(&output)
            .iter()
            .map(|hold| hold["scope"].clone())
            .collect();
        assert_eq!(listed, scopes, "{more:?}");
    }
    let table = list(&[]);
    ended(&table, 0);
    let table = out(&table);
    for word in ["scope", TEMPLATE, "63042", "63049", "****"] {
        assert!(table.contains(word), "{word}: {table}");
    }
    assert!(!table.contains("+5585"), "{table}");
    let bad = list(&["--scope", "flying"]);
    ended(&bad, 1);
    assert!(err(&bad).contains("recipient"), "{}", err(&bad));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_is_lifted_once_and_what_waits_leaves() {
    let server = with_holds().await;
    let waits = server.accept(notice(&mobile(3), "oi")).await;
    let held = lines(&server.cli(&["holds", "list", "--scope", "template", "--json"]));
    let id = held[0]["id"].to_string();
    let reader = server.new_key("read");
    let denied = server.cli(&["holds", "lift", &id, "--api-key", &reader]);
    ended(&denied, 1);
    assert!(err(&denied).contains("403"), "{}", err(&denied));
    server.simulator.set_rules(Vec::new());
    let lifted = server.cli(&["holds", "lift", &id]);
    ended(&lifted, 0);
    assert_eq!(out(&lifted), format!("hold {id} is lifted\n"));
    server.until(&waits, |m| m["sent_at"].is_string()).await;
    for id in [id.as_str(), "999"] {
        let again = server.cli(&["holds", "lift", id, "--json"]);
        ended(&again, 1);
        assert_eq!(out(&again), "");
        assert!(err(&again).contains("404"), "{}", err(&again));
    }
    let person = lines(&server.cli(&["holds", "list", "--json"]));
    assert_eq!(person.len(), 1);
    let id = person[0]["id"].to_string();
    let lifted = server.cli(&["holds", "lift", &id, "--json"]);
    ended(&lifted, 0);
    let expected = json!({ "id": person[0]["id"], "lifted": true });
    assert_eq!(lines(&lifted), [expected]);
    let none = server.cli(&["holds", "list", "--json"]);
    ended(&none, 0);
    assert_eq!(out(&none), "");
}
