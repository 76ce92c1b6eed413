//! Lists what people wrote while we could not be told: at the start before anything is sent, every few
//! minutes, and at once when a callback could not be stored.

use std::sync::Arc;
use std::time::Duration;

use delivery::address::{Address, Context};
use delivery::consent::ConsentChange;
use delivery::limits::OUTAGE_BELIEVED_FOR;
use delivery::message::SenderName;
use delivery::outage::{Outage, OutageReason};
use delivery::row::SenderRow;
use delivery::sid::Sid;
use delivery::time::{ClockDifference, Timestamp};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::lag_probe::differs;
use crate::effects::Effects;
use crate::provider::{
    InboundListQuery, InboundListed, InboundPage, InboundRecipient, Provider, ProviderError,
    ProviderMedium,
};
use crate::store::{
    InboundCursor, InboundReading, Inbounds, ListLag, NewInbound, StoreError, Watches,
    new_message_id,
};

/// How long to rest between readings.
const REST: Duration = Duration::from_secs(5 * 60);
/// How far a reading goes back behind the last one: the list may show a message late.
const OVERLAP: Duration = Duration::from_secs(10 * 60);
/// How far the first reading of a new database goes back: what was written before opens no window
/// any more.
const FIRST_LOOK_BACK: Duration = Duration::from_secs(24 * 3_600);
/// How long until a reading that failed is tried again; doubled up to the longest.
const FAILURE_WAIT: Duration = Duration::from_secs(2);
const FAILURE_WAIT_MAX: Duration = Duration::from_secs(60);
/// Pages after which messages may be sent although older ones are still being read: 100,000
/// messages of a number.
const PAGES_BEFORE_SENDING: usize = if cfg!(test) { 3 } else { 2_000 };
/// Answers that cannot be read, one after another, before messages may be sent all the same.
const GARBAGE_MAX: u32 = 3;

/// What reading the list needs.
pub struct InboundReader {
    /// Where inbound messages go, and how far the list was read.
    pub store: Arc<dyn Inbounds>,
    /// Where differences of the clocks go.
    pub watches: Arc<dyn Watches>,
    /// The provider whose list is read.
    pub provider: Arc<dyn Provider>,
    /// Clock and randomness.
    pub effects: Effects,
    /// Our senders with their keys in the store.
    pub senders: Vec<(SenderRow, SenderName)>,
    /// Changes whenever a callback about an inbound message could not be stored.
    pub lost: watch::Receiver<u64>,
    /// Becomes true when everything is known that was written before the start.
    pub caught_up: watch::Sender<bool>,
    /// What is wrong with reading the list, in words for the operator.
    pub concern: watch::Sender<Option<String>>,
    /// Outages; told here until lanes are open, and by the dispatcher afterwards.
    pub outages: watch::Sender<Vec<Outage>>,
    /// Divides every wait.
    pub clock_scale: u32,
}

