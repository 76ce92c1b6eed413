//! The URLs at which status callbacks are asked for: the one in use, and those of messages that may
//! still be under way.

use std::time::Duration;

use delivery::time::Timestamp;

use super::rows::Rows;
use super::transaction::Transaction;
use super::verb::Verb;

/// How long after its replacement a URL is still believed. Twilio reports `read` whenever a person
/// opens the chat, and hardly ever later than this.
const REPLACED_AGE_MAX: Duration = Duration::from_secs(30 * 24 * 3_600);

/// Notes which URL is in use from now on.
pub(crate) struct UseCallbackUrl {
    /// The URL.
    pub(crate) url: String,
    /// Now.
    pub(crate) now: Timestamp,
}

impl Verb for UseCallbackUrl {
    type Answer = Vec<String>;

    fn run<R: Rows>(&self, transaction: &mut Transaction<'_, R>) -> Result<Vec<String>, R::Error> {
        let rows = &mut transaction.rows;
        let mut earlier = Vec::new();
        for (url, replaced_at) in rows.callback_urls()? {
            if url == self.url {
                continue;
            }
            match replaced_at {
                None => rows.set_callback_url(&url, Some(self.now))?,
                Some(at) if self.now.since(at) > REPLACED_AGE_MAX => {
                    rows.delete_callback_url(&url)?;
                    continue;
                }
                Some(_) => {}
            }
            earlier.push(url);
        }
        rows.set_callback_url(&self.url, None)?;
        Ok(earlier)
    }
}
