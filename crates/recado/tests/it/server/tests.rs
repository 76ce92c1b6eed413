//! The end of a test finds what went wrong unseen.

use super::TestServer;
use crate::client::Answer;

/// A change of the database behind the back of the running gateway.
fn change(server: &TestServer, sql: &str) {
    let database = rusqlite::Connection::open(server.database()).unwrap();
    database.execute_batch(sql).unwrap();
}

/// A request that fails in the database, which stands in the log as an error.
async fn failing_request(server: &TestServer) -> Answer {
    change(server, "ALTER TABLE inbound RENAME TO hidden");
    let answer = server.get("/api/v1/inbound").await;
    change(server, "ALTER TABLE hidden RENAME TO inbound");
    answer
}

#[tokio::test(flavor = "multi_thread")]
#[should_panic(expected = "a request failed in the database")]
async fn an_error_that_nobody_announced_fails_the_test() {
    let server = TestServer::start().await;
    failing_request(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
#[should_panic(expected = "a request failed in the database")]
async fn an_error_of_an_earlier_gateway_fails_the_test_too() {
    let mut server = TestServer::start().await;
    failing_request(&server).await;
    server.kill_and_restart();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_announced_error_is_no_failure() {
    let mut server = TestServer::start().await;
    server.expect_error("a request failed in the database");
    let answer = failing_request(&server).await;
    assert_eq!(answer.status, 503, "{}", answer.text);
    assert_eq!(server.get("/api/v1/inbound").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
#[should_panic(expected = "an expected error never came: a request failed")]
async fn an_announced_error_must_come() {
    let mut server = TestServer::start().await;
    server.expect_error("a request failed");
}

#[tokio::test(flavor = "multi_thread")]
#[should_panic(expected = "63016")]
async fn a_difference_fails_the_test() {
    let server = TestServer::start().await;
    change(
        &server,
        "INSERT INTO counter (cohort_id, metric, code, n) VALUES (1, 11, 63016, 5)",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_that_damages_its_database_says_so() {
    let mut server = TestServer::start().await;
    server.without_recount("the test changes a counter");
    change(
        &server,
        "INSERT INTO counter (cohort_id, metric, code, n) VALUES (1, 11, 63016, 5)",
    );
}
