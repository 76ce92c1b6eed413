//! Two thousand operations in random order from a seed: the counters agree with a recount all the
//! way, nobody who opted out is written to, nothing is sent twice by machine against its policy,
//! and at the end everything comes to rest.

mod history;

use std::time::Duration;

use delivery::address::Address;
use delivery::consent::Consent;
use delivery::event::Source;
use delivery::message::{
    BusinessKey, BusinessScope, Content, DedupeChoice, Kind, Message, Policy, Priority, SenderName,
    WindowChoice,
};
use delivery::outcome::{NotSentCause, Outcome, ProviderStatus, RetryAfter, UnknownCause};
use delivery::progress::WatchKind;
use delivery::row::MessageRow;
use delivery::sid::Sid;
use delivery::state::State;
use recado::store::{
    AcceptResult, AttemptId, CloseRequest, DueQuery, Finding, Idempotency, MessageCommand,
    MessageId, NewInbound, NewMessage, NextWatch, OpenRequest, OpenResult, Report, Settlement,
    Stamp, WatchQuery,
};

use super::engine::Engine;
use super::fixture::*;
use super::samples::*;
use crate::rng::Rng;

const OPERATIONS: usize = 2_000;
const PEOPLE: u32 = 60;

struct Soak {
    fixture: StoreFixture,
    rng: Rng,
    messages: Vec<MessageId>,
    open: Vec<AttemptId>,
    attempts: Vec<(AttemptId, Sid)>,
    opened: usize,
}

pub(crate) async fn run(engine: impl Engine + 'static, seed: u64) {
    let mut soak = Soak {
        fixture: StoreFixture::seeded(engine, seed).await,
        rng: Rng::new(seed.wrapping_mul(77)),
        messages: Vec::new(),
        open: Vec::new(),
        attempts: Vec::new(),
        opened: 0,
    };
    let mut done = 0;
    while done < OPERATIONS {
        done += soak.operation().await;
        if soak.rng.below(100) == 0 {
            soak.check().await;
        }
    }
    soak.check().await;
    soak.calm().await;
    soak.check().await;
    assert!(
        soak.messages.len() > 200,
        "{} messages",
        soak.messages.len()
    );
    assert!(soak.opened > 150, "{} attempts", soak.opened);
}

impl Soak {
    /// One call of a verb with a batch. Returns how many operations that was.
    async fn operation(&mut self) -> usize {
        match self.rng.below(100) {
            0..18 => self.accept().await,
            18..38 => self.dispatch().await,
            38..54 => self.close().await,
            54..74 => self.report().await,
            74..80 => self.inbound().await,
            80..84 => self.decide().await,
            84..91 => self.settle().await,
            91..93 => self.maintain().await,
            93..95 => self.consent().await,
            95..97 => self.pause().await,
            97..99 => self.pass(),
            _ => self.restart().await,
        }
    }

    fn pick<T: Clone>(&self, from: &[T]) -> T {
        from[self.rng.below(from.len())].clone()
    }

    fn chance(&self, one_in: usize) -> bool {
        self.rng.below(one_in) == 0
    }

    fn somebody(&self) -> u32 {
        u32::try_from(self.rng.below(PEOPLE as usize)).unwrap()
    }

    fn some_time(&self) -> Duration {
        self.pick(&[SECOND_LONG, MINUTE, 10 * MINUTE, HOUR, 8 * HOUR])
    }

