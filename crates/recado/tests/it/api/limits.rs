//! Bounds that protect the server: requests per key, connections at once.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::{headers, problem};
use crate::server::{TestServer, mobile, notice};

#[tokio::test(flavor = "multi_thread")]
async fn each_key_has_a_rate_of_its_own() {
    let server = TestServer::with(|_| {}, &[("RECADO_API_RATE", "5")]).await;
    let (busy, calm) = (server.new_key("read"), server.new_key("read"));
    let ask = async |key: &str| {
        server
            .request("GET", "/api/v1/messages", &headers(key), None)
            .await
    };
    let mut passed = 0;
    let refused = loop {
        let answer = ask(&busy).await;
        assert_eq!(answer.header("ratelimit-policy"), Some("\"key\";q=5;w=1"));
        let left = answer.header("ratelimit").unwrap().to_owned();
        if answer.status == 429 {
            assert_eq!(left, "\"key\";r=0;t=1");
            break answer;
        }
        assert_eq!(answer.status, 200);
        assert!(left.starts_with("\"key\";r="), "{left}");
        passed += 1;
        assert!(passed < 100, "there is no limit");
    };
    assert!(passed >= 5, "{passed}");
    let found = problem(&refused, 429, "rate_limited");
    assert_eq!(found["retry_after"], 1);
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(ask(&calm).await.status, 200, "another key is not affected");
    // Problems of the request itself carry the fields as well.
    let missing = server
        .request("GET", "/api/v1/messages/x", &headers(&calm), None)
        .await;
    assert_eq!(missing.status, 404);
    assert!(missing.header("ratelimit").is_some());
    // Health and metrics have no key and no rate.
    for _ in 0..20 {
        assert_eq!(server.request("GET", "/livez", &[], None).await.status, 200);
    }
    let since = Instant::now();
    while ask(&busy).await.status == 429 {
        assert!(
            since.elapsed() < Duration::from_secs(3),
            "it does not recover"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // What was refused for its rate was not done.
    let body = notice(&mobile(1), "oi").to_string().into_bytes();
    let sender = server.new_key("send");
    let mut accepted = 0;
    for _ in 0..15 {
        let body = Some(body.clone());
        let answer = server
            .request("POST", "/api/v1/messages", &headers(&sender), body)
            .await;
        accepted += usize::from(answer.status == 202);
    }
    assert_eq!(
        accepted, 1,
        "the first is taken, the others are repeated content or too many"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_limit_there_are_no_fields_of_one() {
    let server = TestServer::with(|_| {}, &[("RECADO_API_RATE", "0")]).await;
    let answer = server.get("/api/v1/messages").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("ratelimit"), None);
}

/// Whether the answer to a request comes on a connection.
fn answered(connection: &mut TcpStream) -> bool {
    let mut answer = [0u8; 4_096];
    match connection.read(&mut answer) {
        Ok(read) => answer[..read].starts_with(b"HTTP/1.1 200"),
        Err(_) => false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_above_the_cap_wait_until_one_ends() {
    let server = TestServer::with(|_| {}, &[("RECADO_CONNECTIONS_MAX", "3")]).await;
    let request = "GET /livez HTTP/1.1\r\nHost: h\r\n\r\n";
    let connect = || server.connect(request, Duration::from_secs(5));
    let mut open: Vec<TcpStream> = (0..3).map(|_| connect()).collect();
    for connection in &mut open {
        assert!(answered(connection));
    }
    let mut fourth = connect();
    // Its request is older than all of these, which are answered.
    for _ in 0..100 {
        open[0].write_all(request.as_bytes()).unwrap();
        assert!(answered(&mut open[0]));
    }
    fourth.set_nonblocking(true).unwrap();
    let nothing = fourth.read(&mut [0]).unwrap_err();
    assert_eq!(nothing.kind(), ErrorKind::WouldBlock, "the cap holds");
    fourth.set_nonblocking(false).unwrap();
    drop(open.pop());
    assert!(answered(&mut fourth), "its turn has come");
    drop((open, fourth));
    server
        .eventually("all are free again", async |server| {
            server.request("GET", "/livez", &[], None).await.status == 200
        })
        .await;
}
