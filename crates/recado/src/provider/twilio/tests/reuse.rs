//! Connections that serve more than one request.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;

use super::*;

#[tokio::test]
async fn one_connection_serves_one_request_after_the_other() {
    let server = Server::answering(|n, _| ok_answer(u32::try_from(n).unwrap())).await;
    let twilio = server.twilio();
    for n in 0..20 {
        assert_eq!(twilio.create(&create_request()).await, sent(n));
    }
    assert_eq!((server.requests().len(), server.connections()), (20, 1));
}

#[tokio::test]
async fn a_refusal_keeps_its_connection_and_a_close_ends_it() {
    let server = Server::answering(|n, _| match n {
        0 => http(
            "400 Bad Request",
            r#"{"code":21211,"message":"x","status":400}"#,
        ),
        1 => http("201 Created\r\nConnection: close", &message_json(1, "")),
        _ => ok_answer(2),
    })
    .await;
    let twilio = server.twilio();
    let refused = Outcome::Refused {
        http_status: 400,
        code: Some(21211),
    };
    assert_eq!(twilio.create(&create_request()).await, refused);
    assert_eq!(twilio.create(&create_request()).await, sent(1));
    assert_eq!(server.connections(), 1);
    assert_eq!(twilio.create(&create_request()).await, sent(2));
    assert_eq!((server.requests().len(), server.connections()), (3, 2));
}

/// Calls a server 300 times that closes after each answer without having said so, before the next
/// request. Gives the number of calls that were answered, found nothing to send on, and were lost.
async fn closed_between_requests() -> [usize; 3] {
    let closed = Arc::new(Semaphore::new(0));
    let signal = Arc::clone(&closed);
    let server = Server::start(move |_, mut stream, log| {
        let signal = Arc::clone(&signal);
        async move {
            if let Some(request) = read_request(&mut stream).await {
                log.received(request);
                stream.write_all(&ok_answer(1)).await.unwrap();
                drop(stream);
                signal.add_permits(1);
            }
        }
    })
    .await;
    let twilio = server.twilio();
    let mut counts = [0; 3];
    for _ in 0..300 {
        match twilio.create(&create_request()).await {
            outcome if outcome == sent(1) => {
                counts[0] += 1;
                closed.acquire().await.unwrap().forget();
            }
            outcome if outcome == not_sent(NotSentCause::ConnectionLost) => counts[1] += 1,
            outcome => {
                assert_eq!(outcome, LOST);
                counts[2] += 1;
            }
        }
    }
    assert_eq!(
        server.requests().len(),
        counts[0],
        "each request is received once or not at all"
    );
    counts
}

#[tokio::test]
async fn a_stale_connection_sends_nothing_twice() {
    // One thread sees every close before it sends.
    assert_eq!(closed_between_requests().await, [300, 0, 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stale_connection_sends_nothing_twice_on_two_threads() {
    // The thread that watches the sockets may be microseconds late to tell of a close.
    let [answered, ..] = tokio::spawn(closed_between_requests()).await.unwrap();
    assert!(
        answered >= 150,
        "after a lost connection comes a fresh one: {answered}"
    );
}

#[tokio::test]
async fn an_answer_too_many_is_never_the_answer_to_the_next_request() {
    for _ in 0..50 {
        let server = Server::answering(|n, _| {
            let n = u32::try_from(n).unwrap();
            [ok_answer(n), ok_answer(n + 1_000)].concat()
        })
        .await;
        let twilio = server.twilio();
        assert_eq!(twilio.create(&create_request()).await, sent(0));
        let second = twilio.create(&create_request()).await;
        let fits = second == sent(1) || second == not_sent(NotSentCause::ConnectionLost);
        assert!(fits, "{second:?}");
    }
}

#[tokio::test]
async fn many_at_once_are_each_received_once() {
    let server = Server::answering(|_, request| {
        let request = String::from_utf8_lossy(request);
        let (_, n) = request.split_once("%2B55119").unwrap();
        ok_answer(n[..8].parse().unwrap())
    })
    .await;
    let twilio = Arc::new(server.twilio());
    let mut calls = tokio::task::JoinSet::new();
    for n in 1..=300u32 {
        let twilio = Arc::clone(&twilio);
        let request = CreateRequest {
            to: format!("+55119{n:08}"),
            ..create_request()
        };
        calls.spawn(async move { assert_eq!(twilio.create(&request).await, sent(n)) });
    }
    while let Some(call) = calls.join_next().await {
        call.unwrap();
    }
    let mut requests = server.requests();
    assert_eq!(requests.len(), 300);
    requests.sort_unstable();
    requests.dedup();
    assert_eq!(requests.len(), 300);
    assert!(server.connections() <= 50, "{}", server.connections());
}

#[tokio::test]
async fn a_call_that_is_given_up_takes_its_connection_with_it() {
    let (arrived, arrival) = tokio::sync::oneshot::channel();
    let (gone, going) = tokio::sync::oneshot::channel();
    let tell = std::sync::Mutex::new(Some((arrived, gone)));
    let server = Server::start(move |_, mut stream, _| {
        let (arrived, gone) = tell.lock().unwrap().take().unwrap();
        async move {
            read_request(&mut stream).await.unwrap();
            arrived.send(()).unwrap();
            assert!(stream.read_u8().await.is_err());
            gone.send(()).unwrap();
        }
    })
    .await;
    let twilio = Arc::new(server.twilio());
    let call = tokio::spawn(async move { twilio.create(&create_request()).await });
    arrival.await.unwrap();
    call.abort();
    going.await.unwrap();
}