/// Why a reading ended early.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error(transparent)]
    Provider(#[from] ProviderError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// One number of ours, in one form, or one Messaging Service.
struct Source {
    row: SenderRow,
    name: SenderName,
    recipient: InboundRecipient,
}

/// What a reading found that nobody had told us.
#[derive(Clone, Copy, Debug, Default)]
struct Found {
    messages: usize,
    opt_outs: usize,
}

impl InboundReader {
    /// Reads again and again until shutdown.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let sources = sources(&self.senders);
        let mut failures = 0;
        loop {
            self.lost.borrow_and_update();
            let read = tokio::select! {
                () = shutdown.cancelled() => return,
                read = self.read_all(&sources) => read,
            };
            let rest = match read {
                Ok(()) => {
                    self.succeeded(failures);
                    failures = 0;
                    REST
                }
                Err(error) => {
                    failures += 1;
                    self.failed(&error, failures)
                }
            };
            let sleep = self.effects.clock.sleep(rest / self.clock_scale.max(1));
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = sleep => {}
                // What failed a moment ago would fail again.
                changed = self.lost.changed(), if failures == 0 => {
                    if changed.is_err() {
                        shutdown.cancelled().await;
                        return;
                    }
                }
            }
        }
    }

    fn succeeded(&self, failures: u32) {
        if failures > 0 {
            tracing::info!(failures, "inbound messages can be listed again");
        }
        self.concern.send_replace(None);
        self.open_lanes();
    }

    fn open_lanes(&self) {
        if !self.caught_up.send_replace(true) {
            self.outages.send_replace(Vec::new());
        }
    }

    /// Says what is wrong, and how long to rest.
    fn failed(&self, error: &ReadError, failures: u32) -> Duration {
        let definite = match error {
            // What cannot be stored cannot be sent either.
            ReadError::Store(_)
            | ReadError::Provider(ProviderError::Unreachable | ProviderError::RateLimited) => false,
            ReadError::Provider(ProviderError::Garbage) => failures >= GARBAGE_MAX,
            ReadError::Provider(
                ProviderError::Unauthorized { .. }
                | ProviderError::NotFound
                | ProviderError::Refused { .. },
            ) => true,
        };
        let unreachable = matches!(error, ReadError::Provider(ProviderError::Unreachable));
        let waits = !definite && !*self.caught_up.borrow();
        let consequence = if waits {
            "nothing is sent until it is known what people wrote while the server was away"
        } else {
            "opt-outs whose callbacks were lost are not noticed"
        };
        self.concern.send_replace(Some(format!(
            "inbound messages cannot be listed: {error}; {consequence}"
        )));
        if definite && (failures == 1 || failures == GARBAGE_MAX) {
            tracing::error!(%error, "inbound messages cannot be listed; {consequence}");
        } else if failures == 1 && waits && unreachable {
            tracing::warn!(%error, "Twilio cannot be reached; {consequence}");
        } else if failures == 1 {
            tracing::warn!(%error, "inbound messages cannot be listed now; {consequence}");
        }
        if definite {
            self.open_lanes();
            return REST;
        }
        if waits && unreachable {
            let now = self.effects.clock.now();
            self.outages.send_modify(|outages| {
                let since = outages.first().map_or(now, |outage| outage.since);
                *outages = vec![Outage {
                    sender: None,
                    since,
                    reason: OutageReason::NoAnswer,
                    probes: u64::from(failures),
                    believed_until: now.plus(OUTAGE_BELIEVED_FOR),
                }];
            });
        }
        let doubled = FAILURE_WAIT * 2u32.saturating_pow(failures.saturating_sub(1).min(8));
        doubled.min(FAILURE_WAIT_MAX)
    }

    async fn read_all(&self, sources: &[Source]) -> Result<(), ReadError> {
        let mut pages = 0;
        for source in sources {
            let found = self.read(source, &mut pages).await?;
            if found.messages > 0 {
                tracing::info!(
                    messages = found.messages,
                    opt_outs = found.opt_outs,
                    "inbound messages were found in the provider's list; no callback had told of them"
                );
            }
        }
        Ok(())
    }

    /// Ends a reading that was broken off, if there is one, and then reads what is newer.
    async fn read(&self, source: &Source, pages: &mut usize) -> Result<Found, ReadError> {
        let recipient = source.key();
        let known = self.store.inbound_cursor(source.row, recipient.clone());
        let mut cursor = known.await?.unwrap_or(InboundCursor {
            sender: source.row,
            recipient,
            listed_until: None,
            reading: None,
        });
        let mut found = Found::default();
        if cursor.reading.is_some() {
            match self.finish(source, &mut cursor, &mut found, pages).await {
                // The provider has forgotten where it was: all of it is read again.
                Err(ReadError::Provider(
                    ProviderError::NotFound
                    | ProviderError::Refused { .. }
                    | ProviderError::Garbage,
                )) => cursor.reading = None,
                ended => ended?,
            }
        }
        let page = self.page(source, None).await?;
        self.note_clock().await?;
        let until = page.answered_at.or_else(|| page.newest());
        let until = until.unwrap_or_else(|| self.effects.clock.now().minus(OVERLAP));
        let since = match cursor.listed_until {
            Some(listed_until) => listed_until.minus(OVERLAP),
            None => until.minus(FIRST_LOOK_BACK),
        };
        self.store_page(source, &page, since, &mut found).await?;
        match page.older_than(since) {
            Some(next_page) => {
                cursor.reading = Some(InboundReading {
                    until,
                    since,
                    next_page,
                });
                self.finish(source, &mut cursor, &mut found, pages).await?;
            }
            None => self.finished(&mut cursor, until).await?,
        }
        Ok(found)
    }

    /// Writes down how far the provider's clock is from ours before anything is sent by ours: should it
    /// be right at the next start, the list is searched from the right time on all the same.
    async fn note_clock(&self) -> Result<(), StoreError> {
        let clock = self.provider.clock_difference();
        if !differs(ClockDifference::NONE, clock) {
            return Ok(());
        }
        let at = self.effects.clock.now();
        let lag = None;
        self.watches.note_list_lag(ListLag { at, lag, clock }).await
    }

    /// Reads the rest of a reading, page by page. How far it came is kept after each, so that a
    /// restart goes on there.
    async fn finish(
        &self,
        source: &Source,
        cursor: &mut InboundCursor,
        found: &mut Found,
        pages: &mut usize,
    ) -> Result<(), ReadError> {
        while let Some(reading) = cursor.reading.clone() {
            self.store.set_inbound_cursor(cursor.clone()).await?;
            let page = self.page(source, Some(reading.next_page)).await?;
            self.store_page(source, &page, reading.since, found).await?;
            match page.older_than(reading.since) {
                Some(next_page) => {
                    cursor.reading = Some(InboundReading {
                        next_page,
                        ..reading
                    });
                }
                None => self.finished(cursor, reading.until).await?,
            }
            *pages += 1;
            if *pages == PAGES_BEFORE_SENDING {
                tracing::warn!(
                    pages,
                    "the provider's list of inbound messages is long; sending begins although older \
                     ones are still being read"
                );
                self.concern.send_replace(Some(format!(
                    "older inbound messages are still being listed (after {pages} pages); opt-outs \
                     among them are not known yet"
                )));
                self.open_lanes();
            }
        }
        Ok(())
    }

    async fn finished(
        &self,
        cursor: &mut InboundCursor,
        until: Timestamp,
    ) -> Result<(), ReadError> {
        cursor.reading = None;
        cursor.listed_until = cursor.listed_until.max(Some(until));
        self.store.set_inbound_cursor(cursor.clone()).await?;
        Ok(())
    }

    async fn page(
        &self,
        source: &Source,
        page: Option<String>,
    ) -> Result<InboundPage, ProviderError> {
        let query = InboundListQuery {
            recipient: source.recipient.clone(),
            page,
        };
        self.provider.list_inbound(&query).await
    }

    /// Stores what nobody has told us, oldest first.
    async fn store_page(
        &self,
        source: &Source,
        page: &InboundPage,
        since: Timestamp,
        found: &mut Found,
    ) -> Result<(), ReadError> {
        let mut wanted: Vec<&InboundListed> = page
            .messages
            .iter()
            .filter(|message| message.created_at.is_none_or(|at| at >= since))
            .collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let sids: Vec<Sid> = wanted.iter().map(|message| message.sid).collect();
        let known = self.store.known_inbound(sids).await?;
        wanted.retain(|message| !known.contains(&message.sid));
        let mut batch = Vec::with_capacity(wanted.len());
        for message in wanted.into_iter().rev() {
            batch.extend(self.new_inbound(source, message).await?);
        }
        if batch.is_empty() {
            return Ok(());
        }
        for result in self.store.inbound(batch).await? {
            found.messages += usize::from(!result.duplicate);
            found.opt_outs += usize::from(result.change == ConsentChange::OptOut);
        }
        Ok(())
    }

    /// A listed message as the store takes it; `None` when nobody knows who wrote it.
    async fn new_inbound(
        &self,
        source: &Source,
        message: &InboundListed,
    ) -> Result<Option<NewInbound>, ReadError> {
        let from = message.from.as_deref();
        let Some(from) = from.and_then(|from| Address::parse(from, Context::Inbound).ok()) else {
            tracing::warn!(
                "a listed inbound message comes from no readable address; it is ignored"
            );
            return Ok(None);
        };
        let media = match message.media {
            0 => Vec::new(),
            _ => match self.provider.media(message.sid).await {
                Ok(media) => media,
                // They were deleted, or nobody may see them; the message counts all the same.
                Err(
                    ProviderError::NotFound
                    | ProviderError::Refused { .. }
                    | ProviderError::Unauthorized { .. }
                    | ProviderError::Garbage,
                ) => Vec::new(),
                Err(error) => return Err(error.into()),
            },
        };
        let now = self.effects.clock.now();
        Ok(Some(NewInbound {
            sid: message.sid,
            from: from.address,
            also: Vec::new(),
            sent_form: from.sent_form,
            to: Some(source.name.clone()),
            message_type: if message.media == 0 { "text" } else { "media" }.to_owned(),
            payload: payload(message, &media).to_string(),
            media: message.media,
            reply_to: None,
            body: message.body.clone().unwrap_or_default(),
            button_payload: None,
            provider_keyword: None,
            question_id: new_message_id(now, &*self.effects.random),
            written_at: message.created_at,
            listed: true,
            now,
        }))
    }
}

