//! Lists what people wrote while we could not be told: at the start before anything is sent, every few
//! minutes, and at once when a callback could not be stored.

mod failures;
mod listed;
mod sources;

use std::sync::Arc;
use std::time::Duration;

use delivery::consent::ConsentChange;
use delivery::limits::OUTAGE_BELIEVED_FOR;
use delivery::message::SenderName;
use delivery::outage::{Outage, OutageReason, Unlisted};
use delivery::row::SenderRow;
use delivery::sid::Sid;
use delivery::time::{ClockDifference, Timestamp};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::failures::{Failures, ReadError, graver};
use self::listed::{Found, Memory, Taking};
use self::sources::{Source, sources};
use super::lag_probe::differs;
use crate::effects::Effects;
use crate::provider::{InboundListQuery, InboundListed, InboundPage, Provider, ProviderError};
use crate::store::{InboundCursor, InboundReading, Inbounds, ListLag, StoreError, Watches};

/// How long to rest between readings.
const REST: Duration = Duration::from_secs(5 * 60);
/// How far a reading goes back behind the last one: the list may show a message late.
const OVERLAP: Duration = Duration::from_secs(10 * 60);
/// How far the first reading of a new database goes back: what was written before opens no window
/// any more.
const FIRST_LOOK_BACK: Duration = Duration::from_secs(24 * 3_600);
/// Pages after which messages may be sent although older ones are still being read: 100,000
/// messages of a number.
const PAGES_BEFORE_SENDING: usize = if cfg!(test) { 3 } else { 2_000 };
/// Sources in a row that cannot be reached before the others wait for the next reading, which begins at
/// another one.
const UNREACHABLE_MAX: usize = 3;

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
    /// What is wrong with reading the list.
    pub concern: watch::Sender<Option<Unlisted>>,
    /// Outages; told here until lanes are open, and by the dispatcher afterwards.
    pub outages: watch::Sender<Vec<Outage>>,
    /// Divides every wait.
    pub clock_scale: u32,
}

/// A source whose newest page is stored.
struct Begun<'a> {
    source: &'a Source,
    cursor: InboundCursor,
    found: Found,
    /// The cursor is that of an earlier reading, after whose end another one begins.
    is_earlier: bool,
}

/// How many pages were read after the newest ones.
struct Pages {
    read: usize,
    /// The newest page of every source is stored.
    all_begun: bool,
}

