//! Requests that nobody at Twilio signed: each field, signature and query changed in many ways.

use super::*;

/// One forged request.
struct Forgery {
    name: String,
    query: Option<String>,
    body: Vec<u8>,
    signature: String,
}

const QUERY: &str = "c=0123456789abcdef0123456789abcdef";

/// Each field of a recorded callback changed in each of several ways, under the true signature.
fn forged_fields(fields: &[(String, String)], signature: &str) -> Vec<Forgery> {
    let mut forgeries = Vec::new();
    let mut add = |name: String, fields: Vec<(String, String)>| {
        let (query, body) = (Some(QUERY.to_owned()), encode(&fields).into_bytes());
        forgeries.push(Forgery {
            name,
            query,
            body,
            signature: signature.to_owned(),
        });
    };
    for (at, (name, value)) in fields.iter().enumerate() {
        let with = |name: &str, value: &str| {
            let mut fields = fields.to_vec();
            fields[at] = (name.to_owned(), value.to_owned());
            fields
        };
        let without = [&fields[..at], &fields[at + 1..]].concat();
        let again = [fields, &[(name.clone(), "other".to_owned())]].concat();
        add(format!("{name} removed"), without);
        add(format!("{name} repeated with another value"), again);
        add(format!("{name} given another value"), with(name, "other"));
        add(format!("{name} emptied"), with(name, ""));
        add(
            format!("{name} with a space before"),
            with(name, &format!(" {value}")),
        );
        add(
            format!("{name} with a space after"),
            with(name, &format!("{value} ")),
        );
        add(
            format!("{name} with a line break"),
            with(name, &format!("{value}\n")),
        );
        let encoded: String = value.bytes().map(|byte| format!("%{byte:02X}")).collect();
        add(format!("{name} encoded twice"), with(name, &encoded));
        add(
            format!("{name} in the other case"),
            with(name, &swap_case(value)),
        );
        add(format!("{name} renamed"), with(&format!("{name}X"), value));
        add(
            format!("{name} in lower case"),
            with(&name.to_lowercase(), value),
        );
        add(
            format!("{name} with a null byte"),
            with(name, &format!("{value}\0")),
        );
    }
    add(
        "a new field".into(),
        [fields, &[("New".to_owned(), "1".to_owned())]].concat(),
    );
    add(
        "a new field without a value".into(),
        [fields, &[("New".to_owned(), String::new())]].concat(),
    );
    add("no fields".into(), Vec::new());
    forgeries
}

fn swap_case(text: &str) -> String {
    let swapped: String = text
        .chars()
        .map(|c| {
            if c.is_ascii_lowercase() {
                c.to_ascii_uppercase()
            } else {
                c.to_ascii_lowercase()
            }
        })
        .collect();
    if swapped == text {
        format!("{text}x")
    } else {
        swapped
    }
}

/// The same body and URL under other signatures.
fn forged_signatures(body: &[u8], signature: &str) -> Vec<Forgery> {
    let url = format!("{URL}?{QUERY}");
    let mut signatures: Vec<(String, String)> = Vec::new();
    for (at, character) in signature.char_indices() {
        let other = if character == 'A' { "B" } else { "A" };
        let flipped = [&signature[..at], other, &signature[at + 1..]].concat();
        signatures.push((format!("character {at} changed"), flipped));
        signatures.push((format!("cut at {at}"), signature[..at].to_owned()));
    }
    for token in [
        "",
        " ",
        "12345",
        &TOKEN[..31],
        &format!("{TOKEN}0"),
        &TOKEN.to_uppercase(),
    ] {
        signatures.push((format!("token {token:?}"), sign(&url, body, token)));
    }
    for url in other_urls(&url) {
        signatures.push((format!("signed for {url}"), sign(&url, body, TOKEN)));
    }
    let unpadded = signature.trim_end_matches('=');
    signatures.extend([
        ("empty".into(), String::new()),
        ("blank".into(), " ".repeat(28)),
        ("very long".into(), "A".repeat(100_000)),
        ("twice".into(), format!("{signature}{signature}")),
        (
            "twice with a comma".into(),
            format!("{signature},{signature}"),
        ),
        ("without padding".into(), unpadded.to_owned()),
        ("with more padding".into(), format!("{signature}=")),
        ("with a space before".into(), format!(" {signature}")),
        ("with a line break".into(), format!("{signature}\n")),
        (
            "in URL alphabet".into(),
            "-_-_-_-_-_-_-_-_-_-_-_-_-_-=".into(),
        ),
        ("in hexadecimal".into(), "00".repeat(20)),
        ("of other letters".into(), "é".repeat(14)),
        ("in lower case".into(), signature.to_lowercase()),
        ("all zero".into(), STANDARD.encode([0u8; 20])),
        ("of 19 bytes".into(), STANDARD.encode([0u8; 19])),
        ("of 21 bytes".into(), STANDARD.encode([0u8; 21])),
        (
            "with bits after the end".into(),
            format!("{}B=", &unpadded[..26]),
        ),
    ]);
    let query = Some(QUERY.to_owned());
    signatures
        .into_iter()
        .map(|(name, signature)| Forgery {
            name,
            query: query.clone(),
            body: body.to_vec(),
            signature,
        })
        .collect()
}

