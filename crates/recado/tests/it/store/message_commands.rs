//! Commands of callers and operators: cancel and retry.

use delivery::event::Source;
use delivery::message::{Message, Policy};
use delivery::outcome::ProviderStatus;
use delivery::row::MessageRow;
use delivery::state::State;
use recado::store::{
    AcceptResult, CommandCondition, CommandResult, MessageCommand, MessageFilter, MessageId,
};

use super::fixture::*;
use super::samples::*;

pub(crate) async fn canceling_is_idempotent_and_knows_when_it_is_too_late(
    fixture: &mut StoreFixture,
) {
    let waiting = fixture.accept(notice(1, "a")).await;
    let scheduled = Message {
        send_at: Some(fixture.now.plus(DAY)),
        ..notice(2, "a")
    };
    let scheduled = fixture.accept(scheduled).await;
    for id in [waiting, scheduled] {
        for result in [
            CommandResult::Done(State::Canceled),
            CommandResult::Already(State::Canceled),
        ] {
            assert_eq!(fixture.command(id, MessageCommand::Cancel).await, result);
        }
        assert_eq!(fixture.history(id).await, ["accepted", "canceled"]);
    }
    assert_eq!(fixture.waiting().await, Vec::<MessageRow>::new());
    let id = fixture.accept(notice(3, "a")).await;
    let attempt = fixture.open(id).await.attempt;
    let late = async |fixture: &StoreFixture, state| {
        let result = fixture.command(id, MessageCommand::Cancel).await;
        assert_eq!(result, CommandResult::TooLate(state));
        assert_eq!(fixture.state(id).await, state);
    };
    late(fixture, State::Sending).await;
    let sid = fixture.sid();
    fixture.close(attempt, accepted_by_provider(sid)).await;
    late(fixture, State::Queued).await;
    for (status, state) in [
        (ProviderStatus::Sent, State::Sent),
        (ProviderStatus::Delivered, State::Delivered),
        (ProviderStatus::Read, State::Read),
    ] {
        fixture.report(Sent { attempt, sid }, status).await;
        late(fixture, state).await;
    }
    let lost = fixture.accept(notice(4, "a")).await;
    fixture.lose(lost).await;
    assert_eq!(
        fixture.command(lost, MessageCommand::Cancel).await,
        CommandResult::TooLate(State::Unknown)
    );
    let nobody = MessageId(uuid::Uuid::from_u128(7));
    for command in [MessageCommand::Cancel, MessageCommand::Retry] {
        assert_eq!(
            fixture.command(nobody, command).await,
            CommandResult::NotFound
        );
    }
}

pub(crate) async fn a_retry_that_waits_can_be_canceled(fixture: &mut StoreFixture) {
    let id = fixture.accept(notice(1, "a")).await;
    fixture.attempt(id, no_connection()).await;
    assert_eq!(
        fixture.command(id, MessageCommand::Cancel).await,
        CommandResult::Done(State::Canceled)
    );
    fixture.pass(DAY);
    assert!(fixture.is_gone(id).await);
}

pub(crate) async fn a_failed_message_is_tried_again_on_request_once(fixture: &mut StoreFixture) {
    let id = fixture.accept(notice(1, "a")).await;
    fixture.attempt(id, refused(21_617)).await;
    assert_eq!(
        fixture.command(id, MessageCommand::Retry).await,
        CommandResult::Done(State::Scheduled)
    );
    assert_eq!(
        fixture.command(id, MessageCommand::Retry).await,
        CommandResult::Already(State::Scheduled)
    );
    let view = fixture.view(id).await;
    assert_eq!(view.summary.failed_at, None);
    assert_eq!(view.history.last().unwrap().source, Source::Operator);
    assert_eq!(fixture.due_ids().await, [id]);
    let attempt = fixture.open(id).await.attempt;
    assert_eq!(
        fixture.command(id, MessageCommand::Retry).await,
        CommandResult::Already(State::Sending)
    );
    let sid = fixture.sid();
    fixture.close(attempt, accepted_by_provider(sid)).await;
    for (status, state) in [
        (ProviderStatus::Queued, State::Queued),
        (ProviderStatus::Sent, State::Sent),
        (ProviderStatus::Delivered, State::Delivered),
        (ProviderStatus::Read, State::Read),
    ] {
        fixture.report(Sent { attempt, sid }, status).await;
        assert_eq!(
            fixture.command(id, MessageCommand::Retry).await,
            CommandResult::Already(state)
        );
    }
    assert_eq!(fixture.view(id).await.attempts.len(), 2);
    assert!(!fixture.view(id).await.summary.possible_duplicate);
}

