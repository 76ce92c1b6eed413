//! The chores, and what callers and operators decide.

use delivery::event::Source;
use delivery::message::{Message, Policy};
use delivery::outcome::ProviderStatus;
use delivery::state::State;
use recado::store::{
    AcceptResult, CommandResult, MaintenanceResult, MessageCommand, MessageId, NewMessage,
};

use super::world::*;

pub(crate) async fn deadlines_pass_without_anybody_looking(world: &mut World) {
    let expires_at = Some(world.now.plus(HOUR));
    let with_deadline = |n| Message {
        expires_at,
        ..notice(n, "a")
    };
    let waiting = world.accept(with_deadline(1)).await;
    let scheduled = world
        .accept(Message {
            send_at: Some(world.now.plus(HOUR)),
            ..with_deadline(2)
        })
        .await;
    let retry = world.accept(with_deadline(3)).await;
    world.attempt(retry, no_connection()).await;
    let sending = world.accept(with_deadline(4)).await;
    let open = world.open(sending).await.attempt;
    let sent = world.accept(with_deadline(5)).await;
    world.send(sent).await;
    let without = world.accept(notice(6, "a")).await;
    world.pass(HOUR - SECOND_LONG);
    let idle = world.store().maintain(world.now).await.unwrap();
    assert_eq!(idle, MaintenanceResult::default());
    world.pass(SECOND_LONG);
    let done = world.store().maintain(world.now).await.unwrap();
    assert_eq!((done.expired, done.more), (3, false));
    for id in [waiting, scheduled, retry] {
        assert_eq!(world.state(id).await, State::Expired);
    }
    assert_eq!(world.state(sending).await, State::Sending);
    assert_eq!(world.state(sent).await, State::Queued);
    assert_eq!(world.due_ids().await, [without]);
    // An attempt that comes back after the deadline is not followed by another one.
    world.close(open, no_connection()).await;
    assert_eq!(world.state(sending).await, State::Expired);
    assert_eq!(
        world.store().maintain(world.now).await.unwrap(),
        MaintenanceResult::default()
    );
}

pub(crate) async fn long_chores_are_done_in_turns(world: &mut World) {
    let expires_at = Some(world.now.plus(HOUR));
    let mut batch = Vec::new();
    for n in 0..1_100 {
        let new = world.new_message(Message {
            expires_at,
            ..notice(n, "a")
        });
        batch.push(new);
    }
    world.accept_all(batch).await;
    world.pass(HOUR);
    let mut expired = Vec::new();
    loop {
        let done = world.store().maintain(world.now).await.unwrap();
        expired.push(done.expired);
        if !done.more {
            break;
        }
        assert!(expired.len() < 10, "it ends");
    }
    assert_eq!(expired.iter().sum::<u64>(), 1_100);
    assert!(expired.len() > 1, "no commit takes long: {expired:?}");
}

pub(crate) async fn old_keys_go_and_their_messages_stay(world: &mut World) {
    let mut batch = Vec::new();
    for n in 0..3_u8 {
        let new = world.new_message(notice(n.into(), "a"));
        batch.push(NewMessage {
            idempotency: World::idempotency(n, 0),
            ..new
        });
    }
    let id = batch[0].id;
    world.accept_all(batch).await;
    world.pass(7 * DAY);
    let done = world.store().maintain(world.now).await.unwrap();
    assert_eq!((done.pruned, done.more), (3, false));
    assert_eq!(world.state(id).await, State::Accepted);
}

pub(crate) async fn cancelling_is_idempotent_and_knows_when_it_is_too_late(world: &mut World) {
    let waiting = world.accept(notice(1, "a")).await;
    let scheduled = Message {
        send_at: Some(world.now.plus(DAY)),
        ..notice(2, "a")
    };
    let scheduled = world.accept(scheduled).await;
    for id in [waiting, scheduled] {
        for result in [
            CommandResult::Done(State::Canceled),
            CommandResult::Already(State::Canceled),
        ] {
            assert_eq!(world.command(id, MessageCommand::Cancel).await, result);
        }
        assert_eq!(world.history(id).await, ["accepted", "canceled"]);
    }
    assert_eq!(world.waiting().await, Vec::<i64>::new());
    let id = world.accept(notice(3, "a")).await;
    let attempt = world.open(id).await.attempt;
    let late = async |world: &World, state| {
        let result = world.command(id, MessageCommand::Cancel).await;
        assert_eq!(result, CommandResult::TooLate(state));
        assert_eq!(world.state(id).await, state);
    };
    late(world, State::Sending).await;
    let sid = world.sid();
    world.close(attempt, accepted_by_provider(sid)).await;
    late(world, State::Queued).await;
    for (status, state) in [
        (ProviderStatus::Sent, State::Sent),
        (ProviderStatus::Delivered, State::Delivered),
        (ProviderStatus::Read, State::Read),
    ] {
        world.report(Sent { attempt, sid }, status).await;
        late(world, state).await;
    }
    let lost = world.accept(notice(4, "a")).await;
    world.lose(lost).await;
    assert_eq!(
        world.command(lost, MessageCommand::Cancel).await,
        CommandResult::TooLate(State::Unknown)
    );
    let nobody = MessageId(uuid::Uuid::from_u128(7));
    for command in [MessageCommand::Cancel, MessageCommand::Retry] {
        assert_eq!(
            world.command(nobody, command).await,
            CommandResult::NotFound
        );
    }
}