impl InboundReader {
    /// Reads again and again until shutdown.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut sources = sources(&self.senders);
        let mut failures = Failures::default();
        let mut memory = Memory::default();
        loop {
            self.lost.borrow_and_update();
            let read = tokio::select! {
                () = shutdown.cancelled() => return,
                read = self.read_all(&sources, &mut memory) => read,
            };
            let rest = match read {
                Ok(()) => {
                    self.succeeded(&failures);
                    failures = Failures::default();
                    REST
                }
                Err(error) => {
                    if !sources.is_empty() {
                        sources.rotate_left(1);
                    }
                    self.failed(&error, &mut failures)
                }
            };
            let sleep = self.effects.clock.sleep(rest / self.clock_scale.max(1));
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = sleep => {}
                // What failed a moment ago would fail again.
                changed = self.lost.changed(), if failures.number() == 0 => {
                    if changed.is_err() {
                        shutdown.cancelled().await;
                        return;
                    }
                }
            }
        }
    }

    fn succeeded(&self, failures: &Failures) {
        let number = failures.number();
        if number > 0 {
            tracing::info!(failures = number, "inbound messages can be listed again");
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
    fn failed(&self, error: &ReadError, failures: &mut Failures) -> Duration {
        let consequence = failures.failed(error);
        let waits = !consequence.opens && !*self.caught_up.borrow();
        let then = if waits {
            "nothing is sent until it is known what people wrote while the server was away"
        } else {
            "opt-outs whose callbacks were lost are not noticed"
        };
        let number = failures.number();
        let is_away = matches!(error, ReadError::Provider(ProviderError::Unreachable));
        if consequence.is_said && waits && is_away {
            tracing::warn!(%error, failures = number, "Twilio cannot be reached; {then}");
        } else if consequence.is_said && consequence.opens {
            tracing::error!(%error, failures = number, "inbound messages cannot be listed; {then}");
        } else if consequence.is_said {
            tracing::warn!(%error, failures = number, "inbound messages cannot be listed now; {then}");
        }
        let now = self.effects.clock.now();
        // Whoever sees the concern also sees the outage that it comes from.
        if waits && is_away {
            self.tell_outage(number, now);
        }
        let why = format!("inbound messages cannot be listed: {error}; {then}");
        self.concern.send_modify(|concern| {
            let since = concern.as_ref().map_or(now, |concern| concern.since);
            *concern = Some(Unlisted {
                since,
                sending_waits: waits,
                why,
            });
        });
        if consequence.opens {
            self.open_lanes();
        }
        consequence.wait
    }

    /// While nothing is sent, nobody else notices that the provider is away.
    fn tell_outage(&self, failures: u32, now: Timestamp) {
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

    /// Reads the newest page of every source, and then the rest of each: one that cannot be read, or that
    /// is very long, holds up none of the others.
    async fn read_all(&self, sources: &[Source], memory: &mut Memory) -> Result<(), ReadError> {
        let mut failed = None;
        let mut begun = Vec::with_capacity(sources.len());
        let mut unreachable = 0;
        for source in sources {
            match self.begin(source, memory).await {
                Ok(source) => {
                    unreachable = 0;
                    begun.push(source);
                }
                Err(error) => {
                    if matches!(error, ReadError::Provider(ProviderError::Unreachable)) {
                        unreachable += 1;
                    }
                    failed = Some(graver(failed, error));
                }
            }
            if unreachable >= UNREACHABLE_MAX {
                break;
            }
        }
        let mut pages = Pages {
            read: 0,
            all_begun: failed.is_none(),
        };
        for mut source in begun {
            if let Err(error) = self.end(&mut source, memory, &mut pages).await {
                failed = Some(graver(failed, error));
            }
            let Found { messages, opt_outs } = source.found;
            if messages > 0 {
                tracing::info!(
                    messages,
                    opt_outs,
                    "inbound messages were found in the provider's list; no callback had told of them"
                );
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Stores the newest page of a source.
    async fn begin<'a>(
        &self,
        source: &'a Source,
        memory: &mut Memory,
    ) -> Result<Begun<'a>, ReadError> {
        let recipient = source.key();
        let known = self.store.inbound_cursor(source.row, recipient.clone());
        let cursor = known.await?.unwrap_or(InboundCursor {
            sender: source.row,
            recipient,
            listed_until: None,
            reading: None,
        });
        let mut begun = Begun {
            source,
            is_earlier: cursor.reading.is_some(),
            cursor,
            found: Found::default(),
        };
        self.read_newest(&mut begun, memory).await?;
        Ok(begun)
    }

    /// Reads what a source still has: the rest of an earlier reading that was broken off, and then of what
    /// is newer.
    async fn end(
        &self,
        begun: &mut Begun<'_>,
        memory: &mut Memory,
        pages: &mut Pages,
    ) -> Result<(), ReadError> {
        let ended = self.finish(begun, memory, pages).await;
        if !begun.is_earlier {
            return ended;
        }
        match ended {
            // The provider has forgotten where it was: all of it is read again.
            Err(ReadError::Provider(
                ProviderError::NotFound | ProviderError::Refused { .. } | ProviderError::Garbage,
            )) => begun.cursor.reading = None,
            ended => ended?,
        }
        begun.is_earlier = false;
        self.read_newest(begun, memory).await?;
        self.finish(begun, memory, pages).await
    }

    /// Stores the newest page, with which a reading begins unless an earlier one is not at its end.
    async fn read_newest(
        &self,
        begun: &mut Begun<'_>,
        memory: &mut Memory,
    ) -> Result<(), ReadError> {
        let page = self.page(begun.source, None).await?;
        self.note_clock().await?;
        let until = page.answered_at.or(page.newest);
        let until = until.unwrap_or_else(|| self.effects.clock.now().minus(OVERLAP));
        let since = match begun.cursor.listed_until {
            Some(listed_until) => listed_until.minus(OVERLAP),
            None => until.minus(FIRST_LOOK_BACK),
        };
        self.store_page(begun, &page, since, memory).await?;
        if begun.is_earlier {
            return Ok(());
        }
        match page.goes_on(since) {
            Some(next_page) => {
                begun.cursor.reading = Some(InboundReading {
                    until,
                    since,
                    next_page,
                });
                Ok(())
            }
            None => self.finished(&mut begun.cursor, until).await,
        }
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
        begun: &mut Begun<'_>,
        memory: &mut Memory,
        pages: &mut Pages,
    ) -> Result<(), ReadError> {
        while let Some(reading) = begun.cursor.reading.clone() {
            let kept = self.store.set_inbound_cursor(begun.cursor.clone());
            kept.await?;
            let page = self.page(begun.source, Some(reading.next_page)).await?;
            self.store_page(begun, &page, reading.since, memory).await?;
            match page.goes_on(reading.since) {
                Some(next_page) => {
                    begun.cursor.reading = Some(InboundReading {
                        next_page,
                        ..reading
                    });
                }
                None => self.finished(&mut begun.cursor, reading.until).await?,
            }
            self.count(pages);
        }
        Ok(())
    }

    /// Nobody waits for a list that is very long, once the newest of each source is known.
    fn count(&self, pages: &mut Pages) {
        pages.read += 1;
        if pages.read < PAGES_BEFORE_SENDING || !pages.all_begun || *self.caught_up.borrow() {
            return;
        }
        let read = pages.read;
        tracing::warn!(
            pages = read,
            "the provider's list of inbound messages is long; sending begins although older ones are \
             still being read"
        );
        self.concern.send_replace(Some(Unlisted {
            since: self.effects.clock.now(),
            sending_waits: false,
            why: format!(
                "older inbound messages are still being listed (after {read} pages); opt-outs among \
                 them are not known yet"
            ),
        }));
        self.open_lanes();
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

    /// Stores what nobody has told us.
    async fn store_page(
        &self,
        begun: &mut Begun<'_>,
        page: &InboundPage,
        since: Timestamp,
        memory: &mut Memory,
    ) -> Result<(), ReadError> {
        let is_wanted = |at: Option<Timestamp>| at.is_none_or(|at| at >= since);
        let unreadable = page.unreadable.iter().filter(|at| is_wanted(**at)).count();
        tell_unreadable(begun.source, unreadable, memory);
        let mut wanted: Vec<&InboundListed> = page
            .messages
            .iter()
            .filter(|message| is_wanted(message.created_at))
            .collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let sids: Vec<Sid> = wanted.iter().map(|message| message.sid).collect();
        let known = self.store.known_inbound(sids).await?;
        wanted.retain(|message| !known.contains(&message.sid));
        let taking = Taking {
            store: &*self.store,
            provider: &*self.provider,
            effects: &self.effects,
            source: begun.source,
        };
        let (results, stored) = taking.take(wanted, memory).await;
        for result in results {
            begun.found.messages += usize::from(!result.duplicate);
            begun.found.opt_outs += usize::from(result.change == ConsentChange::OptOut);
        }
        stored
    }
}

/// Once for each, as long as they are listed: what cannot be read may be an opt-out.
fn tell_unreadable(source: &Source, unreadable: usize, memory: &mut Memory) {
    let told = memory.unreadable.entry(source.key()).or_default();
    if unreadable > *told {
        tracing::error!(
            unreadable,
            sender = source.name.as_str(),
            "listed inbound messages have no readable id; they are not stored, and opt-outs among them \
             are not noticed"
        );
        *told = unreadable;
    }
}

impl InboundPage {
    /// Where the list goes on, unless all of this page is older than `since`. The list is ordered by the
    /// time of sending, so one old message proves nothing about those that follow.
    fn goes_on(&self, since: Timestamp) -> Option<String> {
        let is_over = self.newest.is_some_and(|newest| newest < since);
        self.next.clone().filter(|_| !is_over)
    }
}

#[cfg(test)]
mod tests;
