//! `GET …/Messages.json`: filters and pages, newest first.

use std::collections::BTreeMap;
use std::time::Instant;

use jiff::civil::Date;
use serde_json::{Value, json};

use crate::answer::{ApiError, inbound_message, message};
use crate::faults::Bodies;
use crate::form::{Form, encode};
use crate::inbound_record::InboundRecord;
use crate::settings::Settings;
use crate::state::{Entry, Inner, Place, Record, State};

const PAGE_SIZE: usize = 50;
const PAGE_SIZE_MAX: usize = 1_000;

/// Behind every message.
const PLACE_MAX: Place = (jiff::Timestamp::MAX, u64::MAX);

/// Reads a page.
pub(crate) fn list(state: &State, form: &Form) -> Result<Value, ApiError> {
    let filter = Filter::read(form)?;
    let inner = state.inner();
    let inner = &*inner;
    let now = Instant::now();
    let before = match form.filled("PageToken") {
        None => PLACE_MAX,
        Some(token) => token
            .strip_prefix("PA")
            .and_then(|sid| inner.place_of(sid))
            .ok_or_else(|| ApiError::new(400, 20_001, "Invalid 'PageToken'"))?,
    };
    let none = BTreeMap::new();
    let all = match form.filled("To") {
        Some(to) => inner.by_to.get(to).unwrap_or(&none),
        None => &inner.listed,
    };
    let shown = |entry: &Entry| {
        let listed = inner.entry(*entry)?;
        (listed.is_shown(now) && filter.matches(&listed)).then_some(listed)
    };
    let mut found = all.range(..before).rev().filter_map(|(_, at)| shown(at));
    let listed: Vec<Listed<'_>> = found.by_ref().take(filter.page_size).collect();
    let more = found.next().is_some();
    let bodies = inner.faults.bodies;
    let items = listed.iter().map(|l| l.json(&state.settings, bodies));
    let items: Vec<Value> = items.collect();
    let last = listed.last().filter(|_| more);
    let ends = Ends {
        next_after: last.map(Listed::sid),
        // The previous page ends where this one begins.
        previous_after: all
            .range(before..)
            .filter_map(|(_, at)| shown(at))
            .nth(filter.page_size)
            .map(|listed| listed.sid()),
    };
    Ok(envelope(state, form, &filter, items, &ends))
}

/// The media of a message.
pub(crate) struct Media {
    /// What their ids are drawn from.
    pub(crate) key: u64,
    pub(crate) created: jiff::Timestamp,
    /// The MIME type of each.
    pub(crate) kinds: Vec<String>,
}

/// A message of the list.
pub(crate) enum Listed<'a> {
    Outbound(&'a Record),
    Inbound(&'a InboundRecord),
}

impl<'a> Listed<'a> {
    fn sid(&self) -> &'a str {
        match self {
            Self::Outbound(record) => &record.truth.sid,
            Self::Inbound(record) => &record.truth.sid,
        }
    }

    fn is_shown(&self, now: Instant) -> bool {
        match self {
            Self::Outbound(record) => !record.deleted && record.listed_from <= now,
            Self::Inbound(record) => !record.deleted && record.listed_from <= now,
        }
    }

    fn from(&self) -> Option<&'a str> {
        match self {
            Self::Outbound(record) => record.truth.from.as_deref(),
            Self::Inbound(record) => Some(&record.truth.from),
        }
    }

    /// The time that filters look at: one that is not sent yet counts by its creation.
    fn time(&self) -> jiff::Timestamp {
        match self {
            Self::Outbound(record) => record.sent.unwrap_or(record.created),
            Self::Inbound(record) => record.created,
        }
    }

    /// Its media, unless it was deleted.
    pub(crate) fn media(&self) -> Option<Media> {
        match self {
            Self::Outbound(record) => (!record.deleted).then(|| Media {
                key: record.key,
                created: record.created,
                kinds: vec!["application/octet-stream".to_owned(); record.media.len()],
            }),
            Self::Inbound(record) => (!record.deleted).then(|| Media {
                key: record.key,
                created: record.created,
                kinds: record
                    .inbound
                    .media
                    .iter()
                    .map(|(_, k)| k.clone())
                    .collect(),
            }),
        }
    }

    /// As Twilio's API shows it.
    pub(crate) fn json(&self, settings: &Settings, bodies: Bodies) -> Value {
        match self {
            Self::Outbound(record) => message(settings, record, bodies),
            Self::Inbound(record) => inbound_message(settings, record, bodies),
        }
    }
}

