//! Settling, by examples and by comparison with every matching there is.

use std::slice::from_ref;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

const NO_DIFFERENCE: ClockDifference = ClockDifference::NONE;

fn sid(n: u8) -> Sid {
    Sid::parse_message(&format!("SM{n:032x}")).unwrap()
}

fn attempt(key: u8, at: i64, text: &str) -> UnknownAttempt<u8> {
    UnknownAttempt {
        key,
        started_at: Timestamp::from_seconds(at),
        ended_at: Timestamp::from_seconds(at + 2),
        created_until: Timestamp::from_seconds(at + 900),
        to: "+5585988887777".into(),
        to_alternative: Some("+558588887777".into()),
        from: Some("+551140000000".into()),
        unlisted: None,
        text: TextEvidence::Exact(text.into()),
        media: Some(0),
    }
}

fn template(key: u8, at: i64, values: &[&str]) -> UnknownAttempt<u8> {
    UnknownAttempt {
        text: TextEvidence::Contains(values.iter().map(|v| (*v).to_owned()).collect()),
        media: None,
        ..attempt(key, at, "")
    }
}

fn listed(n: u8, at: i64, body: &str) -> Listed {
    Listed {
        sid: sid(n),
        to: "+5585988887777".into(),
        from: Some("+551140000000".into()),
        body: Some(body.into()),
        media: Some(0),
        outbound: true,
        created_at: Timestamp::from_seconds(at),
    }
}

fn attach(attempts: &[UnknownAttempt<u8>], listed: &[Listed]) -> Vec<(u8, Sid)> {
    settle(attempts, listed, NO_DIFFERENCE, |_| false)
}

#[test]
fn matches_attach_in_the_order_of_their_times() {
    let attempts = [
        attempt(2, 1_010, "a"),
        attempt(1, 1_000, "a"),
        attempt(3, 1_020, "a"),
    ];
    let seen = [listed(9, 1_011, "a"), listed(8, 1_001, "a")];
    assert_eq!(attach(&attempts, &seen), [(1, sid(8)), (2, sid(9))]);
    let at_once = [attempt(1, 1_000, "a"), attempt(2, 1_000, "a")];
    let seen = [listed(9, 1_001, "a"), listed(8, 1_000, "a")];
    assert_eq!(attach(&at_once, &seen), [(1, sid(8)), (2, sid(9))]);
}

#[test]
fn the_other_ninth_digit_form_is_the_same_person() {
    let mut seen = listed(1, 1_000, "a");
    seen.to = "+558588887777".into();
    assert_eq!(attach(&[attempt(1, 1_000, "a")], &[seen]).len(), 1);
}

#[test]
fn what_does_not_fit_is_no_evidence() {
    let ours = [attempt(1, 1_000, "a")];
    let right = || listed(1, 1_000, "a");
    let wrong = [
        Listed {
            to: "+5585988887778".into(),
            ..right()
        },
        Listed {
            outbound: false,
            ..right()
        },
        Listed {
            from: Some("+551140000001".into()),
            ..right()
        },
        Listed {
            media: Some(1),
            ..right()
        },
        listed(4, 939, "a"),
        listed(5, 1_000 + 901, "a"),
        listed(6, 1_000, "b"),
    ];
    for (n, wrong) in wrong.into_iter().enumerate() {
        assert!(attach(&ours, &[wrong]).is_empty(), "{n}");
    }
    assert!(settle(&ours, &[right()], NO_DIFFERENCE, |taken| taken == sid(1)).is_empty());
    assert_eq!(attach(&ours, &[right()]).len(), 1);
}

#[test]
fn template_values_are_looked_for_in_the_rendered_text() {
    let ours = [template(1, 1_000, &["Maria", "14:00"])];
    let fits = listed(1, 1_000, "Olá Maria, sua entrevista é às 14:00.");
    let other = listed(2, 1_000, "Olá João, sua entrevista é às 14:00.");
    assert_eq!(attach(&ours, &[other, fits]), [(1, sid(1))]);
}

#[test]
fn values_that_tell_nothing_prove_nothing() {
    let seen = [listed(1, 1_000, "1 outra coisa")];
    assert!(attach(&[template(1, 1_000, &[])], &seen).is_empty());
    assert!(attach(&[template(1, 1_000, &["1"])], &seen).is_empty());
    assert_eq!(
        attach(&[template(1, 1_000, &["1", "outra"])], &seen).len(),
        1
    );
}

#[test]
fn a_text_that_is_not_shown_and_an_empty_caption_are_no_evidence() {
    let hidden = Listed {
        body: None,
        ..listed(1, 1_000, "")
    };
    let empty = listed(2, 1_000, "");
    for ours in [
        attempt(1, 1_000, "a"),
        attempt(1, 1_000, ""),
        template(1, 1_000, &["Maria"]),
    ] {
        assert!(attach(from_ref(&ours), from_ref(&hidden)).is_empty());
        assert!(attach(&[ours], from_ref(&empty)).is_empty());
    }
    let picture = UnknownAttempt {
        media: Some(1),
        ..attempt(1, 1_000, "")
    };
    assert!(attach(from_ref(&picture), &[hidden, empty.clone()]).is_empty());
    let shown = Listed {
        media: Some(1),
        ..empty
    };
    assert_eq!(attach(&[picture], &[shown]).len(), 1);
}

