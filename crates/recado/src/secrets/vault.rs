//! Sealing and the blind index.
//!
//! The master key wraps the account's two keys; the account's sealing key wraps one key per
//! person; a person's key seals everything of that person. Destroying a person's wrapped key
//! makes everything of theirs unreadable, in old backups too. Each sealed value is bound to its
//! row (table, column, key) by associated data, so that it cannot be moved to another row unnoticed.
//!
//! The blind index is HMAC-SHA256 over the canonical identity under its own key, in full: equal
//! identities are found, and nothing else can be learned without the key. It must be keyed,
//! because there are only about 6.7 billion Brazilian mobile numbers to try.

use std::sync::Arc;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::master::MasterKey;
use crate::effects::Random;

const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;

/// Seals, opens and indexes under the keys of one account.
#[derive(Clone)]
pub struct Vault {
    account: XChaCha20Poly1305,
    index: Hmac<Sha256>,
    random: Arc<dyn Random>,
}

/// The account's keys as the database keeps them: wrapped by the master key.
#[derive(Clone)]
pub struct WrappedKeys {
    /// The key that wraps the keys of persons.
    pub account_key: Vec<u8>,
    /// The key of the blind index.
    pub index_key: Vec<u8>,
}

/// The key of one person.
#[derive(Clone)]
pub struct PersonKey(XChaCha20Poly1305);

/// A sealed value cannot be opened: another key, other associated data, or damaged bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a sealed value cannot be opened: wrong key, or damaged data")]
pub struct DecryptError;

impl Vault {
    /// Makes the keys of a new account.
    pub fn create(master: &MasterKey, random: &Arc<dyn Random>) -> (Self, WrappedKeys) {
        let cipher = cipher(master.bytes());
        let account_key = random_key(&**random);
        let index_key = random_key(&**random);
        let wrapped = WrappedKeys {
            account_key: seal(&cipher, &**random, b"account.key", &account_key[..]),
            index_key: seal(&cipher, &**random, b"account.index", &index_key[..]),
        };
        (Self::from_keys(&account_key, &index_key, random), wrapped)
    }

    /// Unwraps the keys of an account.
    ///
    /// # Errors
    /// [`DecryptError`] when this is not the master key that wrapped them.
    pub fn open(
        master: &MasterKey,
        wrapped: &WrappedKeys,
        random: &Arc<dyn Random>,
    ) -> Result<Self, DecryptError> {
        let cipher = cipher(master.bytes());
        let account_key = key_bytes(open(&cipher, b"account.key", &wrapped.account_key)?)?;
        let index_key = key_bytes(open(&cipher, b"account.index", &wrapped.index_key)?)?;
        Ok(Self::from_keys(&account_key, &index_key, random))
    }

    #[expect(clippy::expect_used, reason = "HMAC hashes a key that is too long")]
    fn from_keys(account: &[u8; 32], index: &[u8; 32], random: &Arc<dyn Random>) -> Self {
        let index = Hmac::<Sha256>::new_from_slice(index).expect("HMAC takes a key of any length");
        Self {
            account: cipher(account),
            index,
            random: Arc::clone(random),
        }
    }

    /// The blind index of a value of one kind, for example `person` and a canonical address.
    pub fn index(&self, kind: &str, value: &[u8]) -> [u8; 32] {
        let mut mac = self.index.clone();
        mac.update(kind.as_bytes());
        mac.update(&[0]);
        mac.update(value);
        mac.finalize().into_bytes().into()
    }

    /// A key for a new person, and its wrapped form for the database.
    pub fn create_person(&self, blind_index: &[u8; 32]) -> (PersonKey, Vec<u8>) {
        let key = random_key(&*self.random);
        let wrapped = seal(
            &self.account,
            &*self.random,
            &person_data(blind_index),
            &key[..],
        );
        (PersonKey(cipher(&key)), wrapped)
    }

    /// Unwraps a person's key.
    ///
    /// # Errors
    /// [`DecryptError`] when the key was destroyed or belongs to another person.
    pub fn open_person(
        &self,
        blind_index: &[u8],
        wrapped: &[u8],
    ) -> Result<PersonKey, DecryptError> {
        let key = key_bytes(open(&self.account, &person_data(blind_index), wrapped)?)?;
        Ok(PersonKey(cipher(&key)))
    }

    /// Seals a value together with the associated data of its row.
    pub fn seal(&self, key: &PersonKey, associated_data: &[u8], plain: &[u8]) -> Vec<u8> {
        seal(&key.0, &*self.random, associated_data, plain)
    }

