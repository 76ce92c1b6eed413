//! The master key as configured, or the one beside the database.

use std::path::Path;

use super::parsed::{DatabaseConfig, KeySource};
use crate::effects::Random;
use crate::secrets::{MasterKey, MasterKeyError};

impl DatabaseConfig {
    /// The master key. One beside the database is created when there is neither key nor database.
    ///
    /// # Errors
    /// [`MasterKeyError`] when the file beside the database cannot be used.
    pub fn master_key(&self, random: &dyn Random) -> Result<MasterKey, MasterKeyError> {
        match &self.key {
            KeySource::Given(key) => Ok(key.clone()),
            KeySource::BesideDatabase => {
                let mut path = self.path.as_os_str().to_owned();
                path.push(".key");
                let path = Path::new(&path);
                // A new key would open nothing, and hide that the right one is missing.
                let has_content = std::fs::metadata(&self.path).is_ok_and(|file| file.len() > 0);
                if has_content && !path.exists() {
                    return Err(MasterKeyError::Missing(path.to_owned()));
                }
                MasterKey::read_or_create(path, random)
            }
        }
    }
}