#[test]
fn values_that_two_templates_share_do_not_exchange_them() {
    // The confirmation was lost; the reminder, which says more, was created.
    let confirmation = template(1, 1_000, &["Maria", "14:00"]);
    let reminder = template(2, 1_010, &["Maria", "14:00", "Rua Azul 7"]);
    let seen = [listed(1, 1_010, "Maria, lembre-se: 14:00, Rua Azul 7.")];
    let both = [confirmation.clone(), reminder.clone()];
    assert_eq!(attach(&both, &seen), [(2, sid(1))]);
    // With both created, each has its own, whatever the order.
    let seen = [
        listed(1, 1_010, "Maria, lembre-se: 14:00, Rua Azul 7."),
        listed(2, 1_000, "Maria, confirmado: 14:00."),
    ];
    let found = [(1, sid(2)), (2, sid(1))];
    assert_eq!(attach(&both, &seen), found);
    assert_eq!(attach(&[reminder, confirmation], &seen), found);
}

#[test]
fn nobody_gets_what_two_different_contents_explain_as_well() {
    // The same values in two templates, both under way at the time.
    let one = template(1, 1_000, &["Maria", "14:00"]);
    let other = UnknownAttempt {
        unlisted: Some("HX1".into()),
        ..template(2, 1_001, &["Maria", "14:00"])
    };
    let seen = [listed(1, 1_001, "Maria, 14:00")];
    assert!(attach(&[one.clone(), other.clone()], &seen).is_empty());
    // Two messages for the two of them: which is whose, nothing tells.
    let two = [
        listed(1, 1_001, "Maria, 14:00"),
        listed(2, 1_001, "14:00, Maria"),
    ];
    assert!(attach(&[one.clone(), other.clone()], &two).is_empty());
    // The time of creation separates them when only one request was under way.
    let later = UnknownAttempt {
        started_at: Timestamp::from_seconds(1_060),
        ended_at: Timestamp::from_seconds(1_062),
        created_until: Timestamp::from_seconds(1_960),
        ..other
    };
    assert_eq!(attach(&[one, later], &seen), [(1, sid(1))]);
}

#[test]
fn a_difference_of_clocks_widens_the_time() {
    let ours = [attempt(1, 1_000, "a")];
    let seen = [listed(1, 1_000 - 3_600, "a")];
    assert!(attach(&ours, &seen).is_empty());
    let behind = ClockDifference::between(-3_601_000_000, -3_599_000_000);
    assert_eq!(settle(&ours, &seen, behind, |_| false).len(), 1);
}

#[test]
fn too_many_are_left_to_people() {
    let many: Vec<_> = (0..=u8::try_from(SETTLE_MATCHES_MAX).unwrap())
        .map(|n| attempt(n, 1_000, "a"))
        .collect();
    let seen = [listed(1, 1_000, "a")];
    assert!(attach(&many, &seen).is_empty());
    assert_eq!(attach(many.get(1..).unwrap(), &seen).len(), 1);
}

/// Attempts and messages with few different texts and times, so that they collide.
fn some_attempts() -> impl Strategy<Value = Vec<UnknownAttempt<u8>>> {
    let texts = prop::sample::select(vec![
        TextEvidence::Exact("Maria 14:00".into()),
        TextEvidence::Exact(String::new()),
        TextEvidence::Contains(vec!["Maria".into()]),
        TextEvidence::Contains(vec!["Maria".into(), "14:00".into()]),
        TextEvidence::Contains(vec!["14:00".into(), "Maria".into()]),
        TextEvidence::Contains(vec!["Maria".into(), "14:00".into(), "Rua Azul".into()]),
        TextEvidence::Contains(vec!["1".into()]),
    ]);
    let media = prop::sample::select(vec![None, Some(0), Some(1)]);
    let one = (texts, media, 0..4_i64, 1..30_i64);
    prop::collection::vec(one, 0..5).prop_map(|many| {
        let of = |(key, (text, media, at, took)): (u8, _)| UnknownAttempt {
            text,
            media,
            ended_at: Timestamp::from_seconds(1_000 + at * 20 + took),
            ..attempt(key, 1_000 + at * 20, "")
        };
        (0..).zip(many).map(of).collect()
    })
}

