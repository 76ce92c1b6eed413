//! The numbers.

use delivery::counter::Metric;

use super::StoreFuture;

/// The numbers.
pub trait Counters: Send + Sync {
    /// Counters summed over a range of hours. It reads some hours at a time, so that others who wait
    /// for a list come in between; an hour is summed as it is when it is read.
    fn counters(&self, query: CounterQuery) -> StoreFuture<'_, Vec<CounterRow>>;

    /// The hour before which a range has to end, so that one caller makes the store read no more than
    /// this many cohorts: the end of the range when it is small enough. One hour is never too much.
    fn counters_until(&self, query: CounterQuery, cohorts: u32) -> StoreFuture<'_, i64>;
}

/// Which counters to sum.
#[derive(Clone, Copy, Debug)]
pub struct CounterQuery {
    /// First hour, in hours since the Unix epoch.
    pub from_hour: i64,
    /// The hour after the last.
    pub to_hour: i64,
    /// By what to group.
    pub group: CounterGroup,
}

/// By what counters are grouped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CounterGroup {
    /// Everything in one row.
    None,
    /// By hour of acceptance.
    Hour,
    /// By UTC day of acceptance.
    Day,
    /// By sender.
    Sender,
    /// By kind.
    Kind,
    /// By template.
    Template,
    /// By Brazilian area code.
    Area,
}

/// One counter of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CounterRow {
    /// The group's value as text.
    pub group: String,
    /// What is counted.
    pub metric: Metric,
    /// State number, error code, outcome number or bucket.
    pub code: i64,
    /// How many.
    pub n: i64,
}