    fn message(&self) -> Message {
        let who = self.somebody();
        let words = format!("{}", self.rng.below(40));
        let spelling = if self.chance(3) {
            old_number(who)
        } else {
            number(who)
        };
        let template = template_sid(self.rng.below(3) as u64);
        let content = if self.chance(3) {
            Content::Text {
                body: words.clone(),
                persistent_action: None,
            }
        } else {
            Content::Template {
                content_sid: template,
                variables: vec![("1".into(), words.clone())],
            }
        };
        let sender = self.pick(&[None, Some(FIRST), Some(SECOND)]);
        let now = self.fixture.now;
        Message {
            to: address(&spelling),
            sender: sender.map(SenderName::new),
            content,
            kind: self.pick(Kind::ALL),
            priority: self.pick(Priority::ALL),
            policy: self.pick(Policy::ALL),
            window: self.pick(WindowChoice::ALL),
            send_at: self.chance(4).then(|| now.plus(self.some_time())),
            expires_at: self.chance(4).then(|| now.plus(self.some_time())),
            business_key: self.chance(6).then(|| {
                let key = format!("key{}:v{}", self.rng.below(5), self.rng.below(50));
                BusinessKey {
                    scope: self.pick(BusinessScope::ALL),
                    ..BusinessKey::parse(&key)
                }
            }),
            metadata: None,
            dedupe: self.pick(DedupeChoice::ALL),
        }
    }

    async fn accept(&mut self) -> usize {
        let size = 1 + self.rng.below(8);
        let mut batch = Vec::new();
        for _ in 0..size {
            let message = self.message();
            let idempotency = self.chance(4).then(|| Idempotency {
                key: [u8::try_from(self.rng.below(40)).unwrap(); 16],
                body: [u8::try_from(self.rng.below(2)).unwrap(); 16],
            });
            let new = self.fixture.new_message(message);
            batch.push(NewMessage { idempotency, ..new });
        }
        let results = self.fixture.store().accept(batch).await.unwrap();
        for result in results {
            if let AcceptResult::Accepted { id, .. } = result {
                self.messages.push(id);
            }
        }
        size
    }

    async fn dispatch(&mut self) -> usize {
        let name = self.pick(&[FIRST, SECOND]);
        let query = DueQuery {
            sender: self.fixture.sender(name).await,
            now: self.fixture.now,
            limit: 1 + self.rng.below(12),
            urgent_only: false,
        };
        let page = self.fixture.store().due(query).await.unwrap();
        let now = self.fixture.now;
        if self.chance(8) {
            let later = page.due.iter().map(|due| (due.message, now.plus(MINUTE)));
            self.fixture.store().defer(later.collect()).await.unwrap();
            return 1;
        }
        let requests: Vec<OpenRequest> = page
            .due
            .iter()
            .map(|due| OpenRequest {
                message: due.message,
                stamp: Stamp {
                    now,
                    random: self.rng.next(),
                },
            })
            .collect();
        let results = self.fixture.store().open_attempts(requests).await.unwrap();
        let size = results.len().max(1);
        for result in results {
            if let OpenResult::Open(attempt) = result {
                assert!(!page.paused, "a paused sender opened an attempt");
                assert!(attempt.expires_at.is_none_or(|expires| expires > now));
                self.check_opened(attempt.id).await;
                self.opened += 1;
                self.open.push(attempt.attempt);
                let sid = self.fixture.sid();
                self.attempts.push((attempt.attempt, sid));
            }
        }
        size
    }

    async fn check_opened(&self, id: MessageId) {
        let summary = self.fixture.view(id).await.summary;
        let consent = self.fixture.store().consent(summary.to.unwrap()).await;
        assert_ne!(consent.unwrap().unwrap().consent, Consent::OptedOut);
        assert!(
            summary.send_at.is_none_or(|at| at <= self.fixture.now),
            "before its time"
        );
    }

    fn outcome(&self, sid: Sid) -> Outcome {
        let codes = [0, 21_211, 63_024, 63_007, 21_611, 21_606, 20_409, 21_610];
        match self.rng.below(10) {
            0..5 => Outcome::Sent {
                sid,
                status: self.pick(&[
                    ProviderStatus::Queued,
                    ProviderStatus::Accepted,
                    ProviderStatus::Sent,
                    ProviderStatus::Delivered,
                    ProviderStatus::Failed,
                ]),
            },
            5..7 => Outcome::NotSent {
                cause: self.pick(&[NotSentCause::Dns, NotSentCause::RateLimited]),
                retry_after: self.chance(2).then_some(RetryAfter::Delay(MINUTE)),
            },
            7..9 => Outcome::Unknown(self.pick(&[
                UnknownCause::Timeout,
                UnknownCause::ServerError(500),
                UnknownCause::Garbage(200),
            ])),
            _ => Outcome::Refused {
                http_status: 400,
                code: Some(self.pick(&codes)).filter(|code| *code > 0),
            },
        }
    }

