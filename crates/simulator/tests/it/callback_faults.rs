//! Callbacks that are lost, late, doubled, reordered, forged, or earlier than the response.

use std::collections::HashMap;

use simulator::{Faults, Settings, TruthMessage};

use crate::caller::{Caller, PERSON, fast};
use crate::receiver::{Call, Receiver};

/// Sends messages under these faults; returns the callbacks and the truth log.
async fn under(
    faults: Faults,
    time_scale: f64,
    messages: usize,
) -> (Caller, Vec<Call>, Vec<TruthMessage>) {
    let caller = Caller::start(Settings {
        faults,
        time_scale,
        ..fast()
    })
    .await;
    let receiver = Receiver::start().await;
    let url = receiver.url("/status");
    for _ in 0..messages {
        caller.text(PERSON, Some(&url)).await.sid();
    }
    let truth = caller.quiet().await;
    (caller, receiver.calls(), truth)
}

/// The reported statuses of each message, in the order of their arrival.
fn by_message(calls: &[Call]) -> HashMap<&str, Vec<&str>> {
    let mut by: HashMap<&str, Vec<&str>> = HashMap::new();
    for call in calls {
        by.entry(call.field("MessageSid").unwrap())
            .or_default()
            .push(call.status());
    }
    by
}

#[tokio::test]
async fn lost_ones_never_come_and_the_truth_says_so() {
    let faults = Faults {
        callback_lost: 0.3,
        ..Faults::default()
    };
    let (_, calls, truth) = under(faults, 1_000.0, 200).await;
    let by = by_message(&calls);
    let mut lost = 0;
    for message in &truth {
        let came = by.get(message.sid.as_str()).cloned().unwrap_or_default();
        for status in &message.statuses {
            let callback = &status.callback;
            lost += usize::from(callback.lost);
            assert_eq!(came.contains(&status.status.as_str()), !callback.lost);
            assert_eq!(callback.tries, u32::from(!callback.lost));
            assert_eq!(callback.answered.is_none(), callback.lost);
        }
    }
    assert_eq!(calls.len() + lost, 600);
    // 180 expected, with a standard deviation of 11.
    assert!((135..225).contains(&lost), "{lost}");
}

#[tokio::test]
async fn late_ones_come_by_so_much_later() {
    let late = |share| Faults {
        callback_late: share,
        callback_late_ms: 1_000_000.0,
        ..Faults::default()
    };
    let (_, calls, truth) = under(late(1.0), 1_000.0, 5).await;
    assert_eq!(calls.len(), 15);
    for call in &calls {
        let delay = delay(call, &truth);
        assert!(delay >= 1.0, "{delay} s");
    }
    let (_, calls, truth) = under(late(0.5), 1_000.0, 60).await;
    let late = calls
        .iter()
        .filter(|call| delay(call, &truth) >= 1.0)
        .count();
    assert!((60..120).contains(&late), "{late} of 180");
}

/// Seconds from the status to its callback.
fn delay(call: &Call, truth: &[TruthMessage]) -> f64 {
    let sid = call.field("MessageSid").unwrap();
    let message = truth.iter().find(|message| message.sid == sid).unwrap();
    let status = message
        .statuses
        .iter()
        .find(|s| s.status == call.status())
        .unwrap();
    let at: jiff::Timestamp = status.at.parse().unwrap();
    call.came.duration_since(at).as_secs_f64()
}

#[tokio::test]
async fn doubled_ones_come_twice_and_alike() {
    let faults = Faults {
        callback_doubled: 1.0,
        ..Faults::default()
    };
    let (caller, calls, truth) = under(faults, 1_000.0, 20).await;
    assert_eq!(calls.len(), 120);
    let mut pairs: HashMap<(&str, &str), Vec<&Call>> = HashMap::new();
    for call in &calls {
        let key = (call.field("MessageSid").unwrap(), call.status());
        pairs.entry(key).or_default().push(call);
    }
    assert_eq!(pairs.len(), 60);
    for pair in pairs.values() {
        let [one, two] = pair[..] else {
            panic!("{} came", pair.len())
        };
        assert_eq!(one.body, two.body);
        assert!(one.is_signed_with(caller.sim.auth_token()));
        let token = "i-twilio-idempotency-token";
        assert_eq!(one.header(token), two.header(token));
        assert_eq!(
            one.header("x-twilio-signature"),
            two.header("x-twilio-signature")
        );
    }
    assert!(
        truth
            .iter()
            .flat_map(|m| &m.statuses)
            .all(|s| s.callback.tries == 2)
    );
}

#[tokio::test]
async fn reordered_ones_come_in_another_order() {
    let course = ["sent", "delivered", "read"];
    let faults = Faults {
        callback_reordered: 1.0,
        ..Faults::default()
    };
    let (_, calls, truth) = under(faults, 20.0, 40).await;
    assert_eq!(calls.len(), 120, "none is lost");
    let by = by_message(&calls);
    let other = by.values().filter(|came| **came != course).count();
    assert!(other >= 38, "{other} of 40 came in another order");
    // The statuses of the message itself are not affected.
    assert!(
        truth
            .iter()
            .all(|message| crate::caller::words(message) == course)
    );
}

#[tokio::test]
async fn forged_ones_come_beside_the_true_one() {
    let faults = Faults {
        callback_forged: 1.0,
        ..Faults::default()
    };
    let (caller, calls, truth) = under(faults, 1_000.0, 20).await;
    assert_eq!(calls.len(), 120);
    let token = caller.sim.auth_token();
    let (real, forged): (Vec<&Call>, Vec<&Call>) =
        calls.iter().partition(|call| call.is_signed_with(token));
    assert_eq!((real.len(), forged.len()), (60, 60));
    for call in real {
        let copy = forged.iter().find(|copy| copy.body == call.body).unwrap();
        assert_ne!(
            copy.header("x-twilio-signature"),
            call.header("x-twilio-signature")
        );
    }
    // How a forged callback was answered is not part of the truth.
    assert!(
        truth
            .iter()
            .flat_map(|m| &m.statuses)
            .all(|s| s.callback.tries == 1)
    );
}

#[tokio::test]
async fn early_ones_come_before_the_answer() {
    let faults = Faults {
        callback_before_answer: 1.0,
        ..Faults::default()
    };
    for time_scale in [20.0, 1_000.0, 1e9] {
        let settings = Settings {
            faults: faults.clone(),
            time_scale,
            ..fast()
        };
        let caller = Caller::start(settings).await;
        let receiver = Receiver::start().await;
        for _ in 0..10 {
            let sid = caller
                .text(PERSON, Some(&receiver.url("/status")))
                .await
                .sid();
            let early = receiver.calls();
            let early = early
                .iter()
                .any(|call| call.field("MessageSid") == Some(&sid));
            assert!(early, "at {time_scale} times the speed");
        }
        // Without a URL there is no callback to wait for.
        caller.text(PERSON, None).await.sid();
        caller.quiet().await;
    }
}
