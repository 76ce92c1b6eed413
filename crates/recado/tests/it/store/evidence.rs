//! Whose a SID is: how it was learned decides, what was concluded wrongly is taken back, and what is
//! proven absent is sent again.

use delivery::absence::Proof;
use delivery::counter::Metric;
use delivery::message::{Message, Policy};
use delivery::outcome::{OutcomeKind, ProviderStatus};
use delivery::progress::WatchKind;
use delivery::sid::Sid;
use delivery::state::State;
use recado::store::{
    DueWatch, Evidence, Finding, MessageId, NextWatch, ReportResult, Settlement, Stamp, WatchQuery,
};

use super::fixture::*;
use super::samples::*;

impl StoreFixture {
    pub(crate) async fn watches(&self) -> Vec<DueWatch> {
        let mut watches = Vec::new();
        for kind in [WatchKind::Unknown, WatchKind::Silent] {
            let query = WatchQuery {
                now: self.now,
                kind,
                limit: 1_000,
            };
            watches.extend(self.store().due_watches(query).await.unwrap());
        }
        watches.sort_by_key(|watch| (watch.at, watch.attempt));
        watches
    }

    pub(crate) async fn settle(&self, watch: &DueWatch, finding: Finding, next: Option<NextWatch>) {
        let settlement = Settlement {
            watch: (watch.at, watch.attempt),
            finding,
            next,
            postponed: Some(self.look_again(watch)),
            stamp: Stamp {
                now: self.now,
                random: u64::MAX,
            },
        };
        self.store().settle(vec![settlement]).await.unwrap();
    }

    /// What an unknown attempt that is watched must look like at the provider.
    pub(crate) async fn evidence(&self, watch: &DueWatch) -> Evidence {
        let unknown = self.store().unknown_attempts(watch.person).await.unwrap();
        let mut of = unknown
            .into_iter()
            .filter(|view| view.attempt == watch.attempt);
        of.next().unwrap().evidence.unwrap()
    }

    /// The SID, when an attempt has it.
    pub(crate) async fn known_sids(&self, sid: Sid) -> Vec<Sid> {
        let holders = self.store().holders(vec![sid]).await.unwrap();
        holders.into_iter().map(|holder| holder.sid).collect()
    }

    /// A look a minute later.
    pub(crate) fn look_again(&self, watch: &DueWatch) -> NextWatch {
        NextWatch {
            at: self.now.plus(MINUTE),
            kind: watch.kind,
            polls: watch.polls,
        }
    }
}

fn found(sid: Sid, status: ProviderStatus) -> Finding {
    Finding::Found {
        sid,
        status,
        code: None,
    }
}

fn same_person(text: &str) -> Message {
    Message {
        dedupe: delivery::message::DedupeChoice::Allow,
        policy: Policy::Once,
        ..notice(1, text)
    }
}

async fn watch_of(fixture: &StoreFixture, attempt: delivery::row::AttemptRow) -> DueWatch {
    let watches = fixture.watches().await;
    let mut of = watches.into_iter().filter(|watch| watch.attempt == attempt);
    of.next().unwrap()
}

async fn told(fixture: &StoreFixture, id: MessageId) -> Vec<String> {
    let history = fixture.view(id).await.history;
    history
        .iter()
        .map(|entry| entry.kind.as_str().to_owned())
        .collect()
}

/// The message was listed before the answer of a twin named it: settling reads again whose it is.
pub(crate) async fn a_stale_finding_takes_nobodys_sid(fixture: &mut StoreFixture) {
    let lost = fixture.accept(same_person("a")).await;
    let never_created = fixture.lose(lost).await;
    fixture.pass(5 * SECOND_LONG);
    let watch = watch_of(fixture, never_created.row).await;
    let taken = fixture.accept(same_person("a")).await;
    let sent = fixture.send(taken).await;
    let finding = found(sent.sid, ProviderStatus::Delivered);
    fixture.settle(&watch, finding, None).await;
    assert_eq!(fixture.state(lost).await, State::Unknown);
    assert_eq!(fixture.view(lost).await.attempts[0].sid, None);
    assert_eq!(fixture.state(taken).await, State::Queued);
    // It is looked for again.
    fixture.pass(MINUTE);
    assert!(watch_of(fixture, never_created.row).await.is_unknown);
}

