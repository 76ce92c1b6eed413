//! The master key: 32 bytes that are never written to the database.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::{Zeroize, Zeroizing};

use crate::effects::Random;

/// The key that wraps every other key.
#[derive(Clone)]
pub struct MasterKey(Zeroizing<[u8; 32]>);

/// Why there is no usable master key.
#[derive(Debug, thiserror::Error)]
pub enum MasterKeyError {
    /// The text is not 32 bytes in base64 or hexadecimal.
    #[error(
        "the master key must be 32 random bytes, written as 44 characters of base64 or 64 \
         hexadecimal digits (for example the output of `openssl rand -base64 32`)"
    )]
    Format,
    /// All bytes are equal, or nearly so: not random.
    #[error("the master key is not random; make one with `openssl rand -base64 32`")]
    Weak,
    /// The database has content, and its key is not there.
    #[error(
        "the database exists, and its key does not: set RECADO_MASTER_KEY, or put the key back \
         at {}",
        .0.display()
    )]
    Missing(PathBuf),
    /// The key file cannot be read or written.
    #[error(
        "the master key file {} cannot be used: {cause}; check the folder that DATABASE_URL names, \
         or set RECADO_MASTER_KEY",
        .path.display()
    )]
    File {
        /// Where it is, or should be.
        path: PathBuf,
        /// Why not.
        cause: io::Error,
    },
}

impl MasterKey {
    /// Reads a key from base64 or hexadecimal text.
    ///
    /// # Errors
    /// [`MasterKeyError::Format`] or [`MasterKeyError::Weak`].
    pub fn parse(text: &str) -> Result<Self, MasterKeyError> {
        let text = text.trim();
        let mut raw = if text.len() == 64 {
            from_hex(text)
        } else {
            STANDARD.decode(text).ok()
        }
        .ok_or(MasterKeyError::Format)?;
        let bytes: Result<[u8; 32], _> = raw.as_slice().try_into();
        raw.zeroize();
        let bytes = Zeroizing::new(bytes.map_err(|_| MasterKeyError::Format)?);
        let mut distinct = bytes.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        // 32 random bytes have fewer than 12 different values about once in 10^15 keys.
        if distinct.len() < 12 {
            Err(MasterKeyError::Weak)
        } else {
            Ok(Self(bytes))
        }
    }

    /// Reads the key from a file, or creates one there that only its owner can read.
    ///
    /// # Errors
    /// [`MasterKeyError`] when the file cannot be used or holds no key.
    pub fn read_or_create(path: &Path, random: &dyn Random) -> Result<Self, MasterKeyError> {
        let unusable = |cause| MasterKeyError::File {
            path: path.to_owned(),
            cause,
        };
        let read = || std::fs::read_to_string(path).map(Zeroizing::new);
        match read() {
            Ok(text) => Self::parse(&text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                match Self::create(path, random) {
                    Ok(key) => Ok(key),
                    // Another process was faster: its key counts.
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                        Self::parse(&read().map_err(unusable)?)
                    }
                    Err(error) => Err(unusable(error)),
                }
            }
            Err(error) => Err(unusable(error)),
        }
    }

    fn create(path: &Path, random: &dyn Random) -> io::Result<Self> {
        let mut bytes = Zeroizing::new([0u8; 32]);
        random.fill_key(&mut bytes[..]);
        let text = Zeroizing::new(STANDARD.encode(&bytes[..]));
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path)?;
        writeln!(file, "{}", text.as_str())?;
        file.sync_all()?;
        Ok(Self(bytes))
    }

    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok()))
        .collect();
    Some(
        digits?
            .chunks_exact(2)
            .map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effects::SystemRandom;

    #[test]
    fn reads_both_spellings_and_refuses_weak_keys() {
        let hex = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
        let base64 = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
        let (a, b) = (
            MasterKey::parse(hex).ok().unwrap(),
            MasterKey::parse(base64).ok().unwrap(),
        );
        assert_eq!(a.bytes(), b.bytes());
        assert!(matches!(
            MasterKey::parse("secret"),
            Err(MasterKeyError::Format)
        ));
        assert!(matches!(
            MasterKey::parse(&"00".repeat(32)),
            Err(MasterKeyError::Weak)
        ));
    }

    #[test]
    fn makes_a_file_that_only_its_owner_reads() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("recado.db.key");
        let first = MasterKey::read_or_create(&path, &SystemRandom)
            .ok()
            .unwrap();
        let second = MasterKey::read_or_create(&path, &SystemRandom)
            .ok()
            .unwrap();
        assert_eq!(first.bytes(), second.bytes());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }
}
