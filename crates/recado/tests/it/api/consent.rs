//! Consent by the operator's word, for the person in every form of their number.

use serde_json::{Value, json};

use super::{encoded, field_problem, later, problem, with};
use crate::server::{TestServer, mobile, notice};

async fn consent(server: &TestServer, to: &str) -> Value {
    let answer = server
        .get(&format!("/api/v1/consent?to={}", encoded(to)))
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

async fn set(server: &TestServer, to: &str, word: &str) -> Value {
    let answer = server
        .put("/api/v1/consent", &json!({ "to": to, "consent": word }))
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opt_out_stops_what_waits_and_an_opt_in_undoes_it() {
    let server = TestServer::start().await;
    let nobody = json!({ "to": mobile(1), "consent": "open", "since": null, "source": null,
        "affected": 0, "identities": [], "history": [] });
    assert_eq!(consent(&server, "85 8000-0001").await, nobody);
    let mut waiting = Vec::new();
    for (place, form) in ["+5585980000001", "(85) 8000-0001", "whatsapp:+558580000001"]
        .into_iter()
        .enumerate()
    {
        waiting.push(server.accept(later(form, &place.to_string())).await);
    }
    let other = server.accept(later(&mobile(2), "a")).await;
    let out = set(&server, "085 8000-0001", "opted_out").await;
    assert_eq!(
        (&out["consent"], &out["source"]),
        (&json!("opted_out"), &json!("operator"))
    );
    assert_eq!(
        (&out["to"], &out["affected"]),
        (&json!(mobile(1)), &json!(3))
    );
    let again = set(&server, &mobile(1), "opted_out").await;
    assert_eq!(again["affected"], json!(0));
    assert_ne!(again["since"], out["since"], "it was said again");
    for id in &waiting {
        let message = server.message(id).await;
        assert_eq!(message["state"], "suppressed");
        assert_eq!(message["due_at"], Value::Null);
    }
    assert_eq!(server.message(&other).await["state"], "scheduled");
    for form in [
        "+5585980000001",
        "85 8000-0001",
        "whatsapp:+558580000001",
        "whatsapp:+5585980000001",
    ] {
        assert_eq!(
            consent(&server, form).await["consent"],
            "opted_out",
            "{form}"
        );
        let urgent = json!({ "priority": "urgent", "dedupe": "allow" });
        let id = server.accept(with(notice(form, "não"), urgent)).await;
        assert_eq!(server.message(&id).await["state"], "suppressed");
        let answer = server
            .post(&format!("/api/v1/messages/{id}/retry"), &Value::Null)
            .await;
        problem(&answer, 409, "cannot_retry");
    }
    let open = set(&server, "whatsapp:+558580000001", "open").await;
    assert_eq!(open["consent"], "open");
    let id = server.accept(notice("85 8000-0001", "sim")).await;
    server
        .until(&id, |message| message["sent_at"].is_string())
        .await;
    let truth = server.simulator.truth();
    assert_eq!(truth.len(), 1, "only what came after the opt-in");
    assert_eq!(truth[0].body, "sim");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_understood_changes_nothing() {
    let server = TestServer::start().await;
    for (body, field, code) in [
        (
            json!({ "to": mobile(1), "consent": "yes" }),
            "consent",
            "consent_unknown",
        ),
        (
            json!({ "to": mobile(1), "consent": "asking" }),
            "consent",
            "consent_unknown",
        ),
        (
            json!({ "to": "123", "consent": "open" }),
            "to",
            "bad_length",
        ),
        (json!({ "to": mobile(1) }), "consent", "field_missing"),
        (
            json!({ "to": mobile(1), "consent": true }),
            "consent",
            "wrong_type",
        ),
        (
            json!({ "to": mobile(1), "consent": "open", "by": "me" }),
            "by",
            "unknown_field",
        ),
    ] {
        field_problem(&server.put("/api/v1/consent", &body).await, field, code);
    }
    let answer = server.get("/api/v1/consent?to=123").await;
    field_problem(&answer, "to", "bad_length");
    for query in ["", "?color=red", "?to=1&to=2"] {
        problem(
            &server.get(&format!("/api/v1/consent{query}")).await,
            422,
            "invalid_query",
        );
    }
    assert_eq!(consent(&server, &mobile(1)).await["consent"], "open");
}
