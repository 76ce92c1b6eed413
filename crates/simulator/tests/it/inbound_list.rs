//! What people write is in the list and can be fetched, as at Twilio.

use std::time::{Duration, Instant};

use hyper::Method;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use simulator::{Faults, Settings};

use crate::caller::{Caller, DEADLINE, PERSON, SENDER, encoded, fast};

const OTHER_SENDER: &str = "whatsapp:+551140000001";

async fn start() -> Caller {
    let settings = Settings {
        senders: vec!["+551140000000".to_owned(), "+551140000001".to_owned()],
        ..fast()
    };
    Caller::start(settings).await
}

/// A person writes; returns the SID.
async fn write(caller: &Caller, message: &Value) -> String {
    let answer = caller.control(Method::POST, "inbound", message).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.field("sid")
}

async fn page(caller: &Caller, query: &[(&str, &str)]) -> Value {
    let path = caller.messages(&format!(".json?{}", encoded(query)));
    let answer = caller.get(&path).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

async fn found(caller: &Caller, query: &[(&str, &str)]) -> Vec<String> {
    let page = page(caller, query).await;
    let messages = page["messages"].as_array().unwrap().iter();
    messages
        .map(|m| m["sid"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn what_people_write_is_shown_as_twilio_shows_it() {
    let caller = start().await;
    let message = json!({ "from": "+5511900000001", "body": "Olá" });
    let sid = write(&caller, &message).await;
    let fetched = caller.fetch(&sid).await;
    assert_eq!(fetched.status, 200);
    let shown = fetched.json();
    let path = caller.messages(&format!("/{sid}"));
    let expected = [
        ("sid", json!(sid)),
        ("account_sid", json!(caller.sim.account_sid())),
        ("messaging_service_sid", Value::Null),
        ("from", json!(PERSON)),
        ("to", json!(SENDER)),
        ("body", json!("Olá")),
        ("status", json!("received")),
        ("direction", json!("inbound")),
        ("num_segments", json!("1")),
        ("num_media", json!("0")),
        ("price", Value::Null),
        ("error_code", Value::Null),
        ("api_version", json!("2010-04-01")),
        ("uri", json!(format!("{path}.json"))),
        (
            "subresource_uris",
            json!({ "media": format!("{path}/Media.json") }),
        ),
    ];
    for (name, value) in expected {
        assert_eq!(shown[name], value, "{name}");
    }
    for name in ["date_created", "date_sent", "date_updated"] {
        assert_eq!(shown[name], shown["date_created"], "{name}");
    }
    let listed = page(&caller, &[]).await;
    assert_eq!(listed["messages"], json!([shown]));
    // It can be redacted and deleted, but not canceled.
    let cancel = caller
        .send(Method::POST, &format!("{path}.json"), "Status=canceled")
        .await;
    assert_eq!(cancel.refusal(), (409, 30_409));
    let redact = caller
        .send(Method::POST, &format!("{path}.json"), "Body=")
        .await;
    assert_eq!((redact.status, redact.field("body")), (200, String::new()));
    let delete = caller
        .send(Method::DELETE, &format!("{path}.json"), "")
        .await;
    assert_eq!(delete.status, 204);
    assert_eq!(caller.fetch(&sid).await.refusal(), (404, 20_404));
    assert!(found(&caller, &[]).await.is_empty());
}

#[tokio::test]
async fn media_of_people_are_counted_and_listed() {
    let caller = start().await;
    let media = json!([["https://example.com/m", "image/jpeg"]]);
    let message = json!({ "from": PERSON, "media": media });
    let sid = write(&caller, &message).await;
    assert_eq!(caller.fetch(&sid).await.field("num_media"), "1");
    let path = caller.messages(&format!("/{sid}/Media.json"));
    let list = caller.get(&path).await.json();
    assert_eq!(list["media_list"][0]["content_type"], "image/jpeg");
    assert_eq!(list["media_list"][0]["parent_sid"], sid.as_str());
    assert_eq!(list["media_list"].as_array().unwrap().len(), 1);
    let media = [
        ("To", PERSON),
        ("From", SENDER),
        ("MediaUrl", "https://example.com/m"),
    ];
    let sid = caller.create(&media).await.sid();
    let listed = page(&caller, &[("To", PERSON)]).await;
    assert_eq!(listed["messages"][0]["sid"], sid.as_str());
    assert_eq!(listed["messages"][0]["num_media"], "1");
}

#[tokio::test]
async fn the_list_has_both_directions_newest_first() {
    let caller = start().await;
    let mut made = Vec::new();
    for sender in [SENDER, OTHER_SENDER] {
        let form = [("To", PERSON), ("From", sender), ("Body", "Ola")];
        made.push(caller.create(&form).await.sid());
        let message = json!({ "from": PERSON, "to": sender, "body": "Oi" });
        made.push(write(&caller, &message).await);
    }
    let of = |places: &[usize]| places.iter().map(|i| made[*i].clone()).collect::<Vec<_>>();
    assert_eq!(found(&caller, &[]).await, of(&[3, 2, 1, 0]));
    assert_eq!(found(&caller, &[("To", SENDER)]).await, of(&[1]));
    assert_eq!(found(&caller, &[("To", OTHER_SENDER)]).await, of(&[3]));
    assert_eq!(found(&caller, &[("To", PERSON)]).await, of(&[2, 0]));
    assert_eq!(found(&caller, &[("From", PERSON)]).await, of(&[3, 1]));
    assert_eq!(found(&caller, &[("From", SENDER)]).await, of(&[0]));
    // Pages go through both.
    let mut seen = Vec::new();
    let mut path = caller.messages(".json?PageSize=1");
    loop {
        let page = caller.get(&path).await.json();
        seen.push(page["messages"][0]["sid"].as_str().unwrap().to_owned());
        match page["next_page_uri"].as_str() {
            Some(next) => path = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(seen, of(&[3, 2, 1, 0]));
}

#[tokio::test]
async fn a_message_stands_where_it_was_written() {
    let caller = start().await;
    let hour_ago = json!({ "from": PERSON, "body": "SAIR", "written_ms_ago": 3_600_000 });
    let now = write(&caller, &json!({ "from": PERSON, "body": "VOLTAR" })).await;
    let before = write(&caller, &hour_ago).await;
    assert_eq!(found(&caller, &[]).await, [now.clone(), before.clone()]);
    let created = caller.fetch(&before).await.field("date_created");
    let created = jiff::fmt::rfc2822::parse(&created).unwrap().timestamp();
    let ago = Timestamp::now().duration_since(created);
    assert!((ago - SignedDuration::from_hours(1)).abs() < SignedDuration::from_mins(1));
    let since = (created + SignedDuration::from_mins(30)).to_string();
    let filter = [("To", SENDER), ("DateSent>", since.as_str())];
    assert_eq!(found(&caller, &filter).await, [now]);
    let truth = caller.sim.truth_of_inbound();
    let written: Vec<Timestamp> = truth
        .iter()
        .map(|message| message.written_at.parse().unwrap())
        .collect();
    assert!(written[1] < written[0]);
    // One page after the other, also across the message that came late.
    let first = page(&caller, &[("PageSize", "1")]).await;
    let next = caller.get(first["next_page_uri"].as_str().unwrap()).await;
    assert_eq!(next.json()["messages"][0]["sid"], before.as_str());
}

#[tokio::test]
async fn what_people_write_can_lag_behind_in_the_list() {
    let caller = start().await;
    let never = json!({ "from": PERSON, "list_lag_ms": 1e12 });
    let hidden = write(&caller, &never).await;
    assert!(found(&caller, &[]).await.is_empty());
    assert_eq!(caller.fetch(&hidden).await.status, 200);
    caller.sim.set_faults(Faults {
        list_lag_ms: 200_000.0,
        ..Faults::default()
    });
    let sid = write(&caller, &json!({ "from": PERSON })).await;
    let end = Instant::now() + DEADLINE;
    while found(&caller, &[]).await != [sid.clone()] {
        assert!(Instant::now() < end, "it appears");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn texts_can_be_hidden() {
    let caller = start().await;
    let template = "HX00000000000000000000000000000001";
    let form = [("To", PERSON), ("From", SENDER), ("ContentSid", template)];
    let cases = [
        ("all", [false, false, false]),
        ("null", [true, true, true]),
        ("null_for_templates", [false, true, false]),
    ];
    for (bodies, hidden) in cases {
        let faults = json!({ "bodies": bodies });
        let set = caller.control(Method::PUT, "faults", &faults).await;
        assert_eq!(set.status, 204, "{}", set.text);
        let text = caller.text(PERSON, None).await;
        let rendered = caller.create(&form).await;
        let inbound = write(&caller, &json!({ "from": PERSON, "body": "Oi" })).await;
        let listed = page(&caller, &[("PageSize", "3")]).await;
        let sids = [text.sid(), rendered.sid(), inbound];
        for (place, (sid, hidden)) in sids.iter().zip(hidden).enumerate() {
            let fetched = caller.fetch(sid).await.json();
            assert_eq!(fetched["body"].is_null(), hidden, "{bodies} {place}");
            let in_list = &listed["messages"][2 - place];
            assert_eq!(in_list["sid"], sid.as_str());
            assert_eq!(in_list["body"], fetched["body"], "{bodies} {place}");
        }
        assert_eq!(text.json()["body"].is_null(), hidden[0]);
        assert_eq!(rendered.json()["body"].is_null(), hidden[1]);
    }
    // The truth always has them.
    assert!(caller.sim.truth()[0].body == "Ola");
}
