//! Nothing of a person lies in clear in files, logs or pages.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde_json::{Value, json};
use simulator::{Inbound, Phone, PhoneBehavior};

use crate::server::{TEMPLATE, TestServer, mobile};

const PEOPLE: usize = 200;

/// The ways in which a text may lie about.
fn encodings(text: &str) -> Vec<Vec<u8>> {
    let hex = |upper: bool| -> Vec<u8> {
        let digit = |b: u8| {
            if upper {
                format!("{b:02X}")
            } else {
                format!("{b:02x}")
            }
        };
        text.bytes().map(digit).collect::<String>().into_bytes()
    };
    let utf16 = |bytes: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(bytes).collect();
    let percent: String = text
        .bytes()
        .map(|b| {
            if b.is_ascii_alphanumeric() {
                char::from(b).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect();
    let mut all = vec![
        text.as_bytes().to_vec(),
        text.chars().rev().collect::<String>().into_bytes(),
        hex(false),
        hex(true),
        utf16(u16::to_le_bytes),
        utf16(u16::to_be_bytes),
        percent.into_bytes(),
    ];
    // Base64 at each of the three places in its group, without what the neighbors decide.
    for shift in 0..3 {
        let mut padded = vec![b' '; shift];
        padded.extend(text.bytes());
        let whole = STANDARD_NO_PAD.encode(&padded);
        let from = [0, 2, 3][shift];
        let to = whole.len() - [0, 3, 2][padded.len() % 3];
        all.push(whole.as_bytes()[from..to].to_vec());
    }
    all
}

/// Which of the secrets lie in `data`.
fn found(data: &[u8], secrets: &[String]) -> Vec<String> {
    secrets
        .iter()
        .filter(|secret| {
            encodings(secret)
                .iter()
                .any(|wanted| memchr::memmem::find(data, wanted).is_some())
        })
        .cloned()
        .collect()
}

fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            (path.display().to_string(), std::fs::read(&path).unwrap())
        })
        .collect()
}

/// What is known of a person.
fn secrets(person: usize) -> Vec<String> {
    let number = mobile(person);
    let national = number.strip_prefix("+55").unwrap().to_owned();
    let without_nine = format!("{}{}", &national[..2], &national[3..]);
    vec![
        number.strip_prefix('+').unwrap().to_owned(),
        national.clone(),
        without_nine,
        national[2..].to_owned(),
        format!("Fulana{person:04}deTal"),
        format!("entrevista secreta {person:04}"),
        format!("resposta secreta {person:04}"),
        format!("ficha-{person:04}-x"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn no_number_name_or_text_lies_in_clear() {
    let mut server = TestServer::with(
        |settings| {
            settings.phones = (0..PEOPLE)
                .map(|person| Phone {
                    number: mobile(person),
                    character: character(person),
                })
                .collect();
        },
        &[("RECADO_LOG", "trace,recado=trace")],
    )
    .await;
    use_it(&server).await;
    let metrics = server.get("/metrics").await.text;
    let numbers = server
        .get("/api/v1/metrics/delivery?group_by=area")
        .await
        .text;
    let mut places = files(server.folder());
    assert!(server.gateway.terminate().success());
    let log = server.gateway.log();
    assert!(log.len() > 1_000, "the log was not caught: {log}");
    let sizes: Vec<_> = places
        .iter()
        .map(|(name, data)| (name, data.len()))
        .collect();
    assert!(
        sizes
            .iter()
            .any(|(name, size)| name.ends_with("-wal") && *size > 100_000),
        "{sizes:?}"
    );
    places.push(("log".to_owned(), log.into_bytes()));
    places.push(("metrics".to_owned(), metrics.into_bytes()));
    places.push(("numbers".to_owned(), numbers.into_bytes()));
    let secrets: Vec<String> = (0..PEOPLE).flat_map(secrets).collect();
    for (name, data) in &places {
        let found = found(data, &secrets);
        assert!(
            found.is_empty(),
            "{name} holds {} secrets, for example {}",
            found.len(),
            found[0]
        );
    }
}

fn character(person: usize) -> PhoneBehavior {
    match person % 10 {
        0 => PhoneBehavior::NotOnWhatsapp,
        1 => PhoneBehavior::OnlyWithoutNinthDigit,
        2 => PhoneBehavior::Blocked,
        // Each pair of them holds the sender for longer.
        3 if person < 30 => PhoneBehavior::LimitedOnce,
        4 => PhoneBehavior::Answers("SAIR".to_owned()),
        _ => PhoneBehavior::ReadsAtOnce,
    }
}

/// Everything that touches people: sending in each way, writing to us, opting out, looking.
async fn use_it(server: &TestServer) {
    let messages: Vec<Value> = (0..PEOPLE)
        .map(|person| {
            let mut message = json!({
                "to": mobile(person),
                "metadata": { "nome": format!("Fulana{person:04}deTal") },
                "business_key": format!("ficha-{person:04}-x:reminder:v1"),
                "idempotency_key": format!("ficha-{person:04}-x"),
            });
            let text = format!("Olá Fulana{person:04}deTal, entrevista secreta {person:04}");
            if person % 2 == 0 {
                message["content_sid"] = json!(TEMPLATE);
                message["variables"] = json!({ "1": text });
            } else {
                message["body"] = json!(text);
                message["window"] = json!("assume_open");
            }
            message
        })
        .collect();
    let answer = server
        .post("/api/v1/messages/bulk", &json!({ "messages": messages }))
        .await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    for person in 0..PEOPLE {
        let inbound = Inbound {
            from: mobile(person),
            body: Some(format!("resposta secreta {person:04}")),
            profile_name: Some(format!("Fulana{person:04}deTal")),
            ..Inbound::default()
        };
        assert_eq!(server.simulator.inbound(inbound).await.answered, Some(200));
    }
    server.simulator.quiet().await;
    server
        .eventually("everything decided", async |server| {
            let page = server
                .get("/api/v1/messages?limit=1&state=accepted")
                .await
                .json();
            page["messages"].as_array().is_some_and(Vec::is_empty)
        })
        .await;
    // Wrong requests must not write what they carried into the log either.
    for person in 0..20 {
        let wrong = json!({ "to": mobile(person), "body": "entrevista secreta", "typo": 1 });
        assert_eq!(server.post("/api/v1/messages", &wrong).await.status, 422);
        let path = format!("/api/v1/messages?to=%2B{}", &mobile(person)[1..]);
        assert_eq!(server.get(&path).await.status, 200);
    }
}

#[test]
fn the_scan_finds_what_is_there() {
    let secret = "85980000007".to_owned();
    let all = encodings(&secret);
    assert_eq!(all.len(), 10);
    for (place, encoded) in all.iter().enumerate() {
        let data = [&b"before"[..], encoded, &b"after"[..]].concat();
        assert_eq!(
            found(&data, std::slice::from_ref(&secret)).len(),
            1,
            "encoding {place}"
        );
    }
    // Real base64 of a longer text that holds it, at each place of the group.
    for before in ["a", "ab", "abc"] {
        let text = format!("{before}{secret}xyz");
        let data = STANDARD_NO_PAD.encode(text);
        assert_eq!(
            found(data.as_bytes(), std::slice::from_ref(&secret)).len(),
            1,
            "base64 after {before}"
        );
    }
    assert!(found(b"nothing of interest 8598000000", &[secret]).is_empty());
}
