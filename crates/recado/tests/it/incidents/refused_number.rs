//! One number that cannot be written to stops nobody else.

use simulator::{Phone, PhoneBehavior};

use crate::server::{TestServer, mobile, notice};

#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_a_trial_account_may_not_write_to_fails_alone() {
    const PEOPLE: usize = 50;
    let server = TestServer::with(
        |settings| {
            settings.phones = vec![Phone {
                number: mobile(PEOPLE),
                character: PhoneBehavior::Refused(21_608),
            }];
        },
        &[],
    )
    .await;
    let refused = server.accept(notice(&mobile(PEOPLE), "x")).await;
    let failed = server.until_state(&refused, "failed").await;
    assert_eq!(failed["error"]["code"], 21_608, "{failed:#}");
    let attempts = failed["attempts"].as_array().unwrap().len();
    assert_eq!(attempts, 1, "{failed:#}");
    let mut ids = Vec::new();
    for n in 0..PEOPLE {
        ids.push(server.accept(notice(&mobile(n), "x")).await);
    }
    for id in &ids {
        server
            .until(id, |message| message["delivered_at"].is_string())
            .await;
    }
    assert_eq!(server.simulator.truth().len(), PEOPLE);
    let senders = server.get("/api/v1/senders").await.json();
    let sender = &senders["senders"][0];
    assert!(sender["paused_at"].is_null(), "{senders:#}");
    let health = server.get("/api/v1/health").await.json();
    assert_eq!(health["status"], "ok", "{health:#}");
}
