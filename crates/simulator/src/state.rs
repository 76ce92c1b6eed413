//! Everything the simulator knows: accepted messages, phones, what is scheduled, and the truth log.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

use crate::address::{person, same_address};
use crate::callback::Caller;
use crate::during::{During, real};
use crate::faults::{CreateFault, Faults, Script};
use crate::inbound_record::InboundRecord;
use crate::outages::Outage;
use crate::phone::{Phone, PhoneBehavior, User};
use crate::rng::{Rng, key};
use crate::rules::Watched;
use crate::settings::Settings;
use crate::truth::{TruthInbound, TruthMessage};

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

/// A message of the list, by its place among those of its direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    Outbound(usize),
    Inbound(usize),
}

/// Where a message stands in the list: by its creation, and then by the order in which they came.
pub(crate) type Place = (jiff::Timestamp, u64);

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
    /// The webhook is told of an inbound message.
    Inbound { message: usize },
}

pub(crate) struct Inner {
    pub(crate) records: Vec<Record>,
    pub(crate) inbound: Vec<InboundRecord>,
    pub(crate) by_sid: HashMap<String, Entry>,
    /// All messages, in the order of the list, oldest first.
    pub(crate) listed: BTreeMap<Place, Entry>,
    pub(crate) by_to: HashMap<String, BTreeMap<Place, Entry>>,
    pub(crate) users: Vec<User>,
    pub(crate) phones: HashMap<String, PhoneBehavior>,
    pub(crate) limited_before: HashSet<String>,
    pub(crate) last_inbound: HashMap<String, Instant>,
    pub(crate) templates: HashMap<String, String>,
    pub(crate) faults: Faults,
    pub(crate) scripts: VecDeque<Script>,
    pub(crate) outages: Vec<During<Outage>>,
    pub(crate) rules: Vec<During<Watched>>,
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
    /// Notified when connections may have to be refused, or taken again.
    pub(crate) connections_changed: Notify,
    /// How far Twilio's clock is ahead of ours, in milliseconds.
    clock_offset_ms: AtomicI64,
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
            connections_changed: Notify::new(),
            clock_offset_ms: AtomicI64::new(0),
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
        self.set_clock_offset(0);
        self.connections_changed.notify_one();
        self.changed.notify_waiters();
    }

    /// The time by Twilio's clock, which all dates that it shows are taken from. The truth log is
    /// kept by the real one.
    pub(crate) fn now(&self) -> jiff::Timestamp {
        let offset = SignedDuration::from_millis(self.clock_offset_ms.load(Ordering::SeqCst));
        let now = jiff::Timestamp::now();
        now.checked_add(offset).unwrap_or(now)
    }

    /// Sets how far Twilio's clock is ahead, in milliseconds.
    pub(crate) fn set_clock_offset(&self, millis: i64) {
        self.clock_offset_ms.store(millis, Ordering::SeqCst);
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

    /// The truth about inbound messages from this index on.
    pub(crate) fn truth_of_inbound(&self, from: usize, limit: usize) -> Vec<TruthInbound> {
        let inner = self.inner();
        let some = inner.inbound.iter().skip(from).take(limit);
        some.map(|record| record.truth.clone()).collect()
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
    /// order meet the same faults. That of an outage comes before all others.
    pub(crate) fn next_fault(&self, to: &str, outage: Option<CreateFault>) -> (u64, CreateFault) {
        let mut inner = self.inner();
        inner.creates += 1;
        let count = inner.creates_to.entry(to.to_owned()).or_default();
        let key = key(to).wrapping_add(*count);
        *count += 1;
        if let Some(fault) = outage {
            return (key, fault);
        }
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
            inbound: Vec::new(),
            by_sid: HashMap::new(),
            listed: BTreeMap::new(),
            by_to: HashMap::new(),
            users: Vec::new(),
            phones: HashMap::new(),
            limited_before: HashSet::new(),
            last_inbound: HashMap::new(),
            templates: HashMap::new(),
            faults: settings.faults.clone(),
            scripts: VecDeque::new(),
            outages: Vec::new(),
            rules: Vec::new(),
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

    /// Puts a message into the list, at the place of its creation.
    pub(crate) fn put_in_list(&mut self, to: &str, created: jiff::Timestamp, entry: Entry) {
        let place = (
            created,
            u64::try_from(self.listed.len()).unwrap_or(u64::MAX),
        );
        self.listed.insert(place, entry);
        let of_address = self.by_to.entry(to.to_owned()).or_default();
        of_address.insert(place, entry);
    }

    /// An outbound message by its SID.
    pub(crate) fn outbound(&self, sid: &str) -> Option<&Record> {
        match self.by_sid.get(sid)? {
            Entry::Outbound(index) => self.records.get(*index),
            Entry::Inbound(_) => None,
        }
    }

    /// The person behind an address, which may be a user id.
    pub(crate) fn person(&self, address: &str) -> String {
        let user = self.users.iter().find(|user| {
            [Some(&user.user_id), user.parent_user_id.as_ref()]
                .into_iter()
                .flatten()
                .any(|id| same_address(id, address))
        });
        person(user.map_or(address, |user| user.number.as_str()))
    }

    /// The user ids of the person behind an address.
    pub(crate) fn user(&self, address: &str) -> Option<&User> {
        let who = self.person(address);
        self.users.iter().find(|user| person(&user.number) == who)
    }

    /// A message, unless a reset has removed it since.
    pub(crate) fn record_of(&mut self, generation: u64, message: usize) -> Option<&mut Record> {
        let records = (self.generation == generation).then_some(&mut self.records)?;
        records.get_mut(message)
    }

    /// How often everything was forgotten.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// An inbound message, unless a reset has removed it since.
    pub(crate) fn inbound_of(&self, generation: u64, message: usize) -> Option<&InboundRecord> {
        let inbound = (self.generation == generation).then_some(&self.inbound)?;
        inbound.get(message)
    }

    /// The same, to be changed.
    pub(crate) fn inbound_of_mut(
        &mut self,
        generation: u64,
        message: usize,
    ) -> Option<&mut InboundRecord> {
        let inbound = (self.generation == generation).then_some(&mut self.inbound)?;
        inbound.get_mut(message)
    }

    /// Cancels everything that is scheduled for this message.
    pub(crate) fn cancel_scheduled(&mut self, of: usize) {
        self.scheduled.retain(|_, scheduled| match scheduled {
            Scheduled::Status { message, .. }
            | Scheduled::Callback { message, .. }
            | Scheduled::Answer { message, .. } => *message != of,
            Scheduled::Inbound { .. } => true,
        });
    }

    pub(crate) fn set_phones(&mut self, phones: Vec<Phone>) {
        for phone in phones {
            self.phones.insert(person(&phone.number), phone.character);
        }
    }
}
