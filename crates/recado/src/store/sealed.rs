//! How contents are written before they are sealed: JSON with short names, the same for every
//! engine. Old rows must stay readable, so names are only ever added.

use delivery::message::Content;
use delivery::sid::Sid;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

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
pub(super) fn encode(content: &Content) -> Zeroizing<Vec<u8>> {
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
pub(super) fn decode(plain: &[u8]) -> Option<Content> {
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
