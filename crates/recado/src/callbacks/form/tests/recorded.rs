//! Recorded callbacks for the tests of this room.

use std::path::Path;

use serde::Deserialize;

/// One recorded request, with what it must be read as.
pub(in crate::callbacks) struct Recorded {
    pub(in crate::callbacks) file: String,
    pub(in crate::callbacks) url: String,
    pub(in crate::callbacks) token: String,
    pub(in crate::callbacks) signature: String,
    pub(in crate::callbacks) body: Vec<u8>,
    pub(in crate::callbacks) fields: Vec<(String, String)>,
}

#[derive(Deserialize)]
struct Index {
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    file: String,
    url: String,
    auth_token: String,
    x_twilio_signature: String,
    fields: Vec<(String, String)>,
}

/// Every request under `tests/fixtures/webhooks`.
pub(in crate::callbacks) fn recorded() -> Vec<Recorded> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/webhooks");
    let index = std::fs::read_to_string(folder.join("index.json")).unwrap();
    let index: Index = serde_json::from_str(&index).unwrap();
    let read = |item: Item| Recorded {
        body: std::fs::read(folder.join(&item.file)).unwrap(),
        file: item.file,
        url: item.url,
        token: item.auth_token,
        signature: item.x_twilio_signature,
        fields: item.fields,
    };
    index.items.into_iter().map(read).collect()
}

/// Bodies made from `recorded` ones by `rounds` random injuries each; the same seed gives the
/// same bodies.
pub(in crate::callbacks) fn injured(seed: u64, count: usize) -> Vec<Vec<u8>> {
    let recorded = recorded();
    let mut state = seed;
    let mut random = move |below: usize| {
        // xorshift64*: enough for injuries.
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        usize::try_from(state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33).unwrap() % below
    };
    let snippets: [&[u8]; 12] = [
        b"%",
        b"%F",
        b"%FF",
        b"&",
        b"=",
        b"&&&",
        b"%00",
        b"+",
        b"\xff",
        b"MessageSid=",
        b"NumMedia=99999999999&MediaUrl0=x&MediaUrl1=y",
        b"Latitude=NaN&Longitude=1e999",
    ];
    (0..count)
        .map(|_| {
            let mut body = recorded[random(recorded.len())].body.clone();
            for _ in 0..=random(8) {
                let at = random(body.len() + 1);
                match random(5) {
                    0 => body.truncate(at),
                    1 if at < body.len() => body[at] = u8::try_from(random(256)).unwrap(),
                    2 if at < body.len() => drop(body.remove(at)),
                    3 => body.extend_from_within(at..),
                    _ => {
                        drop(body.splice(at..at, snippets[random(snippets.len())].iter().copied()))
                    }
                }
            }
            body
        })
        .collect()
}