impl Source {
    /// What the cursor is kept by.
    fn key(&self) -> String {
        match &self.recipient {
            InboundRecipient::Number(number) => number.clone(),
            InboundRecipient::Service(service) => service.to_string(),
        }
    }
}

/// Each number in each form: the provider may write a Brazilian mobile without its ninth digit.
fn sources(senders: &[(SenderRow, SenderName)]) -> Vec<Source> {
    let mut sources = Vec::new();
    for (row, name) in senders {
        let recipients = if name.is_messaging_service() {
            let service = Sid::parse(name.as_str(), &["MG"]).ok();
            service.map(InboundRecipient::Service).into_iter().collect()
        } else {
            let mut numbers = vec![name.as_str().to_owned()];
            if let Ok(parsed) = Address::parse(name.as_str(), Context::Inbound) {
                numbers.push(parsed.address.canonical().to_owned());
                numbers.extend(parsed.address.alternative());
            }
            numbers.sort();
            numbers.dedup();
            numbers
                .into_iter()
                .map(InboundRecipient::Number)
                .collect::<Vec<_>>()
        };
        sources.extend(recipients.into_iter().map(|recipient| Source {
            row: *row,
            name: name.clone(),
            recipient,
        }));
    }
    sources
}

impl InboundPage {
    /// When the newest message was created.
    fn newest(&self) -> Option<Timestamp> {
        self.messages
            .iter()
            .filter_map(|message| message.created_at)
            .max()
    }

    /// Where the list goes on, unless all that follows is older than `since`.
    fn older_than(&self, since: Timestamp) -> Option<String> {
        let reached = self.oldest.is_some_and(|oldest| oldest < since);
        self.next.clone().filter(|_| !reached)
    }
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

#[cfg(test)]
mod tests;
