//! What goes into the store: messages, outcomes, reports and inbound messages that depend on
//! nothing but their number and a seed.

use std::sync::Mutex;
use std::time::Duration;

use delivery::address::Address;
use delivery::event::Source;
use delivery::message::{
    BusinessKey, BusinessScope, Content, Kind, Message, Policy, Priority, SenderName,
};
use delivery::message::{DedupeChoice, WindowChoice};
use delivery::outcome::{NotSentCause, Outcome, ProviderStatus, RetryAfter, UnknownCause};
use delivery::sid::Sid;
use delivery::time::Timestamp;
use recado::effects::Random;
use recado::store::{
    AttemptId, Idempotency, NewInbound, NewMessage, Report, Stamp, new_message_id,
};

use super::super::setup::{self, number, random_sid};
use super::BATCH;

/// Our two senders.
pub(super) const SENDERS: [&str; 2] = ["+551140000000", "+551140000001"];
/// When everything begins.
pub(super) const START: Timestamp = Timestamp::from_seconds(1_767_225_600);

/// The same bits for the same seed (`SplitMix64`).
pub(super) struct Seeded(Mutex<u64>);

impl Seeded {
    pub(super) fn new(seed: u64) -> Self {
        Self(Mutex::new(seed))
    }

    fn next(&self) -> u64 {
        let mut state = self.0.lock().unwrap();
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl Random for Seeded {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let word = self.next().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }

    fn fill_key(&self, key: &mut [u8]) {
        self.fill(key);
    }
}

/// Makes what goes into the store, at a time that only moves when it is told to.
pub(super) struct Inputs {
    pub(super) now: Timestamp,
    random: Seeded,
}

impl Inputs {
    pub(super) fn new() -> Self {
        Self {
            now: START,
            random: Seeded::new(2),
        }
    }

    pub(super) fn pass(&mut self, duration: Duration) {
        self.now = self.now.plus(duration);
    }

    pub(super) fn bits(&self) -> u64 {
        self.random.next()
    }

    /// The `n`th message; some of the `people` receive two.
    pub(super) fn message(&self, n: usize, people: usize) -> NewMessage {
        let due_later = n % 25 == 1;
        let deadline = if n % 200 == 7 { 2 } else { 12 * 3_600 };
        NewMessage {
            id: new_message_id(self.now, &self.random),
            message: Message {
                to: address(n % people),
                content: content(n),
                kind: *pick(Kind::ALL, n),
                priority: *pick(Priority::ALL, n / 2),
                policy: *pick(Policy::ALL, n / 3),
                window: WindowChoice::AssumeOpen,
                send_at: due_later.then(|| self.now.plus(Duration::from_secs(60))),
                expires_at: (n.is_multiple_of(7) || n % 200 == 7)
                    .then(|| self.now.plus(Duration::from_secs(deadline))),
                // Pairs: the second version takes the place of the first.
                business_key: n.is_multiple_of(5).then(|| BusinessKey {
                    scope: BusinessScope::Account,
                    // Every second batch replaces what the one before said: one request never says
                    // two things about one subject.
                    ..BusinessKey::parse(&format!(
                        "interview:{}.{}:v{}",
                        n / BATCH / 2,
                        n % BATCH,
                        n / BATCH % 2 + 1
                    ))
                }),
                metadata: n
                    .is_multiple_of(3)
                    .then(|| format!("{{\"order\":\"{n}\",\"unit\":\"north\"}}")),
                dedupe: DedupeChoice::Refuse,
                ..setup::message(n)
            },
            idempotency: n.is_multiple_of(4).then(|| Idempotency {
                key: hash(n, 1),
                body: hash(n, 2),
            }),
            now: self.now,
            dedupe_window: Duration::from_secs(600),
        }
    }

    /// The `n`th message once more; of those with a key, some with another body.
    pub(super) fn repeated(&self, n: usize, people: usize) -> NewMessage {
        let mut new = self.message(n, people);
        if let Some(idempotency) = new.idempotency.as_mut().filter(|_| n.is_multiple_of(8)) {
            idempotency.body = hash(n, 3);
        }
        new
    }

