//! The whole table as a snapshot, and the property that order and repetition do not matter.

use proptest::prelude::*;

use super::*;

fn facts() -> Vec<(String, Fact)> {
    let mut facts = vec![
        ("opened".to_owned(), Fact::AttemptOpened),
        ("not_sent".to_owned(), Fact::OutcomeNotSent),
        ("unknown".to_owned(), Fact::OutcomeUnknown),
        ("withdrawn".to_owned(), Fact::EvidenceWithdrawn),
        ("refused".to_owned(), Fact::Refused),
        ("retry".to_owned(), Fact::RetryDecided),
        ("cancel".to_owned(), Fact::CancelDecided),
        ("expiry".to_owned(), Fact::ExpiryPassed),
        ("opted_out".to_owned(), Fact::OptedOut),
        ("hold".to_owned(), Fact::HoldDecided),
        ("release".to_owned(), Fact::ReleaseDecided),
    ];
    for &status in ProviderStatus::ALL {
        facts.push((
            format!("answer {}", status.as_str()),
            Fact::OutcomeSent(status),
        ));
        facts.push((
            format!("report {}", status.as_str()),
            Fact::Reported(status),
        ));
        facts.push((
            format!("earlier {}", status.as_str()),
            Fact::ReportedEarlier(status),
        ));
    }
    facts
}

#[test]
fn the_whole_table() {
    let mut table = String::new();
    for (name, fact) in facts() {
        for &state in State::ALL {
            let cell = match advance(state, fact) {
                Step::Same => continue,
                Step::To(next) => next.as_str().to_owned(),
                Step::Anomaly(next) if next == state => "anomaly, stays".to_owned(),
                Step::Anomaly(next) => format!("anomaly, {}", next.as_str()),
            };
            table.push_str(&format!(
                "{:<12} + {:<26} -> {cell}\n",
                state.as_str(),
                name
            ));
        }
    }
    insta::assert_snapshot!(table);
}

#[test]
fn words_read_back() {
    for &state in State::ALL {
        assert_eq!(State::from_name(state.as_str()), Some(state));
    }
    assert_eq!(State::from_name("lost"), None);
}

fn reports() -> impl Strategy<Value = Vec<ProviderStatus>> {
    prop::collection::vec(prop::sample::select(ProviderStatus::ALL.to_vec()), 0..12)
}

fn fold(start: State, reports: &[ProviderStatus]) -> State {
    reports.iter().fold(start, |state, status| {
        advance(state, Fact::Reported(*status)).state(state)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    /// Any order and any repetition of any set of reports ends in the same state, from any state.
    #[test]
    fn order_and_repetition_do_not_matter(
        reports in reports(),
        start in prop::sample::select(State::ALL.to_vec()),
        seed in any::<u64>(),
    ) {
        let mut shuffled = reports.clone();
        shuffled.extend(reports.iter().copied());
        let mut random = seed | 1;
        for at in (1..shuffled.len()).rev() {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            shuffled.swap(at, (random >> 33) as usize % (at + 1));
        }
        prop_assert_eq!(fold(start, &reports), fold(start, &shuffled));
    }

    /// Where the answer of the create call falls among the reports does not matter either.
    #[test]
    fn the_answer_may_come_at_any_place(reports in reports(), at in 0usize..13) {
        let at = at.min(reports.len());
        let (before, after) = reports.split_at(at);
        let answer = Fact::OutcomeSent(ProviderStatus::Queued);
        let mut state = fold(State::Sending, before);
        state = advance(state, answer).state(state);
        state = fold(state, after);
        let mut first = advance(State::Sending, answer).state(State::Sending);
        first = fold(first, &reports);
        prop_assert_eq!(state, first);
    }

    /// Reports never lower a state.
    #[test]
    fn reports_only_move_up(reports in reports(), start in prop::sample::select(State::ALL.to_vec())) {
        prop_assert!(fold(start, &reports).is_at_least(start));
    }
}
