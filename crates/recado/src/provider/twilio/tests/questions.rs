//! Reading messages back, and listing them page by page.

use delivery::time::Timestamp;

use super::*;
use crate::provider::InboundRecipient;

fn query(created_since: i64) -> ListQuery {
    ListQuery {
        to: "+5511900000001".into(),
        from: Some("+551140000000".into()),
        created_since: Timestamp::from_micros(created_since),
    }
}

/// The instant of `at(0)`, in microseconds.
const NOON: i64 = 1_763_640_000_000_000;

/// Twilio's spelling of `seconds` (less than a minute) after noon.
fn at(seconds: u32) -> String {
    format!("Thu, 20 Nov 2025 12:00:{seconds:02} +0000")
}

fn page(messages: &[(u32, u32)], next: Option<&str>) -> Vec<u8> {
    let messages: Vec<_> = messages
        .iter()
        .map(|(n, seconds)| message_json(*n, &at(*seconds)))
        .collect();
    let next = next.map_or("null".to_owned(), |next| format!("{next:?}"));
    let body = format!(
        r#"{{"messages":[{}],"next_page_uri":{next},"page":0}}"#,
        messages.join(",")
    );
    http("200 OK", &body)
}

fn first_line(request: &[u8]) -> String {
    String::from_utf8_lossy(request)
        .lines()
        .next()
        .unwrap()
        .to_owned()
}

fn list_path(query: &str) -> String {
    format!("/2010-04-01/Accounts/{ACCOUNT}/Messages.json?{query}")
}

fn sids(found: &[ProviderMessage]) -> Vec<Sid> {
    found.iter().map(|message| message.sid).collect()
}