    /// Opens a value that was sealed with this associated data.
    ///
    /// # Errors
    /// [`DecryptError`] when key or associated data differ, or the bytes are damaged.
    pub fn unseal(
        &self,
        key: &PersonKey,
        associated_data: &[u8],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, DecryptError> {
        open(&key.0, associated_data, sealed)
    }
}

fn cipher(key: &[u8; 32]) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(&Key::from(*key))
}

fn random_key(random: &dyn Random) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0u8; 32]);
    random.fill_key(&mut key[..]);
    key
}

fn key_bytes(plain: Zeroizing<Vec<u8>>) -> Result<Zeroizing<[u8; 32]>, DecryptError> {
    plain
        .as_slice()
        .try_into()
        .map(Zeroizing::new)
        .map_err(|_| DecryptError)
}

fn person_data(blind_index: &[u8]) -> Vec<u8> {
    [b"person.key:".as_slice(), blind_index].concat()
}

/// A random 192-bit nonce, then ciphertext and tag. Random nonces of this length do not repeat.
#[expect(
    clippy::expect_used,
    reason = "every value that is sealed fits into memory"
)]
fn seal(
    cipher: &XChaCha20Poly1305,
    random: &dyn Random,
    associated_data: &[u8],
    plain: &[u8],
) -> Vec<u8> {
    let mut nonce = [0u8; NONCE_BYTES];
    random.fill(&mut nonce);
    let payload = Payload {
        msg: plain,
        aad: associated_data,
    };
    let sealed = cipher
        .encrypt(&XNonce::from(nonce), payload)
        .expect("a value far below 256 GiB can be encrypted");
    let mut out = Vec::with_capacity(NONCE_BYTES + sealed.len());
    out.extend_from_slice(&nonce);
    out.extend_from_slice(&sealed);
    out
}

fn open(
    cipher: &XChaCha20Poly1305,
    associated_data: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, DecryptError> {
    if sealed.len() < NONCE_BYTES + TAG_BYTES {
        return Err(DecryptError);
    }
    let (nonce, sealed) = sealed
        .split_first_chunk::<NONCE_BYTES>()
        .ok_or(DecryptError)?;
    let payload = Payload {
        msg: sealed,
        aad: associated_data,
    };
    cipher
        .decrypt(&XNonce::from(*nonce), payload)
        .map(Zeroizing::new)
        .map_err(|_| DecryptError)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effects::SystemRandom;

    fn master(last: u8) -> MasterKey {
        let mut text =
            String::from("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e");
        text.push_str(&format!("{last:02x}"));
        MasterKey::parse(&text).ok().unwrap()
    }

    #[test]
    fn what_is_sealed_opens_only_under_its_key_and_in_its_row() {
        let random: Arc<dyn Random> = Arc::new(SystemRandom);
        let (vault, wrapped) = Vault::create(&master(31), &random);
        let index = vault.index("person", b"+5585988887777");
        let (key, wrapped_person) = vault.create_person(&index);
        let sealed = vault.seal(&key, b"message.content:1", "olá".as_bytes());

        let again = Vault::open(&master(31), &wrapped, &random).unwrap();
        assert_eq!(again.index("person", b"+5585988887777"), index);
        assert_ne!(again.index("person", b"+5585988887778"), index);
        assert_ne!(again.index("business_key", b"+5585988887777"), index);
        let key = again.open_person(&index, &wrapped_person).unwrap();
        assert_eq!(
            &again.unseal(&key, b"message.content:1", &sealed).unwrap()[..],
            "olá".as_bytes()
        );

        assert!(again.unseal(&key, b"message.content:2", &sealed).is_err());
        let (other, _) = again.create_person(&index);
        assert!(again.unseal(&other, b"message.content:1", &sealed).is_err());
        assert!(again.open_person(&[0; 32], &wrapped_person).is_err());
        assert!(Vault::open(&master(32), &wrapped, &random).is_err());
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let random: Arc<dyn Random> = Arc::new(SystemRandom);
        let (vault, _) = Vault::create(&master(31), &random);
        let (key, _) = vault.create_person(&[7; 32]);
        let sealed = vault.seal(&key, b"place", b"text");
        for bit in 0..sealed.len() * 8 {
            let mut damaged = sealed.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(vault.unseal(&key, b"place", &damaged).is_err(), "bit {bit}");
        }
        assert!(vault.unseal(&key, b"place", &sealed[..10]).is_err());
    }
}
