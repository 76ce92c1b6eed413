//! Keys of the API.

use delivery::time::Timestamp;

use super::StoreFuture;

/// Keys of the API.
pub trait ApiKeys: Send + Sync {
    /// Stores a new key.
    fn create_key(&self, key: NewApiKey) -> StoreFuture<'_, ()>;

    /// Finds a key by its public id, revoked or not.
    fn key(&self, id: String) -> StoreFuture<'_, Option<ApiKeyView>>;

    /// Every key.
    fn keys(&self) -> StoreFuture<'_, Vec<ApiKeyView>>;

    /// Revokes a key. `false` when there is none of that id.
    fn revoke_key(&self, id: String, now: Timestamp) -> StoreFuture<'_, bool>;
}

/// A new API key.
#[derive(Clone)]
pub struct NewApiKey {
    /// Its public id, part of the key's text.
    pub id: String,
    /// What the operator calls it.
    pub name: String,
    /// What it may do.
    pub scope: KeyScope,
    /// SHA-256 of its secret part.
    pub hash: [u8; 32],
    /// Now.
    pub now: Timestamp,
}

/// A key of the API.
#[derive(Clone, Debug)]
pub struct ApiKeyView {
    /// Its public id.
    pub id: String,
    /// What the operator calls it.
    pub name: String,
    /// What it may do.
    pub scope: KeyScope,
    /// SHA-256 of its secret part.
    pub hash: [u8; 32],
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

delivery::stored! {
    /// What a key may do; each scope includes the ones before it.
    KeyScope {
        /// Read messages, events and numbers.
        Read = 0 "read",
        /// Also send, cancel and retry messages.
        Send = 1 "send",
        /// Also change consent, senders and everything else.
        Admin = 2 "admin",
    }
}

impl KeyScope {
    /// Whether a key of this scope may do what `needed` says.
    pub const fn includes(self, needed: Self) -> bool {
        self.rank() >= needed.rank()
    }

    /// Each scope includes those of a lower rank.
    const fn rank(self) -> u8 {
        match self {
            Self::Read => 0,
            Self::Send => 1,
            Self::Admin => 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_keep_their_numbers_and_each_includes_those_before_it() {
        let stored: Vec<_> = KeyScope::ALL
            .iter()
            .map(|s| (s.number(), s.as_str()))
            .collect();
        assert_eq!(stored, [(0, "read"), (1, "send"), (2, "admin")]);
        for (place, scope) in KeyScope::ALL.iter().enumerate() {
            for (needed_place, needed) in KeyScope::ALL.iter().enumerate() {
                assert_eq!(scope.includes(*needed), place >= needed_place);
            }
        }
    }
}