/// A request to the person is under way: the listed message may be its.
pub(crate) async fn nothing_is_settled_while_a_request_to_the_person_is_open(
    fixture: &mut StoreFixture,
) {
    let lost = fixture.accept(same_person("a")).await;
    let never_created = fixture.lose(lost).await;
    fixture.pass(5 * SECOND_LONG);
    let watch = watch_of(fixture, never_created.row).await;
    let other = fixture.accept(same_person("a")).await;
    let open = fixture.open(other).await.attempt;
    let sid = fixture.sid();
    for finding in [
        found(sid, ProviderStatus::Sent),
        Finding::Absent(Proof::default()),
    ] {
        fixture.settle(&watch, finding, None).await;
        assert_eq!(fixture.state(lost).await, State::Unknown);
    }
    fixture.close(open, accepted_by_provider(sid)).await;
    assert_eq!(fixture.view(other).await.attempts[0].sid, Some(sid));
}

/// The list gave the message to the wrong one; the callback of the right one takes it back.
pub(crate) async fn a_signed_callback_beats_the_list(fixture: &mut StoreFixture) {
    for (n, status) in [
        ProviderStatus::Sent,
        ProviderStatus::Delivered,
        ProviderStatus::Read,
        ProviderStatus::Undelivered,
    ]
    .into_iter()
    .enumerate()
    {
        let text = format!("a{n}");
        let first = fixture.accept(same_person(&text)).await;
        let wrong = fixture.lose(first).await;
        let second = fixture.accept(same_person(&text)).await;
        let right = fixture.lose(second).await;
        fixture.pass(5 * SECOND_LONG);
        let sid = fixture.sid();
        let watch = watch_of(fixture, wrong.row).await;
        fixture.settle(&watch, found(sid, status), None).await;
        assert_ne!(fixture.state(first).await, State::Unknown);
        let callback = Sent {
            attempt: right,
            sid,
        };
        let report = fixture.report(callback, ProviderStatus::Sent).await;
        assert_eq!(report, ReportResult::Recorded);
        assert_eq!(fixture.state(second).await, State::Sent);
        let view = fixture.view(first).await;
        assert_eq!(view.summary.state, State::Unknown);
        assert_eq!(view.attempts[0].outcome, Some(OutcomeKind::Unknown));
        assert_eq!((view.attempts[0].sid, view.attempts[0].code), (None, None));
        let times = (view.summary.sent_at, view.summary.delivered_at);
        assert_eq!(times, (None, None));
        assert_eq!(view.summary.error, None);
        assert!(
            told(fixture, first)
                .await
                .contains(&"evidence_withdrawn".to_owned())
        );
        // It is looked for again, and what was reported about the other is news about this one.
        fixture.pass(5 * SECOND_LONG);
        let watch = watch_of(fixture, wrong.row).await;
        assert!(watch.is_unknown);
        let own = fixture.sid();
        fixture.settle(&watch, found(own, status), None).await;
        assert_eq!(fixture.view(first).await.attempts[0].sid, Some(own));
        assert_ne!(fixture.state(first).await, State::Unknown);
    }
}

/// The same by the answer to a request that was still open when the list was read.
pub(crate) async fn an_answer_beats_the_list(fixture: &mut StoreFixture) {
    let first = fixture.accept(same_person("a")).await;
    let wrong = fixture.lose(first).await;
    fixture.pass(5 * SECOND_LONG);
    let watch = watch_of(fixture, wrong.row).await;
    let sid = fixture.sid();
    fixture
        .settle(&watch, found(sid, ProviderStatus::Read), None)
        .await;
    assert_eq!(fixture.counter(Metric::Read, 0).await, 1);
    let second = fixture.accept(same_person("a")).await;
    let open = fixture.open(second).await.attempt;
    fixture.close(open, accepted_by_provider(sid)).await;
    assert_eq!(fixture.view(second).await.attempts[0].sid, Some(sid));
    assert_eq!(fixture.state(first).await, State::Unknown);
    assert_eq!(fixture.counter(Metric::Read, 0).await, 0);
}