/// Spellings that are not the URL, or not to Twilio.
fn other_urls(url: &str) -> Vec<String> {
    vec![
        URL.to_owned(),
        format!("{URL}?"),
        format!("{url}&"),
        format!("{url}#rc=3"),
        format!("{URL}/?{QUERY}"),
        url.replace("https", "http"),
        url.replace("https", "HTTPS"),
        url.replace("gateway", "Gateway"),
        url.replace("gateway.example.com", "gateway.example.com."),
        url.replace("gateway.example.com", "gateway.example.org"),
        url.replace("gateway.example.com", "gateway.example.com:80"),
        url.replace("gateway.example.com", "gateway.example.com:8443"),
        url.replace("gateway.example.com", "gateway.example.com:0443"),
        url.replace("gateway.example.com", "user@gateway.example.com"),
        url.replace("/webhooks", "/Webhooks"),
        url.replace("/webhooks", "//webhooks"),
        url.replace("/status", "/inbound"),
        url.replace("/status", "/%73tatus"),
        url.replace("/status", "/./status"),
        url.replace("c=", "C="),
        url.replace("c=0", "c=%30"),
        url.replace('?', "&"),
    ]
}

/// The same body and signature at other queries.
fn forged_queries(body: &[u8], signature: &str) -> Vec<Forgery> {
    let mut queries: Vec<Option<String>> = vec![
        None,
        Some(String::new()),
        Some(format!("{QUERY}&")),
        Some(format!("&{QUERY}")),
        Some(format!("?{QUERY}")),
        Some(format!("{QUERY}&x=1")),
        Some(format!("x=1&{QUERY}")),
        Some(format!("{QUERY}&{QUERY}")),
        Some(format!("{QUERY}#")),
        Some(format!("{QUERY} ")),
        Some(format!("{QUERY}%20")),
        Some(QUERY.to_uppercase()),
        Some(QUERY.replace("c=", "c%3D")),
        Some(QUERY.replace("c=0", "c=%30")),
        Some(QUERY.replace("c=", "")),
    ];
    for at in 2..QUERY.len() {
        queries.push(Some([&QUERY[..at], "x", &QUERY[at + 1..]].concat()));
    }
    queries
        .into_iter()
        .map(|query| Forgery {
            name: format!("query {query:?}"),
            query,
            body: body.to_vec(),
            signature: signature.to_owned(),
        })
        .collect()
}

#[test]
fn forgeries_are_refused() {
    let verifier = verifier(URL, TOKEN);
    let url = format!("{URL}?{QUERY}");
    let mut count = 0;
    for Recorded {
        file, body, fields, ..
    } in recorded().iter().filter(|one| one.file.contains("07"))
    {
        let signature = sign(&url, body, TOKEN);
        assert!(verifier.verify_form(Some(QUERY), body, &signature).is_ok());
        let forgeries = forged_fields(fields, &signature)
            .into_iter()
            .chain(forged_signatures(body, &signature))
            .chain(forged_queries(body, &signature));
        for Forgery {
            name,
            query,
            body,
            signature,
        } in forgeries
        {
            let result = verifier.verify_form(query.as_deref(), &body, &signature);
            assert!(result.is_err(), "{file}: {name}");
            count += 1;
        }
    }
    assert!(count >= 400, "{count}");
}