pub(crate) async fn what_changed_meanwhile_is_left_by_a_command_for_many(
    fixture: &mut StoreFixture,
) {
    let mut failed = Vec::new();
    for (person, code) in [(1, 21_617), (2, 21_617), (3, 21_617), (4, 21_211)] {
        let id = fixture.accept(notice(person, "a")).await;
        fixture.attempt(id, refused(code)).await;
        failed.push(id);
    }
    let page = fixture.store().selection(MessageFilter {
        state: Some(State::Failed),
        error: Some(21_617),
        limit: 10,
        ..MessageFilter::default()
    });
    let page = page.await.unwrap();
    let found: Vec<_> = page.messages.iter().map(|message| message.id).collect();
    assert_eq!(found, [failed[2], failed[1], failed[0]]);
    // One was tried again by somebody else, and one failed again with another code.
    fixture.command(failed[0], MessageCommand::Retry).await;
    fixture.command(failed[1], MessageCommand::Retry).await;
    fixture.attempt(failed[1], refused(21_211)).await;
    let condition = CommandCondition {
        state: State::Failed,
        error: Some(21_617),
        since: None,
        until: None,
    };
    let accepted_at = fixture.view(failed[2]).await.summary.accepted_at;
    for (condition, last) in [
        (
            CommandCondition {
                until: Some(accepted_at),
                ..condition
            },
            CommandResult::TooLate(State::Failed),
        ),
        (
            CommandCondition {
                since: Some(accepted_at.plus(DAY)),
                ..condition
            },
            CommandResult::TooLate(State::Failed),
        ),
        (condition, CommandResult::Done(State::Scheduled)),
        (condition, CommandResult::TooLate(State::Scheduled)),
    ] {
        let results = fixture
            .store()
            .command_if(
                failed.clone(),
                MessageCommand::Retry,
                condition,
                fixture.now,
            )
            .await
            .unwrap();
        assert_eq!(
            results,
            [
                CommandResult::TooLate(State::Scheduled),
                CommandResult::TooLate(State::Failed),
                last,
                CommandResult::TooLate(State::Failed),
            ]
        );
    }
    assert_eq!(
        fixture.history(failed[2]).await.last().copied(),
        Some("retry_decided")
    );
}

pub(crate) async fn a_retry_in_doubt_is_marked(fixture: &mut StoreFixture) {
    let id = fixture.accept(notice(1, "a")).await;
    fixture.lose(id).await;
    assert_eq!(
        fixture.command(id, MessageCommand::Retry).await,
        CommandResult::Done(State::Scheduled)
    );
    fixture.send(id).await;
    assert!(fixture.view(id).await.summary.possible_duplicate);
}

pub(crate) async fn what_was_stopped_cannot_be_retried(fixture: &mut StoreFixture) {
    let canceled = fixture.accept(notice(1, "a")).await;
    fixture.command(canceled, MessageCommand::Cancel).await;
    let expired = Message {
        expires_at: Some(fixture.now.plus(SECOND_LONG)),
        ..notice(2, "a")
    };
    let expired = fixture.accept(expired).await;
    let suppressed = fixture.accept(notice(3, "a")).await;
    fixture.write(3, "sair").await;
    fixture.pass(MINUTE);
    fixture.store().maintain(fixture.now).await.unwrap();
    for (id, state) in [
        (canceled, State::Canceled),
        (expired, State::Expired),
        (suppressed, State::Suppressed),
    ] {
        assert_eq!(
            fixture.command(id, MessageCommand::Retry).await,
            CommandResult::TooLate(state)
        );
        assert_eq!(fixture.state(id).await, state);
    }
    assert_eq!(
        fixture.command(suppressed, MessageCommand::Cancel).await,
        CommandResult::TooLate(State::Suppressed)
    );
    assert_eq!(fixture.waiting().await, Vec::<MessageRow>::new());
}

/// The check stands where attempts open, so that no way around it exists.
pub(crate) async fn a_retry_on_request_does_not_reach_somebody_who_opted_out(
    fixture: &mut StoreFixture,
) {
    let id = fixture.accept(notice(1, "a")).await;
    fixture.attempt(id, refused(21_617)).await;
    fixture.write(1, "sair").await;
    fixture.command(id, MessageCommand::Retry).await;
    assert!(fixture.is_gone(id).await);
    assert_eq!(fixture.state(id).await, State::Suppressed);
}

pub(crate) async fn a_batch_of_commands_has_its_own_results(fixture: &mut StoreFixture) {
    let first = fixture.accept(notice(1, "a")).await;
    let second = fixture
        .accept(Message {
            policy: Policy::Ask,
            ..notice(2, "a")
        })
        .await;
    let nobody = MessageId(uuid::Uuid::from_u128(7));
    let batch = vec![
        (first, MessageCommand::Cancel),
        (nobody, MessageCommand::Cancel),
        (first, MessageCommand::Cancel),
        (second, MessageCommand::Retry),
        (first, MessageCommand::Retry),
    ];
    assert_eq!(
        fixture.store().command(batch, fixture.now).await.unwrap(),
        [
            CommandResult::Done(State::Canceled),
            CommandResult::NotFound,
            CommandResult::Already(State::Canceled),
            CommandResult::Already(State::Accepted),
            CommandResult::TooLate(State::Canceled),
        ]
    );
    let twice = fixture.new_message(notice(3, "a"));
    let id = twice.id;
    assert!(matches!(
        fixture.accept_all(vec![twice]).await[..],
        [AcceptResult::Accepted { id: stored, .. }] if stored == id
    ));
}
