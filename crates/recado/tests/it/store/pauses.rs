//! Pauses: what it takes to stop others, and when a pause ends.

use delivery::outcome::ProviderStatus;
use delivery::progress::PauseSource;
use delivery::state::State;
use recado::store::SenderView;

use super::fixture::*;
use super::samples::*;

const FAILED: ProviderStatus = ProviderStatus::Failed;

impl StoreFixture {
    async fn sender_view(&self, name: &str) -> SenderView {
        let senders = self.store().senders().await.unwrap();
        let found = senders.into_iter().find(|sender| sender.name == name);
        found.expect("the sender is configured")
    }

    async fn is_paused(&self, name: &str) -> bool {
        self.sender_view(name).await.paused_at.is_some()
    }
}

/// A number that is not verified at a trial account, or that the sender cannot reach.
pub(crate) async fn one_recipient_stops_nobody(fixture: &mut StoreFixture) {
    for (n, code) in (1..).zip([21_608, 21_612, 21_408, 63_015]) {
        let id = fixture.accept(notice(n, "a")).await;
        fixture.attempt(id, refused(code)).await;
        let summary = fixture.view(id).await.summary;
        assert_eq!(summary.state, State::Failed, "{code}");
        assert_eq!(summary.error.unwrap().code, Some(code));
        for name in [FIRST, SECOND] {
            assert!(!fixture.due(name).await.paused, "{code}");
        }
    }
    let ids = fixture.accept_to(10..=60).await;
    for id in ids {
        fixture.send(id).await;
    }
    assert!(fixture.holds().await.is_empty());
}

pub(crate) async fn two_people_are_evidence_and_one_is_not(fixture: &mut StoreFixture) {
    for code in [21_606, 21_703] {
        let n = u32::try_from(fixture.serial()).unwrap() * 10;
        let alone = fixture.accept(notice(n, "a")).await;
        fixture.attempt(alone, refused(code)).await;
        assert_eq!(fixture.state(alone).await, State::Scheduled);
        assert_eq!(fixture.due_at(alone).await, Some(fixture.now.plus(MINUTE)));
        assert!(!fixture.is_paused(FIRST).await, "{code}");
        fixture.pass(MINUTE);
        fixture.attempt(alone, refused(code)).await;
        assert_eq!(fixture.state(alone).await, State::Failed, "{code}");
        assert!(!fixture.is_paused(FIRST).await);

        // Somebody else after the window is somebody alone again.
        fixture.pass(10 * MINUTE);
        let first = fixture.accept(notice(n + 1, "a")).await;
        fixture.attempt(first, refused(code)).await;
        assert!(!fixture.is_paused(FIRST).await);
        // The same person tells nothing more.
        let same_person = fixture.accept(notice(n + 1, "b")).await;
        fixture.attempt(same_person, refused(code)).await;
        assert!(!fixture.is_paused(FIRST).await);
        let second = fixture.accept(notice(n + 2, "a")).await;
        fixture.attempt(second, refused(code)).await;
        assert!(fixture.is_paused(FIRST).await, "{code}");
        assert!(!fixture.is_paused(SECOND).await);
        for id in [first, same_person, second] {
            assert_eq!(fixture.state(id).await, State::Scheduled);
        }
        fixture.pass(MINUTE);
        fixture.pause(FIRST, false).await;
        assert_eq!(fixture.due(FIRST).await.ramp_since, Some(fixture.now));
        for id in [first, same_person, second] {
            fixture.send(id).await;
        }
        fixture.pass(10 * MINUTE);
    }
}

pub(crate) async fn a_message_pauses_its_sender_once(fixture: &mut StoreFixture) {
    for (code, reported) in [(63_007, false), (20_003, false), (63_051, true)] {
        let n = u32::try_from(fixture.serial()).unwrap() * 10;
        let id = fixture.accept(notice(n, "a")).await;
        let other = fixture.accept(notice(n + 1, "a")).await;
        for attempt in 1..=2 {
            if reported {
                let sent = fixture.send(id).await;
                fixture.fail(sent, FAILED, code).await;
            } else {
                fixture.attempt(id, refused(code)).await;
            }
            assert_eq!(fixture.is_paused(FIRST).await, attempt == 1, "{code}");
            for name in [FIRST, SECOND] {
                fixture.pause(name, false).await;
            }
        }
        let summary = fixture.view(id).await.summary;
        assert_eq!(summary.state, State::Failed, "{code}");
        assert_eq!(summary.error.unwrap().code, Some(code));
        if reported {
            let sent = fixture.send(other).await;
            fixture.fail(sent, FAILED, code).await;
        } else {
            fixture.attempt(other, refused(code)).await;
        }
        assert!(fixture.is_paused(FIRST).await, "{code}: another one may");
        for name in [FIRST, SECOND] {
            fixture.pause(name, false).await;
        }
        fixture.send(other).await;
    }
}

pub(crate) async fn a_pause_by_a_report_outlives_the_server(fixture: &mut StoreFixture) {
    let ids = fixture.accept_to(1..=3).await;
    let sent = fixture.send(ids[0]).await;
    let under_way = fixture.send(ids[2]).await;
    fixture.attempt(ids[1], refused(63_007)).await;
    let source = fixture.sender_view(FIRST).await.pause_source;
    assert_eq!(source, Some(PauseSource::Answer));
    fixture.fail(sent, FAILED, 63_026).await;
    let view = fixture.sender_view(FIRST).await;
    assert_eq!(view.pause_source, Some(PauseSource::Report));
    assert_eq!(view.pause_reason.as_deref(), Some("63026"));
    fixture.reopen().await;
    assert!(fixture.due(FIRST).await.paused);
    fixture.pause(FIRST, false).await;
    assert_eq!(fixture.due(FIRST).await.ramp_since, Some(fixture.now));
    fixture.report(under_way, ProviderStatus::Delivered).await;
    fixture.send(ids[1]).await;
}
