//! Nothing about a person can be read from the files.

use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use delivery::message::{BusinessKey, Content, Message, WindowChoice};
use delivery::outcome::ProviderStatus;

use crate::store::engine::Sqlite;
use crate::store::fixture::{FIRST, MINUTE, StoreFixture};
use crate::store::samples::{notice, number, old_number};

const NAME: &str = "Iracema Quixeramobim";
const TEXT: &str = "entrevista na sala azul";
const METADATA: &str = "candidata-4711";
const SUBJECT: &str = "interview-0815";
const ANSWER: &str = "levo o meu diploma";

/// Every spelling under which somebody would look for a text.
fn spellings(text: &str) -> Vec<Vec<u8>> {
    let mut out = vec![
        text.as_bytes().to_vec(),
        text.to_uppercase().into_bytes(),
        text.chars().rev().collect::<String>().into_bytes(),
        text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
        hex(text).into_bytes(),
        hex(text).to_uppercase().into_bytes(),
    ];
    // Base64 looks different at each of three places; only the middle of it is the same.
    for shift in 0..3 {
        let padded = format!("{}{text}", "\0".repeat(shift));
        let encoded = STANDARD.encode(padded);
        let (from, to) = (shift.div_ceil(1) * 2, encoded.len() - 4);
        out.push(encoded.as_bytes()[from..to].to_vec());
    }
    out
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

/// A number also hides in an integer.
fn number_spellings(digits: &str) -> Vec<Vec<u8>> {
    let value: u64 = digits.parse().unwrap();
    let mut out = spellings(digits);
    let (big, little) = (value.to_be_bytes(), value.to_le_bytes());
    out.push(big[2..].to_vec());
    out.push(little[..6].to_vec());
    let nibbles: Vec<u8> = digits.bytes().map(|digit| digit - b'0').collect();
    out.push(nibbles.chunks_exact(2).map(|n| n[0] << 4 | n[1]).collect());
    out
}

fn contains(file: &[u8], needle: &[u8]) -> bool {
    assert!(needle.len() >= 5, "too short to mean anything: {needle:?}");
    memchr::memmem::find(file, needle).is_some()
}

fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            (name, std::fs::read(entry.path()).unwrap())
        })
        .collect()
}

async fn live(fixture: &mut StoreFixture) {
    for n in 4_711..4_731 {
        let message = Message {
            content: Content::Template {
                content_sid: crate::store::samples::template_sid(1),
                variables: vec![("1".into(), NAME.into()), ("2".into(), TEXT.into())],
            },
            metadata: Some(format!("{{\"ref\":\"{METADATA}\"}}")),
            business_key: Some(BusinessKey::parse(&format!("{SUBJECT}:{n}:v1"))),
            ..notice(n, "")
        };
        let id = fixture.accept(message).await;
        let sent = fixture.send(id).await;
        fixture.report(sent, ProviderStatus::Delivered).await;
        let from = format!("whatsapp:{}", old_number(n));
        let inbound = fixture.inbound_from(&from, FIRST, ANSWER);
        fixture.receive(inbound).await;
        let free = Message {
            content: Content::Text {
                body: format!("{NAME}: {TEXT}"),
                persistent_action: None,
            },
            window: WindowChoice::AssumeOpen,
            ..notice(n, "")
        };
        let id = fixture.accept(free).await;
        fixture.lose(id).await;
        fixture.pass(MINUTE);
    }
}

fn secrets() -> Vec<(String, Vec<Vec<u8>>)> {
    let mut secrets: Vec<(String, Vec<Vec<u8>>)> = [NAME, TEXT, METADATA, SUBJECT, ANSWER]
        .iter()
        .map(|text| ((*text).to_owned(), spellings(text)))
        .collect();
    for n in 4_711..4_731 {
        for written in [number(n), old_number(n)] {
            let digits = written.trim_start_matches('+').to_owned();
            let national = digits.trim_start_matches("55").to_owned();
            secrets.push((digits.clone(), number_spellings(&digits)));
            secrets.push((national.clone(), number_spellings(&national)));
        }
    }
    secrets
}

/// Which secrets a file holds.
fn leaks(file: &[u8]) -> Vec<String> {
    secrets()
        .into_iter()
        .filter(|(_, spellings)| spellings.iter().any(|needle| contains(file, needle)))
        .map(|(secret, _)| secret)
        .collect()
}

#[tokio::test]
async fn no_number_name_or_text_stands_in_the_files() {
    let engine = Arc::new(Sqlite::fresh());
    let mut fixture = StoreFixture::new(super::tamper::Watched(engine.clone())).await;
    live(&mut fixture).await;
    for running in [true, false] {
        if !running {
            fixture.stop();
        }
        let files = files(engine.folder());
        let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
        assert!(names.contains(&"recado.db"), "{names:?}");
        assert!(!running || names.contains(&"recado.db-wal"), "{names:?}");
        // What is no secret is found, so the search looks at the right bytes.
        let all: Vec<u8> = files.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
        for public in [FIRST, "sealed_content", "HX0000000000000000000000000000"] {
            assert!(contains(&all, public.as_bytes()), "{public}");
        }
        for (name, bytes) in &files {
            assert_eq!(leaks(bytes), Vec::<String>::new(), "in {name}");
        }
    }
}

/// The search itself finds every secret in every spelling.
#[test]
fn the_search_finds_what_is_there() {
    let secrets = secrets();
    assert_eq!(secrets.len(), 5 + 20 * 2 * 2);
    for (secret, spellings) in secrets {
        for spelling in &spellings {
            let mut file = vec![0x5a; 10_000];
            file[4_093..4_093 + spelling.len()].copy_from_slice(spelling);
            assert!(leaks(&file).contains(&secret), "{secret} as {spelling:?}");
        }
        let encoded = STANDARD.encode(format!("..{secret}."));
        assert!(leaks(encoded.as_bytes()).contains(&secret), "{encoded}");
    }
    assert_eq!(leaks(&[0x5a; 10_000]), Vec::<String>::new());
}