impl Inner {
    /// A message of the list.
    pub(crate) fn entry(&self, entry: Entry) -> Option<Listed<'_>> {
        Some(match entry {
            Entry::Outbound(index) => Listed::Outbound(self.records.get(index)?),
            Entry::Inbound(index) => Listed::Inbound(self.inbound.get(index)?),
        })
    }

    /// Where a message stands in the list.
    fn place_of(&self, sid: &str) -> Option<Place> {
        let entry = *self.by_sid.get(sid)?;
        let created = match self.entry(entry)? {
            Listed::Outbound(record) => record.created,
            Listed::Inbound(record) => record.created,
        };
        let mut of_time = self.listed.range((created, 0)..=(created, u64::MAX));
        of_time
            .find(|(_, at)| **at == entry)
            .map(|(place, _)| *place)
    }
}

/// The messages after which the neighboring pages begin.
struct Ends<'a> {
    next_after: Option<&'a str>,
    previous_after: Option<&'a str>,
}

fn envelope(
    state: &State,
    form: &Form,
    filter: &Filter,
    items: Vec<Value>,
    ends: &Ends<'_>,
) -> Value {
    let uri = |page: usize, token: Option<&str>| {
        let mut pairs: Vec<(&str, String)> = ["To", "From", "DateSent", "DateSent<", "DateSent>"]
            .into_iter()
            .filter_map(|name| Some((name, form.filled(name)?.to_owned())))
            .collect();
        pairs.push(("PageSize", filter.page_size.to_string()));
        pairs.push(("Page", page.to_string()));
        pairs.extend(token.map(|token| ("PageToken", token.to_owned())));
        let account = &state.settings.account_sid;
        format!(
            "/2010-04-01/Accounts/{account}/Messages.json?{}",
            encode(&pairs)
        )
    };
    let start = filter.page * filter.page_size;
    let after = |sid: Option<&str>| sid.map(|sid| format!("PA{sid}"));
    let next = after(ends.next_after).map(|token| uri(filter.page + 1, Some(&token)));
    let previous = after(ends.previous_after);
    json!({
        "end": start + items.len().saturating_sub(1),
        "messages": items,
        "page": filter.page,
        "page_size": filter.page_size,
        "start": start,
        "uri": uri(filter.page, form.filled("PageToken")),
        "first_page_uri": uri(0, None),
        "next_page_uri": next,
        "previous_page_uri": (filter.page > 0).then(|| uri(filter.page - 1, previous.as_deref())),
    })
}

struct Filter {
    from: Option<String>,
    on: Option<Date>,
    not_after: Option<jiff::Timestamp>,
    not_before: Option<jiff::Timestamp>,
    page: usize,
    page_size: usize,
}

impl Filter {
    fn read(form: &Form) -> Result<Self, ApiError> {
        let number = |name: &str, fallback: usize| {
            form.filled(name).map_or(Ok(fallback), |text| {
                text.parse()
                    .map_err(|_| ApiError::new(400, 20_001, format!("Invalid '{name}'")))
            })
        };
        let time = |name: &str, end: bool| {
            form.filled(name)
                .map(|text| instant(name, text, end))
                .transpose()
        };
        let on = form
            .filled("DateSent")
            .map(|text| instant("DateSent", text, false))
            .transpose()?;
        Ok(Self {
            from: form.filled("From").map(str::to_owned),
            on: on.map(|at| at.to_zoned(jiff::tz::TimeZone::UTC).date()),
            not_after: time("DateSent<", true)?,
            not_before: time("DateSent>", false)?,
            page: number("Page", 0)?,
            page_size: number("PageSize", PAGE_SIZE)?.clamp(1, PAGE_SIZE_MAX),
        })
    }

    fn matches(&self, listed: &Listed<'_>) -> bool {
        let at = listed.time();
        // Twilio shows whole seconds, so whole seconds are compared.
        let at = jiff::Timestamp::from_second(at.as_second()).unwrap_or(at);
        self.from
            .as_deref()
            .is_none_or(|from| listed.from() == Some(from))
            && self
                .on
                .is_none_or(|on| at.to_zoned(jiff::tz::TimeZone::UTC).date() == on)
            && self.not_after.is_none_or(|limit| at <= limit)
            && self.not_before.is_none_or(|limit| at >= limit)
    }
}

/// A time, or a date, which stands for its first or last second; all in GMT.
fn instant(name: &str, text: &str, end: bool) -> Result<jiff::Timestamp, ApiError> {
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Ok(time);
    }
    let invalid = |_| ApiError::new(400, 20_001, format!("Invalid '{name}'"));
    let date: Date = text.parse().map_err(invalid)?;
    let (hour, minute, second) = if end { (23, 59, 59) } else { (0, 0, 0) };
    let zoned = date
        .at(hour, minute, second, 0)
        .to_zoned(jiff::tz::TimeZone::UTC);
    Ok(zoned.map_err(invalid)?.timestamp())
}