fn some_messages() -> impl Strategy<Value = Vec<Listed>> {
    let bodies = prop::sample::select(vec![
        None,
        Some(""),
        Some("Maria 14:00"),
        Some("Oi Maria"),
        Some("Oi Maria 14:00 Rua Azul"),
        Some("1"),
    ]);
    let one = (
        bodies,
        prop::sample::select(vec![None, Some(0), Some(1)]),
        0..90_i64,
    );
    prop::collection::vec(one, 0..5).prop_map(|many| {
        let of = |(n, (body, media, at)): (u8, (Option<&str>, _, _))| Listed {
            body: body.map(str::to_owned),
            media,
            ..listed(n, 1_000 + at, "")
        };
        (0..).zip(many).map(of).collect()
    })
}

/// The points of every matching there is, and whom it gives each message to.
fn every_matching(scores: &[Vec<Option<Score>>], columns: usize) -> Vec<(i64, Vec<Option<usize>>)> {
    let mut all = vec![(0, vec![None; columns])];
    for (row, line) in scores.iter().enumerate() {
        let mut more = Vec::new();
        for (points, owners) in &all {
            for (column, score) in line.iter().enumerate() {
                if let (Some(score), None) = (score, owners[column]) {
                    let mut owners = owners.clone();
                    owners[column] = Some(row);
                    more.push((points + score.points, owners));
                }
            }
        }
        all.extend(more);
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, ..ProptestConfig::default() })]

    /// Nothing is attached that another matching explains better, or that a different content
    /// explains as well; what only one content explains best is attached.
    #[test]
    fn what_is_attached_is_explained_best(attempts in some_attempts(), seen in some_messages()) {
        let found = attach(&attempts, &seen);
        let line = |a: &UnknownAttempt<u8>| seen.iter().map(|m| score(a, m, NO_DIFFERENCE)).collect();
        let scores: Vec<Vec<Option<Score>>> = attempts.iter().map(line).collect();
        let all = every_matching(&scores, seen.len());
        let most = all.iter().map(|(points, _)| *points).max().unwrap_or(0);
        let refs: Vec<_> = attempts.iter().collect();
        for (column, message) in seen.iter().enumerate() {
            let best: Vec<Option<usize>> = all
                .iter()
                .filter(|(points, _)| *points == most)
                .map(|(_, owners)| owners[column])
                .collect();
            let only_one_content = best.iter().all(|owner| match (owner, best[0]) {
                (Some(owner), Some(first)) => same(&refs, *owner, first),
                _ => false,
            });
            let owner = found.iter().find(|(_, sid)| *sid == message.sid);
            match owner {
                Some((key, _)) => {
                    let row = usize::from(*key);
                    prop_assert!(only_one_content);
                    prop_assert!(same(&refs, row, best[0].unwrap()));
                    prop_assert!(scores[row][column].unwrap().is_evidence);
                }
                None => {
                    let proves = |row: &usize| scores[*row][column].unwrap().is_evidence;
                    let shown = best.iter().flatten().all(proves);
                    prop_assert!(!(only_one_content && shown), "left out: {column}");
                }
            }
        }
    }

    /// The order of what comes in does not matter.
    #[test]
    fn order_does_not_matter(attempts in some_attempts(), seen in some_messages(), turn in 0_usize..5) {
        let found = attach(&attempts, &seen);
        let (mut other_attempts, mut other_seen) = (attempts, seen);
        other_attempts.reverse();
        let places = other_seen.len().max(1);
        other_seen.rotate_left(turn % places);
        prop_assert_eq!(found, attach(&other_attempts, &other_seen));
    }

    /// No attempt and no message is attached twice.
    #[test]
    fn each_is_attached_once(attempts in some_attempts(), seen in some_messages()) {
        let found = attach(&attempts, &seen);
        for (n, (key, sid)) in found.iter().enumerate() {
            let others = found.iter().skip(n + 1);
            prop_assert!(others.clone().all(|(other, _)| other != key));
            prop_assert!(others.clone().all(|(_, other)| other != sid));
        }
        prop_assert!(found.len() <= attempts.len().min(seen.len()));
    }
}

#[test]
fn a_second_is_a_second() {
    // Created within the second in which the request began: the list says its beginning.
    let mut ours = attempt(1, 1_000, "a");
    ours.started_at = ours.started_at.plus(Duration::from_millis(900));
    assert_eq!(
        time_fits(&ours, &listed(1, 1_000, "a"), NO_DIFFERENCE),
        Some((true, 0))
    );
    assert_eq!(
        time_fits(&ours, &listed(1, 999, "a"), NO_DIFFERENCE),
        Some((false, 1))
    );
}

/// A restored database does not know when the original sent what it has still to send.
#[test]
fn a_message_may_be_created_until_the_attempt_says() {
    let hours_later = [listed(1, 1_000 + 6 * 3_600, "a")];
    let ours = attempt(1, 1_000, "a");
    assert!(attach(std::slice::from_ref(&ours), &hours_later).is_empty());
    let from_elsewhere = UnknownAttempt {
        ended_at: Timestamp::from_seconds(1_000 + 9 * 3_600),
        created_until: Timestamp::from_seconds(1_900 + 9 * 3_600),
        ..ours
    };
    assert_eq!(attach(&[from_elsewhere], &hours_later), [(1, sid(1))]);
}
