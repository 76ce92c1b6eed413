//! Messages of the list as the store takes them, one by one where they cannot be taken together.

use std::collections::HashMap;

use delivery::address::{Address, Context};
use delivery::consent::{Consent, InboundText, read_inbound};
use delivery::sid::Sid;
use serde_json::{Value, json};

use super::failures::ReadError;
use super::sources::Source;
use crate::effects::Effects;
use crate::provider::{InboundListed, Provider, ProviderError, ProviderMedium};
use crate::store::{InboundResult, Inbounds, NewInbound, StoreError, new_message_id};

/// Readings that wait for the media of a message; then it is stored without them.
const MEDIA_TRIES: u32 = 3;
/// Messages of one page whose media are asked for although the provider does not answer.
const MEDIA_FAILURES_MAX: usize = 3;

/// What one reading leaves for the next.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// How often the media of a message could not be asked for.
    media_failures: HashMap<Sid, u32>,
    /// Messages of a source of which was said that nobody can read them.
    pub(super) unreadable: HashMap<String, usize>,
}

/// What a page brought into the store.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Found {
    pub(super) messages: usize,
    pub(super) opt_outs: usize,
}

/// Takes messages of one source out of the list and into the store.
pub(super) struct Taking<'a> {
    pub(super) store: &'a dyn Inbounds,
    pub(super) provider: &'a dyn Provider,
    pub(super) effects: &'a Effects,
    pub(super) source: &'a Source,
}

impl Taking<'_> {
    /// Stores messages, oldest first. One whose media cannot be asked for now holds up no other: it comes
    /// again with the next reading, which the error asks for.
    pub(super) async fn take(
        &self,
        listed: Vec<&InboundListed>,
        memory: &mut Memory,
    ) -> (Vec<InboundResult>, Result<(), ReadError>) {
        let mut batch = Vec::with_capacity(listed.len());
        let mut failures = 0;
        let mut failed = Ok(());
        for message in listed.into_iter().rev() {
            let media = if failures < MEDIA_FAILURES_MAX {
                self.media(message).await
            } else {
                Err(ProviderError::Unreachable)
            };
            let media = match media {
                Ok(media) => media,
                Err(error) => {
                    failures += 1;
                    let tries = memory.media_failures.entry(message.sid).or_default();
                    *tries += 1;
                    if *tries < MEDIA_TRIES && !says_something(message) {
                        failed = failed.and(Err(error.into()));
                        continue;
                    }
                    tracing::warn!(
                        %error,
                        inbound = %message.sid,
                        "an inbound message is stored without its media: they cannot be listed"
                    );
                    Vec::new()
                }
            };
            memory.media_failures.remove(&message.sid);
            batch.extend(self.new_inbound(message, &media));
        }
        match self.store_each(batch).await {
            Ok(results) => (results, failed),
            Err(error) => (Vec::new(), Err(error.into())),
        }
    }

    /// Stores all in one commit. When somebody's row is damaged, each by itself, and theirs not at all.
    async fn store_each(&self, batch: Vec<NewInbound>) -> Result<Vec<InboundResult>, StoreError> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        match self.store.inbound(batch.clone()).await {
            Err(StoreError::DecryptError) => {}
            stored => return stored,
        }
        let mut results = Vec::with_capacity(batch.len());
        for inbound in batch {
            let sid = inbound.sid;
            match self.store.inbound(vec![inbound]).await {
                Ok(stored) => results.extend(stored),
                Err(error @ StoreError::DecryptError) => tracing::error!(
                    %error,
                    inbound = %sid,
                    "a listed inbound message cannot be stored: the row of who wrote it is damaged; \
                     restore a backup, or what they write stays unknown"
                ),
                Err(error) => return Err(error),
            }
        }
        Ok(results)
    }

    /// The media of a message; none when there are none any more.
    async fn media(&self, message: &InboundListed) -> Result<Vec<ProviderMedium>, ProviderError> {
        if message.media == 0 {
            return Ok(Vec::new());
        }
        match self.provider.media(message.sid).await {
            // They were deleted, or nobody may see them; the message counts all the same.
            Err(
                ProviderError::NotFound
                | ProviderError::Refused { .. }
                | ProviderError::Unauthorized { .. }
                | ProviderError::Garbage,
            ) => Ok(Vec::new()),
            answered => answered,
        }
    }

    /// A listed message as the store takes it; `None` when nobody knows who wrote it.
    fn new_inbound(&self, message: &InboundListed, media: &[ProviderMedium]) -> Option<NewInbound> {
        let from = message.from.as_deref();
        let Some(from) = from.and_then(|from| Address::parse(from, Context::Inbound).ok()) else {
            tracing::warn!(
                "a listed inbound message comes from no readable address; it is ignored"
            );
            return None;
        };
        let now = self.effects.clock.now();
        Some(NewInbound {
            sid: message.sid,
            from: from.address,
            also: Vec::new(),
            sent_form: from.sent_form,
            to: Some(self.source.name.clone()),
            message_type: if message.media == 0 { "text" } else { "media" }.to_owned(),
            payload: payload(message, media).to_string(),
            media: message.media,
            reply_to: None,
            body: message.body.clone().unwrap_or_default(),
            button_payload: None,
            provider_keyword: None,
            question_id: new_message_id(now, &*self.effects.random),
            written_at: message.created_at,
            listed: true,
            now,
        })
    }
}

/// Whether its text may say something about consent, which counts more than any media.
fn says_something(message: &InboundListed) -> bool {
    let text = InboundText {
        body: message.body.as_deref().unwrap_or_default(),
        ..InboundText::default()
    };
    read_inbound(Consent::Open, &text).0.is_some()
}

/// What is readable, in the form of a callback's; buttons, places and names are not in the list.
fn payload(message: &InboundListed, media: &[ProviderMedium]) -> Value {
    let mut fields = serde_json::Map::new();
    if let Some(body) = message.body.as_deref().filter(|body| !body.is_empty()) {
        fields.insert("body".to_owned(), json!(body));
    }
    if !media.is_empty() {
        let media: Vec<Value> = media
            .iter()
            .map(|medium| json!({ "url": medium.url, "content_type": medium.content_type }))
            .collect();
        fields.insert("media".to_owned(), json!(media));
    }
    Value::Object(fields)
}
