//! The table of codes, and what operators lay over it.

use super::*;

#[test]
fn every_row_of_the_table_is_read_as_written() {
    let codes = Codes::builtin();
    let mut reader =
        csv::Reader::from_reader(&include_bytes!("../../data/twilio_error_actions.csv")[..]);
    let mut rows = 0;
    for row in reader.records() {
        let row = row.unwrap();
        let code: u32 = row[0].parse().unwrap();
        for error_source in [ErrorSource::Response, ErrorSource::Status] {
            let rule = codes.rule(Some(code), error_source);
            assert_eq!(rule.action.as_str(), &row[2], "{code}");
            if code != 20_404 {
                assert_eq!(rule.scope.as_str(), &row[3], "{code}");
            }
            assert_eq!(rule.meaning, &row[4], "{code}");
            assert_eq!(rule.failed_fee, &row[5] != "no", "{code}");
            assert!(rule.listed, "{code}");
            assert!(!rule.action.advice().is_empty());
        }
        rows += 1;
    }
    assert_eq!(rows, 166);
    assert_eq!(codes.listed().count(), rows);
}

#[test]
fn every_hint_names_a_listed_code() {
    let codes = Codes::builtin();
    for line in include_str!("../../data/retry_hints.csv").lines().skip(1) {
        let code: u32 = csv_cells(line)[0].parse().unwrap();
        assert!(codes.rules.contains_key(&code), "{code}");
    }
    assert_eq!(
        codes.rule(Some(63_049), ErrorSource::Status).wait,
        Some(Duration::from_secs(86_400))
    );
    assert_eq!(
        codes.rule(Some(20_404), ErrorSource::Response).scope,
        Scope::Account
    );
    assert_eq!(
        codes.rule(Some(63_049), ErrorSource::Status).kind,
        Some(Kind::Marketing)
    );
    let evidence = |code| codes.rule(Some(code), ErrorSource::Response).evidence;
    assert_eq!(evidence(21_608), Evidence::Message);
    assert_eq!(evidence(21_606), Evidence::TwoPeople);
    assert_eq!(evidence(63_007), Evidence::One);
}

#[test]
fn every_word_of_a_hint_is_known() {
    for line in include_str!("../../data/retry_hints.csv").lines().skip(1) {
        let cells = csv_cells(line);
        let known = |word: &str, is: bool| assert!(word.is_empty() || is, "{line}");
        known(&cells[3], Scope::from_name(&cells[3]).is_some());
        known(&cells[4], Evidence::from_name(&cells[4]).is_some());
        known(&cells[5], Kind::from_name(&cells[5]).is_some());
        assert_eq!(cells.len(), 7, "{line}");
    }
}

#[test]
fn unlisted_codes_have_a_default_by_where_they_were_met() {
    let codes = Codes::builtin();
    assert_eq!(
        codes.rule(Some(99_999), ErrorSource::Status).action,
        Action::PermanentContent
    );
    assert_eq!(
        codes.rule(None, ErrorSource::Response).action,
        Action::ClientBug
    );
    assert!(!codes.rule(None, ErrorSource::Response).listed);
}

#[test]
fn the_operator_overrides_rows_or_hears_of_every_mistake() {
    let codes = Codes::builtin();
    let text = "code,action,scope,wait_seconds,attempts_max\n63013,config_alert,sender,,\n\
                70000,retry_later,,120,3\n";
    let over = codes.overridden(text).unwrap();
    assert_eq!(
        over.rule(Some(63_013), ErrorSource::Status).action,
        Action::ConfigAlert
    );
    assert_eq!(
        over.rule(Some(63_013), ErrorSource::Status).scope,
        Scope::Sender
    );
    let new = over.rule(Some(70_000), ErrorSource::Status);
    assert_eq!(
        (new.wait, new.attempts_max),
        (Some(Duration::from_secs(120)), Some(3))
    );
    let alone = codes.overridden("21608,,,,,two_people\n").unwrap();
    let rule = alone.rule(Some(21_608), ErrorSource::Response);
    assert_eq!(rule.evidence, Evidence::TwoPeople);
    assert!(codes.overridden("21608,,,,,perhaps\n").is_err());
    let problems = codes
        .overridden("x,,,,\n63013,explode,,,\n63013\n")
        .unwrap_err();
    assert_eq!(
        problems.iter().map(|p| p.line).collect::<Vec<_>>(),
        [1, 2, 3]
    );
}
