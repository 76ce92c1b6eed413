//! One person with two names: what is said under one of them holds under the other.

use simulator::{Inbound, User};

use crate::server::{SENDER, TestServer, mobile, notice};

const USER_ID: &str = "BR.13491208655302741918";

fn user(hides_number: bool) -> User {
    User {
        number: mobile(1),
        user_id: USER_ID.to_owned(),
        parent_user_id: None,
        hides_number,
    }
}

async fn says(server: &TestServer, text: &str) {
    let inbound = Inbound {
        from: mobile(1),
        body: Some(text.to_owned()),
        ..Inbound::default()
    };
    let told = server.simulator.inbound(inbound).await;
    assert_eq!(told.answered, Some(200));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_left_by_number_has_left_by_user_id() {
    let server = TestServer::start().await;
    server.simulator.set_users(vec![user(false)]);
    says(&server, "SAIR").await;
    // She takes a username: her messages come from the id alone.
    server.simulator.set_users(vec![user(true)]);
    says(&server, "oi").await;
    for to in [USER_ID, &mobile(1)] {
        let id = server.accept(notice(to, "resposta")).await;
        server.until_state(&id, "suppressed").await;
    }
    assert!(server.sent_by_now(SENDER).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_left_by_user_id_has_left_by_number() {
    let server = TestServer::start().await;
    server.simulator.set_users(vec![user(true)]);
    says(&server, "SAIR").await;
    // Until both names come together, the number is somebody else.
    let first = server.accept(notice(&mobile(1), "um")).await;
    let sent = server.until(&first, |m| m["sent_at"].is_string()).await;
    // The reports of that message carry both.
    server
        .until(&first, |m| m["delivered_at"].is_string())
        .await;
    assert_eq!(sent["attempts"][0]["outcome"], "sent");
    for to in [&mobile(1), USER_ID] {
        let id = server.accept(notice(to, "dois")).await;
        server.until_state(&id, "suppressed").await;
    }
    assert_eq!(server.sent_by_now(SENDER).await.len(), 1);
}
