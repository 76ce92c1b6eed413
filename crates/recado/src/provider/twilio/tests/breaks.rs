//! Connections that break or talk nonsense: each class of outcome, and never two requests.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

/// How a server ends a connection.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    /// It says that it will write no more, and waits for the client.
    Shutdown,
    /// It closes; unread bytes make the system reset the connection.
    Close,
    /// It resets at once.
    Reset,
}

const ENDS: [End; 3] = [End::Shutdown, End::Close, End::Reset];

async fn end(mut stream: TcpStream, how: End) {
    match how {
        End::Shutdown => {
            let _ = stream.shutdown().await;
            let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
        }
        End::Close => {}
        End::Reset => stream.set_zero_linger().unwrap(),
    }
}

/// The outcome when the server reads `k` bytes of the request and then ends the connection.
async fn cut_request(k: usize, how: End) -> Outcome {
    let server = Server::start(move |_, mut stream, _| async move {
        if stream.read_exact(&mut vec![0; k]).await.is_ok() {
            end(stream, how).await;
        }
    })
    .await;
    let outcome = server.twilio().create(&create_request()).await;
    assert_eq!(server.connections(), 1, "{k} {how:?}");
    outcome
}

#[tokio::test]
async fn cut_after_each_byte_of_the_request() {
    let server = Server::answering(|_, _| ok_answer(1)).await;
    server.twilio().create(&create_request()).await;
    let length = server.requests().remove(0).len();
    assert!(length > 500);
    for how in ENDS {
        // Nothing was read: whether anything was written is a race, and either answer is true.
        let outcome = cut_request(0, how).await;
        let lost_unwritten = not_sent(NotSentCause::ConnectionLost);
        assert!(
            outcome == LOST || outcome == lost_unwritten,
            "{how:?} {outcome:?}"
        );
        for k in 1..=length {
            assert_eq!(cut_request(k, how).await, LOST, "{k} {how:?}");
        }
    }
}

/// The outcome when the server writes the first `cut` bytes of `answer` and then ends the
/// connection.
async fn cut_answer(answer: &Arc<Vec<u8>>, cut: usize, how: End) -> Outcome {
    let answer = Arc::clone(answer);
    let server = Server::start(move |_, mut stream, log| {
        let answer = Arc::clone(&answer);
        async move {
            let request = read_request(&mut stream).await.unwrap();
            log.received(request);
            stream.write_all(&answer[..cut]).await.unwrap();
            end(stream, how).await;
        }
    })
    .await;
    let outcome = server.twilio().create(&create_request()).await;
    assert_eq!(
        (server.requests().len(), server.connections()),
        (1, 1),
        "{cut} {how:?}"
    );
    outcome
}

async fn cut_after_each_byte_of(answer: Vec<u8>, whole: Outcome) {
    let answer = Arc::new(answer);
    for how in ENDS {
        for cut in 0..answer.len() {
            assert_eq!(cut_answer(&answer, cut, how).await, LOST, "{cut} {how:?}");
        }
        let outcome = cut_answer(&answer, answer.len(), how).await;
        // A reset may overtake an answer that was complete.
        assert!(
            outcome == whole || how == End::Reset && outcome == LOST,
            "{how:?} {outcome:?}"
        );
    }
}

#[tokio::test]
async fn cut_after_each_byte_of_a_good_answer() {
    cut_after_each_byte_of(ok_answer(7), sent(7)).await;
}

#[tokio::test]
async fn cut_after_each_byte_of_a_chunked_answer() {
    let body = message_json(7, "Thu, 24 Aug 2023 05:01:45 +0000");
    let (first, second) = body.split_at(300);
    let answer = format!(
        "HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\n\r\n",
        first.len(),
        second.len()
    );
    cut_after_each_byte_of(answer.into_bytes(), sent(7)).await;
}

#[tokio::test]
async fn cut_after_each_byte_of_a_refusal() {
    let body = r#"{"code":21211,"message":"Invalid 'To' Phone Number","more_info":"https://www.twilio.com/docs/errors/21211","status":400}"#;
    let refused = Outcome::Refused {
        http_status: 400,
        code: Some(21211),
    };
    cut_after_each_byte_of(http("400 Bad Request", body), refused).await;
}

#[tokio::test]
async fn cut_after_each_byte_of_too_many_requests() {
    let body = r#"{"code":20429,"message":"Too Many Requests","status":429}"#;
    let limited = not_sent(NotSentCause::RateLimited);
    cut_after_each_byte_of(http("429 Too Many Requests", body), limited).await;
}