    /// What the `n`th attempt tells: mostly that it was sent.
    pub(super) fn outcome(&self, n: usize) -> Outcome {
        let refused = |code| Outcome::Refused {
            http_status: 400,
            code: Some(code),
        };
        match n % 40 {
            0 => Outcome::NotSent {
                cause: NotSentCause::Connect,
                retry_after: None,
            },
            1 => Outcome::NotSent {
                cause: NotSentCause::RateLimited,
                retry_after: Some(RetryAfter::Delay(Duration::from_secs(2))),
            },
            2 => refused(20_409),
            3 => refused(14_107),
            4 => refused(63_003),
            5 if n % 80 == 5 => refused(21_610),
            6 => Outcome::Unknown(UnknownCause::Timeout),
            7 => Outcome::Unknown(UnknownCause::ServerError(503)),
            _ => Outcome::Sent {
                sid: random_sid(&self.random),
                status: ProviderStatus::Queued,
            },
        }
    }

    /// A callback with this status; with the attempt it also carries the correlation id.
    pub(super) fn report(
        &self,
        attempt: Option<AttemptId>,
        sid: Sid,
        status: ProviderStatus,
    ) -> Report {
        Report {
            attempt,
            sid: Some(sid),
            status,
            word: None,
            code: None,
            names: Vec::new(),
            source: Source::Callback,
            stamp: Stamp {
                now: self.now,
                random: self.bits(),
            },
        }
    }

    /// The `n`th report of the first, second or third round about one sent message: sent,
    /// delivered, read, of which some fail; after these the same again.
    pub(super) fn report_of_round(
        &self,
        n: usize,
        round: usize,
        (attempt, sid): (AttemptId, Sid),
    ) -> Report {
        let statuses = [
            ProviderStatus::Sent,
            ProviderStatus::Delivered,
            ProviderStatus::Read,
        ];
        let by_sid_alone = n % 10 == 2;
        let status = *pick(&statuses, round);
        let mut report = self.report((!by_sid_alone).then_some(attempt), sid, status);
        let code = match n % 50 {
            11 => Some(63_024),
            12 => Some(63_018),
            13 => Some(63_013),
            _ => None,
        };
        if round > 0 && code.is_some() {
            report.status = ProviderStatus::Undelivered;
            report.code = code;
        }
        if n % 100 == 21 && round == 0 {
            report.status = ProviderStatus::Other;
            report.word = Some("held_back".into());
        }
        report
    }

    /// The `n`th inbound message: of ten, one opts out, one asks for it ambiguously and answers,
    /// one comes twice, one is an answer to a message of ours.
    pub(super) fn inbound(&self, n: usize, reply_to: Sid) -> NewInbound {
        let answers = matches!(n % 10, 2 | 3);
        let person = if answers { n - n % 10 + 1 } else { n } * 3;
        let body = match n % 10 {
            0 => "SAIR".to_owned(),
            1 => "CANCELAR".to_owned(),
            2 | 3 => "CONTINUAR".to_owned(),
            _ => format!("Confirmo presença, pedido {n}"),
        };
        let serial = if n % 10 == 3 { n - 1 } else { n };
        let old_form = format!("+5585{:08}", 70_000_000 + person);
        NewInbound {
            sid: Sid::parse_message(&format!("SM{serial:032x}")).unwrap(),
            from: address(person),
            also: Vec::new(),
            sent_form: n.is_multiple_of(4).then_some(old_form),
            to: Some(SenderName::new(*pick(&SENDERS, n))),
            message_type: "text".into(),
            payload: format!("{{\"body\":\"{body}\",\"profile\":\"Pessoa {person}\"}}"),
            media: 0,
            reply_to: (n % 10 == 4).then_some(reply_to),
            body,
            button_payload: None,
            provider_keyword: (n % 20 == 5).then_some(delivery::consent::ProviderKeyword::Stop),
            question_id: new_message_id(self.now, &self.random),
            written_at: None,
            listed: false,
            now: self.now,
        }
    }
}

/// The `n`th person.
pub(super) fn address(n: usize) -> Address {
    Address::from_canonical(&number(n)).unwrap()
}

fn content(n: usize) -> Content {
    match n % 10 {
        0..=2 => Content::Text {
            body: format!("Olá, Pessoa {n}! Seu pedido {n} saiu para entrega às 14:00."),
            persistent_action: None,
        },
        3 => Content::Media {
            url: format!("https://example.com/boleto-{n}.pdf"),
            caption: Some("Segue o boleto".into()),
        },
        _ => setup::message(n).content,
    }
}

fn pick<T>(all: &[T], n: usize) -> &T {
    &all[n % all.len()]
}

/// Stands for a hash of the `n`th request.
fn hash(n: usize, of: u64) -> [u8; 16] {
    let seeded = Seeded::new((n as u64) << 8 | of);
    let mut out = [0; 16];
    seeded.fill(&mut out);
    out
}