    async fn close(&mut self) -> usize {
        let size = (1 + self.rng.below(6)).min(self.open.len());
        let mut batch = Vec::new();
        for _ in 0..size {
            let attempt = self.open.swap_remove(self.rng.below(self.open.len()));
            let sid = self.sid_of(attempt);
            batch.push(CloseRequest {
                attempt: attempt.row,
                outcome: self.outcome(sid),
                stamp: Stamp {
                    now: self.fixture.now,
                    random: self.rng.next(),
                },
            });
        }
        self.fixture.store().close_attempts(batch).await.unwrap();
        size.max(1)
    }

    fn sid_of(&self, attempt: AttemptId) -> Sid {
        let known = self.attempts.iter().find(|(known, _)| *known == attempt);
        known.expect("every attempt has a SID").1
    }

    async fn report(&mut self) -> usize {
        if self.attempts.is_empty() {
            return 1;
        }
        let size = 1 + self.rng.below(8);
        let mut batch = Vec::new();
        for _ in 0..size {
            let recent = self.attempts.len().saturating_sub(30);
            let place = recent + self.rng.below(self.attempts.len() - recent);
            let (attempt, sid) = self.attempts[place];
            let status = self.pick(ProviderStatus::ALL);
            let failed = matches!(status, ProviderStatus::Failed | ProviderStatus::Undelivered);
            let codes = [
                63_016, 63_018, 63_029, 63_029, 63_024, 63_003, 30_008, 63_049, 63_042, 21_610,
                99_999,
            ];
            let code = (failed && !self.chance(5)).then(|| self.pick(&codes));
            batch.push(Report {
                attempt: (!self.chance(3)).then_some(attempt),
                sid: (!self.chance(10)).then_some(sid),
                status,
                word: None,
                code,
                names: Vec::new(),
                source: Source::Callback,
                stamp: Stamp {
                    now: self.fixture.now,
                    random: self.rng.next(),
                },
            });
        }
        self.fixture.store().report(batch).await.unwrap();
        size
    }

    async fn inbound(&mut self) -> usize {
        let words = [
            "oi",
            "SAIR",
            "cancelar",
            "continuar",
            "VOLTAR",
            "sim",
            "START",
            "continuar",
        ];
        let who = self.somebody();
        let form = if self.chance(2) {
            old_number(who)
        } else {
            number(who)
        };
        let mut inbound = self.fixture.inbound_from(
            &format!("whatsapp:{form}"),
            self.pick(&[FIRST, SECOND]),
            self.pick(&words),
        );
        if self.chance(5) {
            let id = format!("BR.{:016}", 1_000_000 + who);
            inbound.also = vec![Address::from_canonical(&id).unwrap()];
        }
        let twice = NewInbound {
            sid: inbound.sid,
            ..self.fixture.inbound_from(&form, FIRST, "oi")
        };
        let mut batch = vec![inbound];
        if self.chance(4) {
            batch.push(twice);
        }
        self.fixture.store().inbound(batch).await.unwrap();
        1
    }

    async fn decide(&mut self) -> usize {
        if self.messages.is_empty() {
            return 1;
        }
        let batch = vec![(
            self.pick(&self.messages),
            self.pick(&[
                MessageCommand::Cancel,
                MessageCommand::Cancel,
                MessageCommand::Retry,
            ]),
        )];
        let now = self.fixture.now;
        self.fixture.store().command(batch, now).await.unwrap();
        1
    }

