//! Callbacks are retried as the fragment of their URL asks, and not otherwise.

use std::time::{Duration, Instant};

use simulator::TruthCallback;
use tokio::net::TcpListener;

use crate::caller::{Caller, PERSON, fast, phone};
use crate::receiver::{Call, NEVER, Receiver};

/// Sends one message with one callback, answered like this; returns the requests and the truth.
async fn tried(fragment: &str, answers: &[u16]) -> (Vec<Call>, TruthCallback) {
    let receiver = Receiver::start().await;
    receiver.answer_with(answers);
    let told = told(&receiver.url(&format!("/status?m=1{fragment}"))).await;
    (receiver.calls(), told)
}

async fn told(url: &str) -> TruthCallback {
    let caller = Caller::start(fast()).await;
    caller
        .sim
        .set_phones(vec![phone(PERSON, simulator::PhoneBehavior::Off)]);
    caller.text(PERSON, Some(url)).await.sid();
    let truth = caller.quiet().await;
    assert_eq!(truth[0].statuses.len(), 1);
    truth[0].statuses[0].callback.clone()
}

#[tokio::test]
async fn happen_only_as_asked() {
    let cases: [(&str, &[u16], usize, Option<u16>); 13] = [
        ("", &[500], 1, Some(500)),
        ("", &[404], 1, Some(404)),
        ("", &[302], 1, Some(302)),
        ("#rc=3", &[500, 500], 1, Some(500)),
        ("#rc=3&rp=5xx", &[200], 1, Some(200)),
        ("#rc=3&rp=5xx", &[500, 503, 200], 3, Some(200)),
        ("#rc=1&rp=5xx", &[500, 503, 200], 2, Some(503)),
        ("#rc=0&rp=all", &[500, 503], 1, Some(500)),
        ("#rc=3&rp=5xx", &[404, 404], 1, Some(404)),
        ("#rc=3&rp=5xx,ct,rt", &[403, 403], 1, Some(403)),
        ("#rc=1&rp=4xx", &[404, 200], 2, Some(200)),
        ("#rc=1&rp=4xx", &[500, 200], 1, Some(500)),
        ("#rp=all&rc=2", &[500, 404, 204], 3, Some(204)),
    ];
    let runs = cases.map(|(fragment, answers, tries, last)| async move {
        let (calls, told) = tried(fragment, answers).await;
        let what = format!("{fragment} answered {answers:?}");
        assert_eq!(calls.len(), tries, "{what}");
        assert_eq!(told.tries, u32::try_from(tries).unwrap(), "{what}");
        assert_eq!(told.answered, last, "{what}");
        for call in &calls {
            assert!(
                call.url.ends_with("/status?m=1"),
                "no fragment: {}",
                call.url
            );
            assert!(call.is_signed_with(&simulator::Settings::default().auth_token));
            assert_eq!(call.body, calls[0].body);
            let token = "i-twilio-idempotency-token";
            assert_eq!(call.header(token), calls[0].header(token));
        }
    });
    futures_util::future::join_all(runs).await;
}

#[tokio::test]
async fn of_a_refused_connection_are_one_by_default() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/status", nobody.local_addr().unwrap());
    drop(nobody);
    for (fragment, tries) in [("", 2), ("#rc=0", 1), ("#rc=2", 3), ("#rc=2&rp=5xx", 1)] {
        let told = told(&format!("{url}{fragment}")).await;
        assert_eq!((told.tries, told.answered), (tries, None), "{fragment}");
    }
}

#[tokio::test]
async fn of_a_silent_server_happen_when_asked() {
    let (calls, told) = tried("#rt=500&rc=2", &[NEVER]).await;
    assert_eq!((calls.len(), told.tries, told.answered), (1, 1, None));
    let (calls, told) = tried("#rt=500&rp=rt&rc=2", &[NEVER, NEVER, 200]).await;
    assert_eq!((calls.len(), told.tries, told.answered), (3, 3, Some(200)));
}

#[tokio::test]
async fn all_fit_into_the_total_time() {
    let started = Instant::now();
    let (calls, told) = tried("#rp=all&rc=5&tt=700", &[500; 9]).await;
    assert_eq!(told.answered, Some(500));
    assert!((2..=4).contains(&calls.len()), "{} tries", calls.len());
    assert!(
        started.elapsed() < Duration::from_secs(3),
        "{:?}",
        started.elapsed()
    );
    let started = Instant::now();
    let (calls, told) = tried("#rp=all&rc=5&tt=400", &[NEVER; 9]).await;
    assert_eq!((calls.len(), told.answered), (1, None));
    assert!(
        started.elapsed() < Duration::from_secs(3),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn are_never_more_than_five() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/status#rc=9", nobody.local_addr().unwrap());
    drop(nobody);
    let started = Instant::now();
    assert_eq!(told(&url).await.tries, 6);
    // The pauses between them are 6.2 s; after the last there is none.
    assert!(
        started.elapsed() < Duration::from_secs(9),
        "{:?}",
        started.elapsed()
    );
}