#[tokio::test]
async fn an_answer_that_ends_with_its_connection_is_believed_when_it_is_whole() {
    let body = message_json(7, "Thu, 24 Aug 2023 05:01:45 +0000");
    let head = "HTTP/1.0 201 Created\r\n\r\n";
    let answer = Arc::new(format!("{head}{body}").into_bytes());
    for cut in 0..answer.len() {
        let outcome = cut_answer(&answer, cut, End::Shutdown).await;
        let garbage = Outcome::Unknown(UnknownCause::Garbage(201));
        assert_eq!(
            outcome,
            if cut < head.len() { LOST } else { garbage },
            "{cut}"
        );
    }
    assert_eq!(
        cut_answer(&answer, answer.len(), End::Shutdown).await,
        sent(7)
    );
}

/// The outcome of an answer after which the server keeps the connection open.
async fn answered(answer: Vec<u8>) -> Outcome {
    let server = Server::answering(move |_, _| answer.clone()).await;
    let outcome = server.twilio().create(&create_request()).await;
    assert_eq!((server.requests().len(), server.connections()), (1, 1));
    outcome
}

#[tokio::test]
async fn nonsense_is_unknown() {
    let garbage = |status| Outcome::Unknown(UnknownCause::Garbage(status));
    let gzip = [
        b"HTTP/1.1 201 Created\r\nContent-Encoding: gzip\r\nContent-Length: 10\r\n\r\n".as_slice(),
        &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3],
    ]
    .concat();
    for (answer, outcome) in [
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n".to_vec(), garbage(0)),
        (b"\x16\x03\x01\x02\x00\r\n\r\n".to_vec(), garbage(0)),
        (b"HTTP/2.0 201 Created\r\n\r\n".to_vec(), garbage(0)),
        (b"HTTP/1.1 abc Created\r\n\r\n".to_vec(), garbage(0)),
        (
            b"HTTP/1.1 201 Created\r\nContent-Length: -1\r\n\r\n".to_vec(),
            garbage(0),
        ),
        (
            b"HTTP/1.1 201 Created\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx".to_vec(),
            garbage(0),
        ),
        (b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(), garbage(204)),
        (gzip, garbage(201)),
        (http("201 Created", "<html></html>"), garbage(201)),
        (http("400 Bad Request", "<html></html>"), garbage(400)),
        (
            http("301 Moved Permanently\r\nLocation: /elsewhere", ""),
            garbage(301),
        ),
        (
            http("307 Temporary Redirect\r\nLocation: /elsewhere", ""),
            garbage(307),
        ),
        (
            http("503 Service Unavailable", "busy"),
            Outcome::Unknown(UnknownCause::ServerError(503)),
        ),
        (
            http("408 Request Timeout", ""),
            Outcome::Unknown(UnknownCause::ServerError(408)),
        ),
    ] {
        let shown = String::from_utf8_lossy(&answer).into_owned();
        assert_eq!(answered(answer).await, outcome, "{shown}");
    }
    // Interim answers are not answers.
    let early = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n";
    assert_eq!(
        answered([early.as_slice(), &ok_answer(3)].concat()).await,
        sent(3)
    );
}

#[tokio::test]
async fn too_long_answers_are_not_read_to_the_end() {
    let head = b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n";
    let endless = Server::start(move |_, mut stream, log| async move {
        log.received(read_request(&mut stream).await.unwrap());
        stream.write_all(head).await.unwrap();
        let chunk = [b"10000\r\n".as_slice(), &[b' '; 0x10000], b"\r\n"].concat();
        while stream.write_all(&chunk).await.is_ok() {}
    })
    .await;
    let garbage = Outcome::Unknown(UnknownCause::Garbage(201));
    assert_eq!(endless.twilio().create(&create_request()).await, garbage);
    assert_eq!(endless.requests().len(), 1);

    let endless_head = Server::start(|_, mut stream, _| async move {
        read_request(&mut stream).await.unwrap();
        stream.write_all(b"HTTP/1.1 201 Created\r\n").await.unwrap();
        while stream
            .write_all(b"X-Header: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n")
            .await
            .is_ok()
        {}
    })
    .await;
    let outcome = endless_head.twilio().create(&create_request()).await;
    assert_eq!(outcome, Outcome::Unknown(UnknownCause::Garbage(0)));
}

#[tokio::test]
async fn the_operating_system_refuses() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let twilio = Twilio::new(&settings(address), &Effects::real()).unwrap();
    assert_eq!(
        twilio.create(&create_request()).await,
        not_sent(NotSentCause::Connect)
    );
}
