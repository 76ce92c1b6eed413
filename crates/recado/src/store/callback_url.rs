//! The URLs at which status callbacks are asked for.

use delivery::time::Timestamp;

use super::StoreFuture;

/// The URLs at which status callbacks are asked for.
pub trait CallbackUrls: Send + Sync {
    /// Notes which URL is in use from now on, and returns those that were in use within the last 30
    /// days: messages sent with them may still be reported there.
    fn use_callback_url(&self, url: String, now: Timestamp) -> StoreFuture<'_, Vec<String>>;
}
