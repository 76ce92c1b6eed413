//! Everything the simulator knows: accepted messages, phones, what is scheduled, and the truth log.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

use crate::callback::Caller;
use crate::faults::{CreateFault, Faults, Script};
use crate::phone::{Phone, PhoneBehavior};
use crate::rng::{Rng, key};
use crate::settings::Settings;
use crate::truth::TruthMessage;

/// The longest wait: a year.
const WAIT_MAX: Duration = Duration::from_secs(365 * 86_400);

/// A message, with what the truth log leaves out.
pub(crate) struct Record {
    pub(crate) truth: TruthMessage,
    pub(crate) key: u64,
    pub(crate) created: jiff::Timestamp,
    pub(crate) listed_from: Instant,
    pub(crate) status: &'static str,
    pub(crate) error_code: Option<u32>,
    pub(crate) media: Vec<String>,
    pub(crate) redacted: bool,
    pub(crate) deleted: bool,
    pub(crate) updated: jiff::Timestamp,
    pub(crate) sent: Option<jiff::Timestamp>,
}

/// Something that will happen at a later time.
pub(crate) enum Scheduled {
    /// A message takes a status.
    Status {
        message: usize,
        status: &'static str,
        code: Option<u32>,
    },
    /// A callback is sent.
    Callback {
        message: usize,
        index: usize,
        forged: bool,
    },
    /// A person writes.
    Answer { message: usize, text: String },
}

pub(crate) struct Inner {
    pub(crate) records: Vec<Record>,
    pub(crate) by_sid: HashMap<String, usize>,
    pub(crate) by_to: HashMap<String, Vec<usize>>,
    pub(crate) phones: HashMap<String, PhoneBehavior>,
    pub(crate) limited_before: HashSet<String>,
    pub(crate) last_inbound: HashMap<String, Instant>,
    pub(crate) templates: HashMap<String, String>,
    pub(crate) faults: Faults,
    pub(crate) scripts: VecDeque<Script>,
    pub(crate) inbound_url: Option<String>,
    pub(crate) creates: u64,
    pub(crate) creates_to: HashMap<String, u64>,
    pub(crate) inbound_count: u64,
    /// Counts the resets: what was scheduled before one does not touch what comes after it.
    generation: u64,
    timeline: BinaryHeap<(Reverse<Instant>, Reverse<u64>)>,
    scheduled: HashMap<u64, Scheduled>,
    next_key: u64,
}

/// The state that all requests and tasks share.
pub(crate) struct State {
    pub(crate) settings: Settings,
    pub(crate) tasks: TaskTracker,
    pub(crate) caller: Caller,
    pub(crate) running: AtomicUsize,
    /// Notified when something is scheduled, and when something is done.
    pub(crate) changed: Notify,
    pub(crate) concurrent: AtomicUsize,
    pub(crate) requests: AtomicU64,
    inner: Mutex<Inner>,
}

impl State {
    pub(crate) fn new(settings: Settings, tasks: TaskTracker) -> Self {
        let inner = Inner::new(&settings);
        Self {
            caller: Caller::new(),
            tasks,
            running: AtomicUsize::new(0),
            changed: Notify::new(),
            concurrent: AtomicUsize::new(0),
            requests: AtomicU64::new(0),
            inner: Mutex::new(inner),
            settings,
        }
    }

    pub(crate) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn reset(&self) {
        let mut inner = self.inner();
        let (inbound_url, generation) = (inner.inbound_url.take(), inner.generation);
        *inner = Inner::new(&self.settings);
        inner.inbound_url = inbound_url;
        inner.generation = generation + 1;
        drop(inner);
        self.changed.notify_waiters();
    }

    /// Simulated milliseconds as real time.
    pub(crate) fn scaled(&self, millis: f64) -> Duration {
        real(millis / self.settings.time_scale)
    }

    pub(crate) fn pending(&self) -> usize {
        self.inner().scheduled.len() + self.running.load(Ordering::SeqCst)
    }

    /// The sender that a Messaging Service chooses.
    pub(crate) fn sender_of_service(&self) -> String {
        let first = self
            .settings
            .senders
            .first()
            .map_or("+14155238886", String::as_str);
        format!("whatsapp:{first}")
    }

    /// The truth from this index on.
    pub(crate) fn truth(&self, from: usize, limit: usize) -> Vec<TruthMessage> {
        self.inner()
            .records
            .iter()
            .skip(from)
            .take(limit)
            .map(|r| r.truth.clone())
            .collect()
    }

    /// Schedules something after this time.
    pub(crate) fn schedule(&self, inner: &mut Inner, after: Duration, scheduled: Scheduled) {
        let key = inner.next_key;
        inner.next_key += 1;
        inner.scheduled.insert(key, scheduled);
        inner
            .timeline
            .push((Reverse(Instant::now() + after), Reverse(key)));
        self.changed.notify_waiters();
        self.changed.notify_one();
    }

