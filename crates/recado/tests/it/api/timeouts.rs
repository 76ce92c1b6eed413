//! What the server does about connections on which nothing happens: idle streams are kept alive,
//! slow callers are cut off.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::events::Stream;
use crate::server::TestServer;

/// Waits until the server closes a connection; gives how long that took and what it said.
fn closed(mut connection: TcpStream, since: Instant) -> (Duration, String) {
    let mut said = Vec::new();
    // A reset is an end as well.
    let _ = connection.read_to_end(&mut said);
    (since.elapsed(), String::from_utf8_lossy(&said).into_owned())
}

/// All of these wait for the same seconds, so they wait together.
#[tokio::test(flavor = "multi_thread")]
async fn idle_streams_live_and_slow_callers_are_cut_off() {
    let server = TestServer::start().await;
    let since = Instant::now();
    let connect = |text: &str| server.connect(text, Duration::from_secs(25));
    let slow = [
        ("nothing at all", connect("")),
        (
            "half a header",
            connect("GET /livez HTTP/1.1\r\nHost: h\r\nX-Slow: "),
        ),
        ("half a request line", connect("GET /liv")),
        (
            "idle after an answer",
            connect("GET /livez HTTP/1.1\r\nHost: h\r\n\r\n"),
        ),
    ];
    let ends: Vec<_> = slow
        .into_iter()
        .map(|(name, connection)| (name, std::thread::spawn(move || closed(connection, since))))
        .collect();
    // One byte now and then does not help.
    let mut dripping = connect("GET /livez HTTP/1.1\r\nHost: h\r\n");
    let drip = std::thread::spawn(move || {
        while since.elapsed() < Duration::from_secs(22) {
            if dripping.write_all(b"X: y\r\n").is_err() {
                return since.elapsed();
            }
            std::thread::sleep(Duration::from_millis(500));
        }
        since.elapsed()
    });
    let mut stream = Stream::open(&server, "", None);
    let kept = tokio::task::spawn_blocking(move || (stream.block().unwrap(), since.elapsed()));
    let (block, after) = kept.await.unwrap();
    assert_eq!(block, ":\n\n", "a comment keeps an idle stream alive");
    assert!(after <= Duration::from_secs(20), "{after:?}");
    for (name, end) in ends {
        let (took, said) = end.join().unwrap();
        assert!(took >= Duration::from_secs(10), "{name} {took:?} {said}");
        assert!(took <= Duration::from_secs(20), "{name} {took:?} {said}");
        if name == "idle after an answer" {
            assert!(said.starts_with("HTTP/1.1 200"), "{said}");
        }
    }
    let took = drip.join().unwrap();
    assert!(took <= Duration::from_secs(20), "dripping {took:?}");
    assert_eq!(server.get("/livez").await.status, 200);
}