pub(crate) async fn a_retry_that_waits_can_be_cancelled(world: &mut World) {
    let id = world.accept(notice(1, "a")).await;
    world.attempt(id, no_connection()).await;
    assert_eq!(
        world.command(id, MessageCommand::Cancel).await,
        CommandResult::Done(State::Canceled)
    );
    world.pass(DAY);
    assert!(world.is_gone(id).await);
}

pub(crate) async fn a_failed_message_is_tried_again_on_request_once(world: &mut World) {
    let id = world.accept(notice(1, "a")).await;
    world.attempt(id, refused(21_617)).await;
    assert_eq!(
        world.command(id, MessageCommand::Retry).await,
        CommandResult::Done(State::Scheduled)
    );
    assert_eq!(
        world.command(id, MessageCommand::Retry).await,
        CommandResult::Already(State::Scheduled)
    );
    let view = world.view(id).await;
    assert_eq!(view.summary.failed_at, None);
    assert_eq!(view.history.last().unwrap().source, Source::Operator);
    assert_eq!(world.due_ids().await, [id]);
    let attempt = world.open(id).await.attempt;
    assert_eq!(
        world.command(id, MessageCommand::Retry).await,
        CommandResult::Already(State::Sending)
    );
    let sid = world.sid();
    world.close(attempt, accepted_by_provider(sid)).await;
    for (status, state) in [
        (ProviderStatus::Queued, State::Queued),
        (ProviderStatus::Sent, State::Sent),
        (ProviderStatus::Delivered, State::Delivered),
        (ProviderStatus::Read, State::Read),
    ] {
        world.report(Sent { attempt, sid }, status).await;
        assert_eq!(
            world.command(id, MessageCommand::Retry).await,
            CommandResult::Already(state)
        );
    }
    assert_eq!(world.view(id).await.attempts.len(), 2);
    assert!(!world.view(id).await.summary.possible_duplicate);
}

pub(crate) async fn a_retry_in_doubt_is_marked(world: &mut World) {
    let id = world.accept(notice(1, "a")).await;
    world.lose(id).await;
    assert_eq!(
        world.command(id, MessageCommand::Retry).await,
        CommandResult::Done(State::Scheduled)
    );
    world.send(id).await;
    assert!(world.view(id).await.summary.possible_duplicate);
}

pub(crate) async fn what_was_stopped_cannot_be_retried(world: &mut World) {
    let canceled = world.accept(notice(1, "a")).await;
    world.command(canceled, MessageCommand::Cancel).await;
    let expired = Message {
        expires_at: Some(world.now.plus(SECOND_LONG)),
        ..notice(2, "a")
    };
    let expired = world.accept(expired).await;
    let suppressed = world.accept(notice(3, "a")).await;
    world.write(3, "sair").await;
    world.pass(MINUTE);
    world.store().maintain(world.now).await.unwrap();
    for (id, state) in [
        (canceled, State::Canceled),
        (expired, State::Expired),
        (suppressed, State::Suppressed),
    ] {
        assert_eq!(
            world.command(id, MessageCommand::Retry).await,
            CommandResult::TooLate(state)
        );
        assert_eq!(world.state(id).await, state);
    }
    assert_eq!(
        world.command(suppressed, MessageCommand::Cancel).await,
        CommandResult::TooLate(State::Suppressed)
    );
    assert_eq!(world.waiting().await, Vec::<i64>::new());
}

/// The check stands where attempts open, so that no way around it exists.
pub(crate) async fn a_retry_on_request_does_not_reach_somebody_who_opted_out(world: &mut World) {
    let id = world.accept(notice(1, "a")).await;
    world.attempt(id, refused(21_617)).await;
    world.write(1, "sair").await;
    world.command(id, MessageCommand::Retry).await;
    assert!(world.is_gone(id).await);
    assert_eq!(world.state(id).await, State::Suppressed);
}

pub(crate) async fn a_batch_of_wishes_has_its_own_results(world: &mut World) {
    let first = world.accept(notice(1, "a")).await;
    let second = world
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
        world.store().command(batch, world.now).await.unwrap(),
        [
            CommandResult::Done(State::Canceled),
            CommandResult::NotFound,
            CommandResult::Already(State::Canceled),
            CommandResult::Already(State::Accepted),
            CommandResult::TooLate(State::Canceled),
        ]
    );
    let twice = world.new_message(notice(3, "a"));
    let id = twice.id;
    assert!(matches!(
        world.accept_all(vec![twice]).await[..],
        [AcceptResult::Accepted { id: stored, .. }] if stored == id
    ));
}