    /// Takes what is due, with the generation it belongs to; also returns when the next is due.
    pub(crate) fn take_due(&self) -> (Vec<(u64, Scheduled)>, Option<Instant>) {
        let mut inner = self.inner();
        let generation = inner.generation;
        let now = Instant::now();
        let mut due = Vec::new();
        while let Some((Reverse(at), Reverse(key))) = inner.timeline.peek().copied() {
            if at > now {
                return (due, Some(at));
            }
            inner.timeline.pop();
            if let Some(scheduled) = inner.scheduled.remove(&key) {
                // Counted before the lock is released, so that `pending` never misses it.
                self.running.fetch_add(1, Ordering::SeqCst);
                due.push((generation, scheduled));
            }
        }
        (due, None)
    }

    /// Marks something that was due as done.
    pub(crate) fn done(self: &Arc<Self>) {
        self.running.fetch_sub(1, Ordering::SeqCst);
        self.changed.notify_waiters();
    }

    /// The fault of the next create to this address, and the key of its random numbers. The key is
    /// made from the address and the number of creates to it before, so that requests in another
    /// order meet the same faults.
    pub(crate) fn next_fault(&self, to: &str) -> (u64, CreateFault) {
        let mut inner = self.inner();
        inner.creates += 1;
        let count = inner.creates_to.entry(to.to_owned()).or_default();
        let key = key(to).wrapping_add(*count);
        *count += 1;
        if let Some(fault) = scripted(&mut inner.scripts, to) {
            return (key, fault);
        }
        let draw = Rng::of(self.settings.seed, key).fraction();
        let mut reached = 0.0;
        for share in &inner.faults.create {
            reached += share.share;
            if draw < reached {
                return (key, share.fault.clone());
            }
        }
        (key, CreateFault::None)
    }
}

fn scripted(scripts: &mut VecDeque<Script>, to: &str) -> Option<CreateFault> {
    let index = scripts
        .iter()
        .position(|s| s.to.as_deref().is_none_or(|wanted| wanted == to))?;
    let script = scripts.get_mut(index)?;
    script.times = script.times.saturating_sub(1);
    let fault = script.fault.clone();
    if script.times == 0 {
        scripts.remove(index);
    }
    Some(fault)
}

impl Inner {
    fn new(settings: &Settings) -> Self {
        let mut inner = Self {
            records: Vec::new(),
            by_sid: HashMap::new(),
            by_to: HashMap::new(),
            phones: HashMap::new(),
            limited_before: HashSet::new(),
            last_inbound: HashMap::new(),
            templates: HashMap::new(),
            faults: settings.faults.clone(),
            scripts: VecDeque::new(),
            inbound_url: settings.inbound_url.clone(),
            creates: 0,
            creates_to: HashMap::new(),
            inbound_count: 0,
            generation: 0,
            timeline: BinaryHeap::new(),
            scheduled: HashMap::new(),
            next_key: 0,
        };
        inner.set_phones(settings.phones.clone());
        inner
    }

    /// A message, unless a reset has removed it since.
    pub(crate) fn record_of(&mut self, generation: u64, message: usize) -> Option<&mut Record> {
        let records = (self.generation == generation).then_some(&mut self.records)?;
        records.get_mut(message)
    }

    /// Cancels everything that is scheduled for this message.
    pub(crate) fn cancel_scheduled(&mut self, of: usize) {
        self.scheduled.retain(|_, scheduled| match scheduled {
            Scheduled::Status { message, .. }
            | Scheduled::Callback { message, .. }
            | Scheduled::Answer { message, .. } => *message != of,
        });
    }

    pub(crate) fn set_phones(&mut self, phones: Vec<Phone>) {
        for phone in phones {
            self.phones.insert(person(&phone.number), phone.character);
        }
    }
}

/// Milliseconds of real time as a duration that can be waited for, however large they are.
pub(crate) fn real(millis: f64) -> Duration {
    let seconds = (millis / 1_000.0).max(0.0);
    Duration::try_from_secs_f64(seconds)
        .unwrap_or(WAIT_MAX)
        .min(WAIT_MAX)
}

/// The person behind an address: a Brazilian mobile is the same with and without its ninth digit.
pub(crate) fn person(address: &str) -> String {
    let number = address.strip_prefix("whatsapp:").unwrap_or(address);
    match number.strip_prefix("+55") {
        Some(rest) if rest.len() == 11 && rest.as_bytes().get(2) == Some(&b'9') => {
            let (area, subscriber) = rest.split_at(2);
            format!("+55{area}{}", subscriber.get(1..).unwrap_or_default())
        }
        _ => number.to_owned(),
    }
}

/// Whether an address carries the ninth digit of a Brazilian mobile.
pub(crate) fn has_ninth_digit(address: &str) -> bool {
    let number = address.strip_prefix("whatsapp:").unwrap_or(address);
    number
        .strip_prefix("+55")
        .is_some_and(|rest| rest.len() == 11)
}