#[tokio::test]
async fn a_fetch_believes_only_its_own_message() {
    let server = Server::answering(|_, _| http("200 OK", &message_json(5, &at(7)))).await;
    let twilio = server.twilio();
    let fetched = twilio.fetch(sid(5)).await.ok().unwrap();
    assert_eq!(
        (fetched.sid, fetched.status),
        (sid(5), ProviderStatus::Queued)
    );
    assert_eq!(
        fetched.created_at,
        Some(Timestamp::from_micros(NOON + 7_000_000))
    );
    // An answer about another message is no answer.
    assert_eq!(
        twilio.fetch(sid(6)).await.err(),
        Some(ProviderError::Garbage)
    );
    let requests = server.requests();
    let path = format!("/2010-04-01/Accounts/{ACCOUNT}/Messages/{}.json", sid(5));
    assert_eq!(first_line(&requests[0]), format!("GET {path} HTTP/1.1"));
    assert!(requests[0].ends_with(b"\r\n\r\n"));
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_list_follows_the_pages_as_given() {
    let server = Server::answering(|n, _| match n {
        0 => page(
            &[(9, 50), (8, 40)],
            Some(&list_path("PageSize=50&PageToken=PA%2Bb&Page=1")),
        ),
        1 => {
            // Whatever host it names, the next page is asked for where the first one was.
            let uri = format!(
                "https://other.example.com{}",
                list_path("PageToken=c&Page=2")
            );
            page(&[(7, 30)], Some(&uri))
        }
        _ => page(&[(6, 20)], None),
    })
    .await;
    let found = server.twilio().list(&query(NOON)).await.ok().unwrap();
    assert_eq!(sids(&found), [sid(9), sid(8), sid(7), sid(6)]);
    let lines: Vec<_> = server
        .requests()
        .iter()
        .map(|request| first_line(request))
        .collect();
    let first = "To=whatsapp%3A%2B5511900000001&From=whatsapp%3A%2B551140000000&PageSize=50";
    let expected = [
        first,
        "PageSize=50&PageToken=PA%2Bb&Page=1",
        "PageToken=c&Page=2",
    ];
    assert_eq!(
        lines,
        expected.map(|query| format!("GET {} HTTP/1.1", list_path(query)))
    );
}

#[tokio::test]
async fn a_list_stops_at_the_first_page_that_is_too_old() {
    // The list is ordered by sending: one message that is too old says nothing about the next.
    let first = page(
        &[(9, 50), (8, 28), (7, 30), (6, 29)],
        Some(&list_path("Page=1")),
    );
    let old = page(&[(5, 28), (4, 27)], Some(&list_path("Page=2")));
    let server = Server::answering(move |_, request| {
        if request.windows(6).any(|part| part == b"Page=1") {
            old.clone()
        } else {
            first.clone()
        }
    })
    .await;
    // 12:00:29.5: a message of second 29 may have been created after it.
    for (micros, found) in [
        (29_500_000, vec![sid(9), sid(7), sid(6)]),
        (30_000_000, vec![sid(9), sid(7)]),
    ] {
        let listed = server.twilio().list(&query(NOON + micros)).await;
        assert_eq!(sids(&listed.ok().unwrap()), found);
    }
    assert_eq!(server.requests().len(), 4);
}

#[tokio::test]
async fn a_list_without_end_is_no_list() {
    let server = Server::answering(|_, _| page(&[(9, 50)], Some(&list_path("Page=1")))).await;
    assert_eq!(
        server.twilio().list(&query(NOON)).await.err(),
        Some(ProviderError::Garbage)
    );
    assert_eq!(server.requests().len(), LIST_PAGES_MAX);
}

#[tokio::test]
async fn a_next_page_elsewhere_is_not_followed() {
    for next in [
        "/2010-04-01/Accounts.json",
        "//other.example.com/x",
        "nonsense",
        "?Page=1",
        "\\u0000",
    ] {
        let server = Server::answering(move |_, _| page(&[(9, 50)], Some(next))).await;
        let error = server.twilio().list(&query(NOON)).await.err();
        assert_eq!(error, Some(ProviderError::Garbage), "{next}");
        assert_eq!(server.requests().len(), 1, "{next}");
    }
}

#[tokio::test]
async fn a_list_fails_as_a_whole() {
    let server = Server::answering(|n, _| match n {
        0 => page(&[(9, 50)], Some(&list_path("Page=1"))),
        _ => http("503 Service Unavailable", ""),
    })
    .await;
    assert_eq!(
        server.twilio().list(&query(NOON)).await.err(),
        Some(ProviderError::Unreachable)
    );
}

#[tokio::test]
async fn a_full_page_of_the_longest_texts_fits() {
    let text = "\\ud83c\\udf89".repeat(1_600);
    let server = Server::answering(move |_, _| {
        let one = message_json(9, &at(50)).replace("Bom dia", &text);
        http(
            "200 OK",
            &format!(r#"{{"messages":[{}]}}"#, vec![one; 50].join(",")),
        )
    })
    .await;
    assert_eq!(
        server.twilio().list(&query(NOON)).await.ok().unwrap().len(),
        50
    );
}

#[tokio::test]
async fn what_people_wrote_is_listed_page_by_page() {
    let next = list_path("To=x&PageToken=PA%2Bb&Page=1");
    let second = next.clone();
    let server = Server::answering(move |n, _| match n {
        0 => page(&[(9, 50)], Some(&second)),
        // A page that leads to itself would be read for ever.
        _ => page(&[(8, 40)], Some(&second)),
    })
    .await;
    let twilio = server.twilio();
    let mut query = InboundListQuery {
        recipient: InboundRecipient::Number("+551140000000".into()),
        page: None,
    };
    let first = twilio.list_inbound(&query).await.ok().unwrap();
    assert_eq!(first.next.as_ref(), Some(&next));
    query.page = first.next;
    let error = twilio.list_inbound(&query).await.err();
    assert_eq!(error, Some(ProviderError::Garbage));
    // Where to go on is kept between runs; no other resource is asked for by it.
    query.page = Some("/2010-04-01/Accounts.json".into());
    let error = twilio.list_inbound(&query).await.err();
    assert_eq!(error, Some(ProviderError::Garbage));
    let lines: Vec<_> = server
        .requests()
        .iter()
        .map(|request| first_line(request))
        .collect();
    let first = list_path("To=whatsapp%3A%2B551140000000&PageSize=50");
    assert_eq!(
        lines,
        [first, next].map(|path| format!("GET {path} HTTP/1.1"))
    );
}