    async fn settle(&mut self) -> usize {
        let query = WatchQuery {
            now: self.fixture.now,
            kind: self.pick(&[WatchKind::Unknown, WatchKind::Silent]),
            limit: 1 + self.rng.below(10),
        };
        let due = self.fixture.store().due_watches(query).await.unwrap();
        let now = self.fixture.now;
        let mut batch = Vec::new();
        for watch in &due {
            let known = self.attempts.iter().find(|(a, _)| a.row == watch.attempt);
            let sid = known.expect("watched attempts were opened").1;
            let (status, code) = self.pick(&[
                (ProviderStatus::Queued, None),
                (ProviderStatus::Sent, None),
                (ProviderStatus::Delivered, None),
                (ProviderStatus::Failed, Some(63_029)),
                (ProviderStatus::Undelivered, Some(63_024)),
            ]);
            let found = Finding::Found { sid, status, code };
            let finding = self.pick(&[
                found,
                found,
                Finding::Nothing,
                Finding::HorizonPassed(None),
                Finding::Absent(delivery::absence::Proof::default()),
            ]);
            let next = self.chance(2).then(|| NextWatch {
                at: now.plus(self.some_time()),
                kind: self.pick(&[WatchKind::Unknown, WatchKind::Silent]),
                polls: watch.polls + 1,
            });
            batch.push(Settlement {
                watch: (watch.at, watch.attempt),
                finding,
                next,
                postponed: None,
                stamp: Stamp {
                    now,
                    random: self.rng.next(),
                },
            });
        }
        self.fixture.store().settle(batch).await.unwrap();
        due.len().max(1)
    }

    async fn maintain(&mut self) -> usize {
        self.fixture
            .store()
            .maintain(self.fixture.now)
            .await
            .unwrap();
        1
    }

    async fn consent(&mut self) -> usize {
        let (who, out, now) = (self.somebody(), self.chance(4), self.fixture.now);
        let done = self
            .fixture
            .store()
            .set_consent(person(who), out, now)
            .await;
        done.unwrap();
        1
    }

    async fn pause(&mut self) -> usize {
        let name = self.pick(&[FIRST, SECOND]);
        self.fixture.pause(name, self.chance(6)).await;
        self.fixture.lift_all().await;
        1
    }

    fn pass(&mut self) -> usize {
        let by = self.some_time();
        self.fixture.pass(by);
        1
    }

    /// The server ends without a word; what it had open is unknown then.
    async fn restart(&mut self) -> usize {
        if self.chance(2) {
            let left = self.fixture.reopen().await;
            assert_eq!(left, self.open.len());
            self.open.clear();
        }
        1
    }

    /// Nothing new comes, everything that is under way ends.
    async fn calm(&mut self) {
        for _ in 0..200 {
            for name in [FIRST, SECOND] {
                self.fixture.pause(name, false).await;
            }
            self.fixture.lift_all().await;
            self.dispatch().await;
            let closing = std::mem::take(&mut self.open);
            let now = self.fixture.now;
            let closes = closing.into_iter().map(|attempt| CloseRequest {
                attempt: attempt.row,
                outcome: accepted_by_provider(self.sid_of(attempt)),
                stamp: Stamp { now, random: 0 },
            });
            let closes: Vec<_> = closes.collect();
            self.fixture.store().close_attempts(closes).await.unwrap();
            for watch in self.fixture.watches().await {
                self.fixture
                    .settle(&watch, Finding::HorizonPassed(None), None)
                    .await;
            }
            self.maintain().await;
            self.fixture.pass(2 * HOUR);
            if self.fixture.waiting().await.is_empty() && self.fixture.watches().await.is_empty() {
                break;
            }
        }
        assert_eq!(self.fixture.waiting().await, Vec::<MessageRow>::new());
        for id in &self.messages {
            let state = self.fixture.state(*id).await;
            let moves = matches!(state, State::Accepted | State::Scheduled | State::Sending);
            assert!(!moves, "{state:?} is no rest");
        }
    }

    async fn check(&self) {
        self.fixture.clean().await;
        for id in &self.messages {
            history::check(&self.fixture.view(*id).await);
        }
    }
}
