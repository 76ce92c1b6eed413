//! Idempotency keys: which request this is, and the body that it came with.

use sha2::{Digest, Sha256};

use super::auth::Caller;
use super::problem::Problem;
use crate::store::Idempotency;

/// Characters of an idempotency key.
const KEY_CHARACTERS_MAX: usize = 255;

/// Hashes a key together with the API key it belongs to, and the body it came with.
pub(super) fn idempotency(
    caller: &Caller,
    key: &[u8],
    body: &[u8],
) -> Result<Idempotency, Problem> {
    if key.is_empty() || key.len() > KEY_CHARACTERS_MAX {
        let detail = format!("An idempotency key must have 1 to {KEY_CHARACTERS_MAX} characters.");
        return Err(Problem::field(
            "Idempotency-Key",
            "idempotency_key_invalid",
            detail,
        ));
    }
    Ok(Idempotency {
        key: short_hash(&[caller.key.as_bytes(), key]),
        body: short_hash(&[body]),
    })
}

/// The same for an item of a bulk request that uses the key of the whole request, which was
/// checked: the item's position tells it from the others.
pub(super) fn item_idempotency(
    caller: &Caller,
    key: &[u8],
    index: usize,
    text: &str,
) -> Idempotency {
    let position = index.to_string();
    Idempotency {
        key: short_hash(&[caller.key.as_bytes(), key, position.as_bytes()]),
        body: short_hash(&[text.as_bytes()]),
    }
}

fn short_hash(parts: &[&[u8]]) -> [u8; 16] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    }
    let full: [u8; 32] = hash.finalize().into();
    let mut out = [0u8; 16];
    out.copy_from_slice(full.split_at(16).0);
    out
}
