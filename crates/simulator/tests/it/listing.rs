//! Lists of messages: filters, pages, and messages that are not listed yet.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use simulator::{Faults, Settings};

use crate::caller::{Caller, DEADLINE, PERSON, SENDER, encoded, fast};

const OTHER_PERSON: &str = "whatsapp:+5511900000002";
const OTHER_SENDER: &str = "whatsapp:+551140000001";

fn sids(page: &Value) -> Vec<String> {
    let messages = page["messages"].as_array().unwrap();
    messages
        .iter()
        .map(|m| m["sid"].as_str().unwrap().to_owned())
        .collect()
}

async fn page(caller: &Caller, query: &[(&str, &str)]) -> Value {
    let path = caller.messages(&format!(".json?{}", encoded(query)));
    let answer = caller.get(&path).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

async fn found(caller: &Caller, query: &[(&str, &str)]) -> Vec<String> {
    sids(&page(caller, query).await)
}

async fn create_many(caller: &Caller, count: usize) -> Vec<String> {
    let mut made = Vec::new();
    for _ in 0..count {
        made.push(caller.text(PERSON, None).await.sid());
    }
    made
}

#[tokio::test]
async fn filters_by_recipient_and_sender() {
    let caller = Caller::start(fast()).await;
    let mut made = Vec::new();
    for to in [PERSON, OTHER_PERSON] {
        for from in [SENDER, OTHER_SENDER] {
            let form = [("To", to), ("From", from), ("Body", "Ola")];
            made.push(caller.create(&form).await.sid());
        }
    }
    let newest_first =
        |places: &[usize]| places.iter().map(|i| made[*i].clone()).collect::<Vec<_>>();
    assert_eq!(found(&caller, &[]).await, newest_first(&[3, 2, 1, 0]));
    assert_eq!(
        found(&caller, &[("To", PERSON)]).await,
        newest_first(&[1, 0])
    );
    assert_eq!(
        found(&caller, &[("From", OTHER_SENDER)]).await,
        newest_first(&[3, 1])
    );
    let both = [("To", PERSON), ("From", OTHER_SENDER)];
    assert_eq!(found(&caller, &both).await, newest_first(&[1]));
    assert!(
        found(&caller, &[("To", "whatsapp:+5511900000009")])
            .await
            .is_empty()
    );
    assert!(
        found(&caller, &[("From", "whatsapp:+551140000009")])
            .await
            .is_empty()
    );
}

#[tokio::test]
async fn filters_by_date_and_by_time() {
    let caller = Caller::start(fast()).await;
    let sid = caller.text(PERSON, None).await.sid();
    caller.quiet().await;
    let sent = caller.fetch(&sid).await.field("date_sent");
    let sent = jiff::fmt::rfc2822::parse(&sent).unwrap().timestamp();
    let day = |days: i64| {
        let at = sent + SignedDuration::from_hours(24 * days);
        at.strftime("%Y-%m-%d").to_string()
    };
    let second = |seconds: i64| (sent + SignedDuration::from_secs(seconds)).to_string();
    let cases = [
        ("DateSent", day(0), true),
        ("DateSent", day(-1), false),
        ("DateSent", day(1), false),
        ("DateSent<", day(0), true),
        ("DateSent<", day(1), true),
        ("DateSent<", day(-1), false),
        ("DateSent>", day(0), true),
        ("DateSent>", day(-1), true),
        ("DateSent>", day(1), false),
        // Twilio shows whole seconds, and a filter with the shown time finds the message.
        ("DateSent<", second(0), true),
        ("DateSent<", second(1), true),
        ("DateSent<", second(-1), false),
        ("DateSent>", second(0), true),
        ("DateSent>", second(-1), true),
        ("DateSent>", second(1), false),
    ];
    for (name, value, shows) in &cases {
        let found = found(&caller, &[(name, value)]).await;
        assert_eq!(
            found.len(),
            usize::from(*shows),
            "{name} {value}, sent {sent}"
        );
    }
    let (low, high) = (day(-1), day(1));
    assert_eq!(
        found(&caller, &[("DateSent>", &low), ("DateSent<", &high)])
            .await
            .len(),
        1
    );
    for name in ["DateSent", "DateSent<", "DateSent>"] {
        let path = caller.messages(&format!(".json?{}", encoded(&[(name, "yesterday")])));
        assert_eq!(caller.get(&path).await.refusal(), (400, 20_001), "{name}");
    }
}

/// A message that is not sent yet has no date of sending and is listed by its creation.
#[tokio::test]
async fn finds_what_is_not_sent_yet() {
    let caller = Caller::start(Settings {
        time_scale: 0.001,
        ..fast()
    })
    .await;
    let before = Timestamp::now() - SignedDuration::from_secs(1);
    let sid = caller.text(PERSON, None).await.sid();
    let since = before.to_string();
    assert_eq!(
        found(&caller, &[("To", PERSON), ("DateSent>", &since)]).await,
        [sid]
    );
}

#[tokio::test]
async fn pages_hold_every_message_once_newest_first() {
    let caller = Caller::start(fast()).await;
    let mut made = create_many(&caller, 25).await;
    let first = page(&caller, &[("PageSize", "10"), ("To", PERSON)]).await;
    // New messages do not move the pages while somebody reads them.
    create_many(&caller, 3).await;
    caller.text(OTHER_PERSON, None).await.sid();
    let mut pages = vec![first];
    while let Some(next) = pages.last().unwrap()["next_page_uri"].as_str() {
        pages.push(caller.get(next).await.json());
    }
    let sizes: Vec<usize> = pages.iter().map(|page| sids(page).len()).collect();
    assert_eq!(sizes, [10, 10, 5]);
    let all: Vec<String> = pages.iter().flat_map(sids).collect();
    made.reverse();
    assert_eq!(all, made);
    for (number, page) in pages.iter().enumerate() {
        assert_eq!(page["page"], number);
        assert_eq!(page["page_size"], 10);
        assert_eq!(page["start"], number * 10);
        assert_eq!(page["end"], number * 10 + sizes[number] - 1);
        let again = caller.get(page["uri"].as_str().unwrap()).await.json();
        if number > 0 {
            assert_eq!(sids(&again), sids(page), "the page's own address");
        }
    }
    assert_eq!(pages[0]["previous_page_uri"], Value::Null);
}

#[tokio::test]
async fn pages_lead_back_as_well() {
    let caller = Caller::start(fast()).await;
    create_many(&caller, 9).await;
    let mut pages = vec![page(&caller, &[("PageSize", "2")]).await];
    while let Some(next) = pages.last().unwrap()["next_page_uri"].as_str() {
        pages.push(caller.get(next).await.json());
    }
    assert_eq!(pages.len(), 5);
    let mut here = pages.pop().unwrap();
    while let Some(expected) = pages.pop() {
        let back = here["previous_page_uri"].as_str().unwrap();
        here = caller.get(back).await.json();
        assert_eq!(sids(&here), sids(&expected));
        assert_eq!(here["page"], expected["page"]);
        assert_eq!(here["next_page_uri"], expected["next_page_uri"]);
    }
    assert_eq!(here["previous_page_uri"], Value::Null);
}

#[tokio::test]
async fn page_sizes_have_bounds() {
    let caller = Caller::start(fast()).await;
    create_many(&caller, 60).await;
    let cases = [
        (&[][..], 50, 50),
        (&[("PageSize", "1")], 1, 1),
        (&[("PageSize", "0")], 1, 1),
        (&[("PageSize", "59")], 59, 59),
        (&[("PageSize", "60")], 60, 60),
        (&[("PageSize", "1000")], 1_000, 60),
        (&[("PageSize", "5000")], 1_000, 60),
    ];
    for (query, size, items) in cases {
        let page = page(&caller, query).await;
        assert_eq!(page["page_size"], size, "{query:?}");
        assert_eq!(sids(&page).len(), items, "{query:?}");
        assert_eq!(page["next_page_uri"].is_null(), items == 60, "{query:?}");
    }
    for query in [
        "PageSize=many",
        "PageSize=-1",
        "Page=x",
        "PageToken=PA1",
        "PageToken=1",
    ] {
        let answer = caller
            .get(&caller.messages(&format!(".json?{query}")))
            .await;
        assert_eq!(answer.refusal(), (400, 20_001), "{query}");
    }
}

#[tokio::test]
async fn a_message_shows_in_the_list_after_the_lag() {
    let lag = Duration::from_millis(1_000);
    let faults = Faults {
        list_lag_ms: 1_000_000.0,
        ..Faults::default()
    };
    let caller = Caller::start(Settings { faults, ..fast() }).await;
    let started = Instant::now();
    let sid = caller.text(PERSON, None).await.sid();
    assert_eq!(caller.fetch(&sid).await.status, 200);
    assert!(found(&caller, &[]).await.is_empty());
    assert!(found(&caller, &[("To", PERSON)]).await.is_empty());
    assert!(started.elapsed() < lag, "too slow a machine to see the lag");
    while found(&caller, &[("To", PERSON)]).await.is_empty() {
        assert!(started.elapsed() < DEADLINE, "it shows some time");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(started.elapsed() >= lag);
    assert_eq!(found(&caller, &[]).await, [sid]);
}
