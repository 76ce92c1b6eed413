//! How the columns of a message are sealed and opened, the same for every engine.
//!
//! Contents are JSON with short names before they are sealed. Old rows must stay readable, so names
//! are only ever added.

use delivery::message::Content;
use delivery::sid::Sid;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::MessageId;
use crate::secrets::{DecryptError, PersonKey, Vault};

/// The sealed columns of a message.
pub(crate) struct SealedColumns {
    /// What it says.
    pub(crate) content: Vec<u8>,
    /// The caller's own data.
    pub(crate) metadata: Option<Vec<u8>>,
    /// The business key as its caller wrote it.
    pub(crate) business_key: Option<Vec<u8>>,
}

/// Seals a column of a message.
pub(crate) fn seal_column(
    vault: &Vault,
    key: &PersonKey,
    column: &str,
    id: MessageId,
    plain: &[u8],
) -> Vec<u8> {
    vault.seal(key, &associated_data(column, id), plain)
}

/// Opens a column of a message.
///
/// # Errors
/// [`DecryptError`] when it is another person's, another message's or another column's.
pub(crate) fn open_column(
    vault: &Vault,
    key: &PersonKey,
    column: &str,
    id: MessageId,
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, DecryptError> {
    vault.unseal(key, &associated_data(column, id), sealed)
}

/// Opens the content of a message; `None` when it cannot be opened or read.
pub(crate) fn open_content(
    vault: &Vault,
    key: &PersonKey,
    id: MessageId,
    sealed: &[u8],
) -> Option<Content> {
    let plain = open_column(vault, key, "content", id, sealed).ok()?;
    decode(&plain)
}

/// The associated data of a column of a message.
fn associated_data(column: &str, id: MessageId) -> Vec<u8> {
    [b"message.", column.as_bytes(), b":", id.0.as_bytes()].concat()
}

/// The associated data of what an inbound message says.
pub(crate) fn payload_data(sid: Sid) -> Vec<u8> {
    [b"inbound.payload:".as_slice(), &sid.to_bytes()].concat()
}

/// Half of a keyed hash tells apart as many things as a database can hold.
pub(crate) fn short(index: [u8; 32]) -> [u8; 16] {
    let mut half = [0u8; 16];
    half.copy_from_slice(index.split_at(16).0);
    half
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum SealedContent {
    Text {
        body: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        persistent_action: Option<String>,
    },
    Template {
        content_sid: String,
        variables: Vec<(String, String)>,
    },
    Media {
        url: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        caption: Option<String>,
    },
}

/// Writes a content.
#[expect(
    clippy::expect_used,
    reason = "only maps with strange keys are not JSON"
)]
pub(crate) fn encode(content: &Content) -> Zeroizing<Vec<u8>> {
    let sealed = match content.clone() {
        Content::Text {
            body,
            persistent_action,
        } => SealedContent::Text {
            body,
            persistent_action,
        },
        Content::Template {
            content_sid,
            variables,
        } => SealedContent::Template {
            content_sid: content_sid.to_string(),
            variables,
        },
        Content::Media { url, caption } => SealedContent::Media { url, caption },
    };
    Zeroizing::new(serde_json::to_vec(&sealed).expect("strings are always valid JSON"))
}

/// Reads what [`encode`] wrote; `None` when it is something else.
pub(crate) fn decode(plain: &[u8]) -> Option<Content> {
    Some(match serde_json::from_slice(plain).ok()? {
        SealedContent::Text {
            body,
            persistent_action,
        } => Content::Text {
            body,
            persistent_action,
        },
        SealedContent::Template {
            content_sid,
            variables,
        } => Content::Template {
            content_sid: Sid::parse(&content_sid, &["HX"]).ok()?,
            variables,
        },
        SealedContent::Media { url, caption } => Content::Media { url, caption },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_read_back() {
        let content_sid = Sid::parse("HX0123456789abcdef0123456789abcdef", &["HX"]).unwrap();
        for content in [
            Content::Text {
                body: "olá \"você\"\n".into(),
                persistent_action: None,
            },
            Content::Text {
                body: "Sede".into(),
                persistent_action: Some("geo:1,2".into()),
            },
            Content::Template {
                content_sid,
                variables: vec![("1".into(), "Ana".into())],
            },
            Content::Media {
                url: "https://host/a.png".into(),
                caption: Some("foto".into()),
            },
        ] {
            assert!(decode(&encode(&content)) == Some(content));
        }
        assert!(decode(b"{}").is_none());
    }
}
