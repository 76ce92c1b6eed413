//! Published vectors, recorded callbacks, forgeries, and an independent signer.

mod forgeries;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::callbacks::form::tests::recorded::{Recorded, recorded};

const VECTORS: &str = include_str!("../../../tests/fixtures/signature_vectors.json");
const URL: &str = "https://gateway.example.com/webhooks/twilio/status";
const TOKEN: &str = "0123456789abcdef0123456789abcdef";

fn secret(token: &str) -> Secret {
    Secret::new(token.to_owned())
}

fn verifier(url: &str, token: &str) -> Verifier {
    Verifier::new(&[url], &[secret(token)]).unwrap()
}

fn encode(fields: &[(String, String)]) -> String {
    url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .finish()
}

/// Twilio's algorithm written down once more, in other words.
fn sign(url: &str, body: &[u8], token: &str) -> String {
    let mut fields = BTreeMap::<_, BTreeSet<_>>::new();
    for (name, value) in url::form_urlencoded::parse(body) {
        fields.entry(name).or_default().insert(value);
    }
    let mut text = url.to_owned();
    for (name, values) in &fields {
        for value in values {
            text.push_str(name);
            text.push_str(value);
        }
    }
    sign_text(&text, token)
}

/// HMAC as RFC 2104 writes it.
fn sign_text(text: &str, token: &str) -> String {
    let mut key = [0u8; 64];
    if token.len() > key.len() {
        key[..20].copy_from_slice(&Sha1::digest(token.as_bytes()));
    } else {
        key[..token.len()].copy_from_slice(token.as_bytes());
    }
    let inner = Sha1::digest([&key.map(|byte| byte ^ 0x36), text.as_bytes()].concat());
    STANDARD.encode(Sha1::digest(
        [&key.map(|byte| byte ^ 0x5c), &inner[..]].concat(),
    ))
}

#[derive(Deserialize)]
struct Vectors {
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    id: String,
    level: String,
    token: String,
    url: String,
    params: Option<Vec<(String, Option<String>)>>,
    body: Option<String>,
    signature: String,
}

/// The published vectors at each level.
///
/// `quirk`: `query-plus-and-apostrophe` is signed over another spelling of the query than the one
/// received; we sign what was received and refuse it. `url-non-ascii` is signed over letters that
/// a request cannot carry; it verifies as long as nobody re-encodes them.
/// `library-only`: a field without a value cannot arrive; it verifies as an empty one.
#[test]
fn published_vectors() {
    let vectors: Vectors = serde_json::from_str(VECTORS).unwrap();
    assert_eq!(vectors.vectors.len(), 42);
    for vector in &vectors.vectors {
        let accepted = match vector.level.as_str() {
            "core" | "port-tolerant" | "library-only" => true,
            "reject" => false,
            "quirk" => vector.id == "url-non-ascii",
            level => panic!("unknown level {level}"),
        };
        let (declared, query) = match vector.url.split_once('?') {
            Some((declared, query)) => (declared, Some(query)),
            None => (vector.url.as_str(), None),
        };
        // However the URL was declared, its own query and fragment make no difference.
        for declared in [
            declared.to_owned(),
            format!("{declared}?x=1"),
            format!("{declared}#rc=3&rp=5xx"),
        ] {
            let verifier = verifier(&declared, &vector.token);
            let result = match (&vector.params, &vector.body) {
                (_, Some(body)) => verifier.verify_json(query, body.as_bytes(), &vector.signature),
                (params, None) => {
                    let fields: Vec<_> = params
                        .iter()
                        .flatten()
                        .map(|(name, value)| (name.clone(), value.clone().unwrap_or_default()))
                        .collect();
                    let body = encode(&fields);
                    let result = verifier.verify_form(query, body.as_bytes(), &vector.signature);
                    if fields.is_empty() {
                        assert_eq!(
                            verifier.verify_get(query, &vector.signature).is_ok(),
                            accepted
                        );
                    }
                    result.map(|form| assert_eq!(form.len(), fields.len()))
                }
            };
            assert_eq!(result.is_ok(), accepted, "{} {result:?}", vector.id);
        }
    }
}