/// A failure that was another's had led to a retry: it must not leave.
pub(crate) async fn a_retry_that_a_wrong_message_led_to_is_stopped(fixture: &mut StoreFixture) {
    let first = fixture.accept(same_person("a")).await;
    let wrong = fixture.lose(first).await;
    let second = fixture.accept(same_person("a")).await;
    let right = fixture.lose(second).await;
    fixture.pass(5 * SECOND_LONG);
    let sid = fixture.sid();
    let watch = watch_of(fixture, wrong.row).await;
    let failed = Finding::Found {
        sid,
        status: ProviderStatus::Failed,
        code: Some(63_018),
    };
    fixture.settle(&watch, failed, None).await;
    assert_eq!(fixture.state(first).await, State::Scheduled);
    let callback = Sent {
        attempt: right,
        sid,
    };
    fixture.report(callback, ProviderStatus::Sent).await;
    assert_eq!(fixture.state(first).await, State::Unknown);
    fixture.pass(HOUR);
    assert!(fixture.waiting().await.is_empty());
}

/// The same after the retry has left: what the first attempt created may have arrived as well.
pub(crate) async fn a_retry_that_a_wrong_message_led_to_is_marked(fixture: &mut StoreFixture) {
    let first = fixture.accept(same_person("a")).await;
    let wrong = fixture.lose(first).await;
    let second = fixture.accept(same_person("a")).await;
    let right = fixture.lose(second).await;
    fixture.pass(5 * SECOND_LONG);
    let sid = fixture.sid();
    let watch = watch_of(fixture, wrong.row).await;
    let failed = Finding::Found {
        sid,
        status: ProviderStatus::Failed,
        code: Some(63_029),
    };
    fixture.settle(&watch, failed, None).await;
    fixture.pass(HOUR);
    fixture.send(first).await;
    assert!(!fixture.view(first).await.summary.possible_duplicate);
    let callback = Sent {
        attempt: right,
        sid,
    };
    fixture.report(callback, ProviderStatus::Sent).await;
    let view = fixture.view(first).await;
    assert!(view.summary.possible_duplicate);
    assert_eq!(view.summary.state, State::Queued, "the retry is under way");
    assert!(!fixture.view(second).await.summary.possible_duplicate);
}

/// A callback names another SID than the list seemed to show.
pub(crate) async fn a_callback_corrects_its_own_attempt(fixture: &mut StoreFixture) {
    let id = fixture.accept(same_person("a")).await;
    let attempt = fixture.lose(id).await;
    fixture.pass(5 * SECOND_LONG);
    let watch = watch_of(fixture, attempt.row).await;
    let (anothers, sid) = (fixture.sid(), fixture.sid());
    fixture
        .settle(&watch, found(anothers, ProviderStatus::Delivered), None)
        .await;
    fixture
        .report(Sent { attempt, sid }, ProviderStatus::Sent)
        .await;
    let view = fixture.view(id).await;
    assert_eq!(view.attempts[0].sid, Some(sid));
    assert_eq!(view.summary.state, State::Sent);
    assert_eq!(view.summary.delivered_at, None);
    assert!(fixture.known_sids(anothers).await.is_empty());
}

