//! Settings, parsed into types once. The only reader of the environment and of key files; every
//! problem is found at once.

mod environment;
mod master_key;
mod parsed;
mod reader;
mod settings;

#[cfg(test)]
mod tests;

pub use self::environment::{Environment, ProcessEnvironment};
pub use self::parsed::{Config, Credentials, DatabaseConfig, KeySource, Mode, SenderRate};
pub use self::settings::{SETTINGS, Setting};

use self::reader::Reader;

impl Config {
    /// Reads every setting of the server.
    ///
    /// # Errors
    /// Every problem, one readable line each.
    pub fn read(environment: &dyn Environment) -> Result<Self, Vec<String>> {
        let mut reader = Reader::new(environment);
        match reader.config() {
            Some(config) if reader.problems.is_empty() => Ok(config),
            _ => Err(reader.problems),
        }
    }
}

impl DatabaseConfig {
    /// Reads what offline commands need.
    ///
    /// # Errors
    /// Every problem, one readable line each.
    pub fn read(environment: &dyn Environment) -> Result<Self, Vec<String>> {
        let mut reader = Reader::new(environment);
        match reader.database() {
            Some(database) if reader.problems.is_empty() => Ok(database),
            _ => Err(reader.problems),
        }
    }
}