#[test]
fn recorded_callbacks() {
    let all = recorded();
    assert_eq!(all.len(), 43);
    for Recorded {
        file,
        url,
        token,
        signature,
        body,
        fields,
    } in &all
    {
        let form = verifier(url, token).verify_form(None, body, signature);
        let form = form.unwrap_or_else(|refusal| panic!("{file}: {refusal}"));
        let read: Vec<_> = form.iter().collect();
        let fields: Vec<_> = fields
            .iter()
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
            .collect();
        assert_eq!(read, fields, "{file}");
        assert_eq!(&sign(url, body, token), signature, "{file}");
    }
}

#[test]
fn each_valid_token_and_url_verifies() {
    let urls = [URL, "https://old.example.com/status"];
    let verifier = Verifier::new(&urls, &[secret("primary"), secret("secondary")]).unwrap();
    for url in urls {
        for token in ["primary", "secondary"] {
            assert!(
                verifier
                    .verify_form(None, b"a=1", &sign(url, b"a=1", token))
                    .is_ok()
            );
        }
        assert!(
            verifier
                .verify_form(None, b"a=1", &sign(url, b"a=1", "revoked"))
                .is_err()
        );
    }
}

#[test]
fn port_spellings_of_a_url() {
    for (url, spellings) in [
        (
            "https://h/p",
            ["https://h/p", "https://h:443/p", "https://h/p"],
        ),
        ("http://h/p", ["http://h/p", "http://h:80/p", "http://h/p"]),
        (
            "https://h:8443/p?q#f",
            ["https://h:8443/p", "https://h:8443/p", "https://h/p"],
        ),
        ("HTTPS://H", ["HTTPS://H", "HTTPS://H:443", "HTTPS://H"]),
        (
            "https://u:p@h/a:1@b",
            [
                "https://u:p@h/a:1@b",
                "https://u:p@h:443/a:1@b",
                "https://u:p@h/a:1@b",
            ],
        ),
        (
            "http://[::1]:81/p",
            ["http://[::1]:81/p", "http://[::1]:81/p", "http://[::1]/p"],
        ),
        (
            "http://[::1]/p",
            ["http://[::1]/p", "http://[::1]:80/p", "http://[::1]/p"],
        ),
    ] {
        assert_eq!(
            port_spellings(url),
            Some(spellings.map(str::to_owned)),
            "{url}"
        );
    }
    for bad in [
        "",
        "h/p",
        "//h/p",
        "ftp://h/p",
        "https://",
        "https:///p",
        "https://:443/p",
        "https://h:/p",
        "https://h:x/p",
        "https://u@/p",
    ] {
        assert_eq!(port_spellings(bad), None, "{bad}");
        assert_eq!(
            Verifier::new(&[bad], &[secret("t")]).err(),
            Some(VerifierError::Url),
            "{bad}"
        );
    }
}

#[test]
fn a_verifier_that_verifies_nothing_or_everything_is_not_made() {
    assert_eq!(Verifier::new(&[URL], &[]).err(), Some(VerifierError::Token));
    assert_eq!(
        Verifier::new(&[URL], &[secret("")]).err(),
        Some(VerifierError::Token)
    );
    assert_eq!(
        Verifier::new(&[URL], &[secret("a"), secret("")]).err(),
        Some(VerifierError::Token)
    );
    assert_eq!(
        Verifier::new(&[], &[secret("a")]).err(),
        Some(VerifierError::Url)
    );
}

