//! `GET …/Messages.json`: filters and pages, newest first.

use std::time::Instant;

use jiff::civil::Date;
use serde_json::{Value, json};

use crate::answer::{ApiError, message};
use crate::form::{Form, encode};
use crate::state::{Record, State};

const PAGE_SIZE: usize = 50;
const PAGE_SIZE_MAX: usize = 1_000;

/// Reads a page.
pub(crate) fn list(state: &State, form: &Form) -> Result<Value, ApiError> {
    let filter = Filter::read(form)?;
    let inner = state.inner();
    let now = Instant::now();
    let before = match form.filled("PageToken") {
        None => usize::MAX,
        Some(token) => token
            .strip_prefix("PA")
            .and_then(|sid| inner.by_sid.get(sid).copied())
            .ok_or_else(|| ApiError::new(400, 20_001, "Invalid 'PageToken'"))?,
    };
    let all: Vec<usize> = match form.filled("To") {
        Some(to) => inner.by_to.get(to).cloned().unwrap_or_default(),
        None => (0..inner.records.len()).collect(),
    };
    let shown = |index: &&usize| {
        inner
            .records
            .get(**index)
            .filter(|record| !record.deleted && record.listed_from <= now && filter.matches(record))
    };
    let (newer, older): (Vec<&usize>, Vec<&usize>) = all.iter().partition(|at| **at >= before);
    let mut found = older.iter().rev().filter_map(shown);
    let records: Vec<&Record> = found.by_ref().take(filter.page_size).collect();
    let more = found.next().is_some();
    let items: Vec<Value> = records
        .iter()
        .map(|r| message(&state.settings, r))
        .collect();
    let last = records.last().filter(|_| more);
    let ends = Ends {
        next_after: last.map(|record| record.truth.sid.as_str()),
        // The previous page ends where this one begins.
        previous_after: newer
            .iter()
            .filter_map(shown)
            .nth(filter.page_size)
            .map(|record| record.truth.sid.as_str()),
    };
    Ok(envelope(state, form, &filter, items, &ends))
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

    fn matches(&self, record: &Record) -> bool {
        // A message that is not sent yet counts by the time of its creation.
        let at = record.sent.unwrap_or(record.created);
        // Twilio shows whole seconds, so whole seconds are compared.
        let at = jiff::Timestamp::from_second(at.as_second()).unwrap_or(at);
        self.from
            .as_ref()
            .is_none_or(|from| record.truth.from.as_ref() == Some(from))
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