/// Proven absent: it is sent again, and nothing marks it as a possible duplicate.
pub(crate) async fn what_is_absent_is_sent_again(fixture: &mut StoreFixture) {
    for (n, policy, state) in [
        (1, Policy::Once, State::Scheduled),
        (2, Policy::AtLeastOnce, State::Scheduled),
        (3, Policy::AtMostOnce, State::Unknown),
        (4, Policy::Ask, State::Held),
    ] {
        let message = Message {
            policy,
            ..notice(n, "a")
        };
        let id = fixture.accept(message).await;
        let attempt = fixture.lose(id).await;
        let ended_at = fixture.now;
        fixture.pass(15 * MINUTE);
        let watch = watch_of(fixture, attempt.row).await;
        fixture
            .settle(&watch, Finding::Absent(Proof::default()), None)
            .await;
        let view = fixture.view(id).await;
        assert_eq!(view.summary.state, state, "{policy:?}");
        assert_eq!(view.attempts[0].outcome, Some(OutcomeKind::Absent));
        assert_eq!(view.attempts[0].finished_at, Some(ended_at));
        let told = view.history.iter();
        let details = told.filter_map(|entry| entry.detail.as_deref());
        let evidence = Proof::default().detail();
        assert!(details.into_iter().any(|detail| detail == evidence));
        if state == State::Scheduled {
            fixture.send(id).await;
            assert!(!fixture.view(id).await.summary.possible_duplicate);
            assert_eq!(fixture.state(id).await, State::Queued);
        }
    }
}

pub(crate) async fn what_is_absent_and_too_late_expires(fixture: &mut StoreFixture) {
    let message = Message {
        expires_at: Some(fixture.now.plus(10 * MINUTE)),
        ..same_person("a")
    };
    let id = fixture.accept(message).await;
    let attempt = fixture.lose(id).await;
    fixture.pass(15 * MINUTE);
    let watch = watch_of(fixture, attempt.row).await;
    fixture
        .settle(&watch, Finding::Absent(Proof::default()), None)
        .await;
    assert_eq!(fixture.state(id).await, State::Expired);
}

/// A callback after the proof: before the retry leaves it stops it, after that it is a double that is
/// shown as one; and for a day no absence is believed.
pub(crate) async fn evidence_after_the_proof_stops_the_retry(fixture: &mut StoreFixture) {
    for leaves in [false, true] {
        let id = fixture.accept(same_person(&format!("{leaves}"))).await;
        let attempt = fixture.lose(id).await;
        fixture.pass(15 * MINUTE);
        let watch = watch_of(fixture, attempt.row).await;
        fixture
            .settle(&watch, Finding::Absent(Proof::default()), None)
            .await;
        if leaves {
            fixture.send(id).await;
        }
        let sid = fixture.sid();
        fixture
            .report(Sent { attempt, sid }, ProviderStatus::Sent)
            .await;
        let view = fixture.view(id).await;
        assert_eq!(view.summary.possible_duplicate, leaves);
        assert_eq!(view.attempts[0].sid, Some(sid));
        assert!(fixture.waiting().await.is_empty());
        let noted = fixture.store().list_lag(fixture.now.minus(HOUR)).await;
        assert!(noted.unwrap().lag.is_some_and(|lag| lag > HOUR));
    }
}

/// Messages to one person hold each other's attempts, due or not; one that cannot be read is told.
pub(crate) async fn every_unknown_attempt_of_a_person_is_seen(fixture: &mut StoreFixture) {
    let mut attempts = Vec::new();
    for text in ["a", "b"] {
        let id = fixture.accept(same_person(text)).await;
        attempts.push(fixture.lose(id).await.row);
        fixture.pass(SECOND_LONG);
    }
    let other = fixture.accept(notice(2, "a")).await;
    fixture.lose(other).await;
    let sent = fixture.accept(same_person("c")).await;
    fixture.send(sent).await;
    fixture.pass(5 * SECOND_LONG);
    let watch = watch_of(fixture, attempts[0]).await;
    let mut seen: Vec<_> = fixture
        .store()
        .unknown_attempts(watch.person)
        .await
        .unwrap()
        .iter()
        .map(|view| {
            (
                view.attempt,
                view.is_unreadable,
                view.started_at < view.ended_at,
            )
        })
        .collect();
    seen.sort_unstable();
    assert_eq!(seen.len(), 2);
    assert_eq!((seen[0].0, seen[1].0), (attempts[0], attempts[1]));
    assert!(seen.iter().all(|(_, unreadable, _)| !unreadable));
}