#[test]
fn json_needs_exactly_its_own_hash() {
    let verifier = verifier(URL, TOKEN);
    let body = br#"{"a":1}"#;
    let hash: String = Sha256::digest(body)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let other: String = Sha256::digest(b"other")
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let check = |query: &str| {
        verifier.verify_json(
            Some(query),
            body,
            &sign_text(&format!("{URL}?{query}"), TOKEN),
        )
    };
    assert_eq!(check(&format!("bodySHA256={hash}")), Ok(()));
    assert_eq!(check(&format!("c=1&bodySHA256={hash}&d=2")), Ok(()));
    for query in [
        String::new(),
        "c=1".to_owned(),
        "bodySHA256=".to_owned(),
        "bodySHA256".to_owned(),
        format!("bodySHA256={other}"),
        format!("bodySHA256={}", hash.to_uppercase()),
        format!("bodysha256={hash}"),
        format!("xbodySHA256={hash}"),
        format!("bodySHA256={hash}0"),
        format!("bodySHA256={}", &hash[1..]),
        format!("bodySHA256={}g", &hash[1..]),
        format!("bodySHA256={}é", &hash[2..]),
        format!("bodySHA256={hash}&bodySHA256={hash}"),
        format!("bodySHA256={hash}&bodySHA256={other}"),
        format!("body%53HA256={hash}"),
    ] {
        assert_eq!(check(&query), Err(Refusal::BodyHash), "{query}");
    }
    assert_eq!(
        verifier.verify_json(None, body, &sign_text(URL, TOKEN)),
        Err(Refusal::BodyHash)
    );
    let query = format!("bodySHA256={hash}");
    assert_eq!(
        verifier.verify_json(Some(&query), body, &sign_text(URL, TOKEN)),
        Err(Refusal::Mismatch)
    );
}

#[test]
fn a_body_with_too_many_fields_is_refused_before_the_signature() {
    let body = vec!["a=1"; 300].join("&");
    let refusal =
        verifier(URL, TOKEN).verify_form(None, body.as_bytes(), &sign(URL, body.as_bytes(), TOKEN));
    assert_eq!(refusal.err(), Some(Refusal::Fields(TooManyFields)));
}

#[test]
fn what_is_the_same_to_twilio_is_accepted() {
    let verifier = verifier(URL, TOKEN);
    let signature = sign(URL, b"a=1&b=x+y&c=", TOKEN);
    for body in [
        "a=1&b=x+y&c=",
        "c=&b=x%20y&a=1",
        "a=1&a=1&b=x+y&c",
        "%61=%31&&b=x+y&c=",
    ] {
        assert!(
            verifier
                .verify_form(None, body.as_bytes(), &signature)
                .is_ok(),
            "{body}"
        );
    }
    // Names and values are joined without a separator, so this cannot be told apart.
    assert!(verifier.verify_form(None, b"a1bx+yc", &signature).is_ok());
}

/// What Twilio's algorithm makes of a body, by another reader than ours.
fn signed_text(body: &[u8]) -> String {
    let fields: BTreeSet<_> = url::form_urlencoded::parse(body).into_owned().collect();
    fields
        .into_iter()
        .map(|(name, value)| name + &value)
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn whatever_is_signed_verifies(
        fields in proptest::collection::vec(("[A-Za-z0-9.é]{0,6}", ".{0,12}"), 0..20),
        query in proptest::option::of("[a-zA-Z0-9=&%+;]{0,20}"),
    ) {
        let body = encode(&fields);
        let url = query.as_ref().map_or(URL.to_owned(), |query| format!("{URL}?{query}"));
        let signature = sign(&url, body.as_bytes(), TOKEN);
        prop_assert!(verifier(URL, TOKEN).verify_form(query.as_deref(), body.as_bytes(), &signature).is_ok());
    }

    #[test]
    fn a_changed_body_is_refused(
        which in any::<proptest::sample::Index>(),
        at in any::<proptest::sample::Index>(),
        kind in 0..3,
        byte in any::<u8>(),
    ) {
        let all = recorded();
        let one = which.get(&all);
        let mut body = one.body.clone();
        let at = at.index(body.len());
        match kind {
            0 => body[at] = byte,
            1 => { body.remove(at); }
            _ => body.insert(at, byte),
        }
        let same = signed_text(&body) == signed_text(&one.body);
        let result = verifier(&one.url, &one.token).verify_form(None, &body, &one.signature);
        prop_assert_eq!(result.is_ok(), same);
    }

    #[test]
    fn any_bytes_are_refused_without_panic(
        body in proptest::collection::vec(any::<u8>(), 0..300),
        query in proptest::option::of(".{0,30}"),
        signature in ".{0,40}",
    ) {
        let verifier = verifier(URL, TOKEN);
        prop_assert!(verifier.verify_form(query.as_deref(), &body, &signature).is_err());
        prop_assert!(verifier.verify_json(query.as_deref(), &body, &signature).is_err());
        prop_assert!(verifier.verify_get(query.as_deref(), &signature).is_err());
    }
}
