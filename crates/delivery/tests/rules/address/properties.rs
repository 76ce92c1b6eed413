//! What holds for every text and every number, drawn at random.

use proptest::prelude::*;

use super::*;

/// What strangers may write: any characters, and the ones that mean something more often.
fn any_text() -> impl Strategy<Value = String> {
    let telling = "[0-9+ ().,;:/|&'\"xXeEoOuU\u{a0}\u{200b}\u{202a}\u{ff10}-\u{ff19}\n-]{0,40}";
    let prefixed =
        "(whatsapp:|tel:|Cel: |0xx|BR\\.|\\+55|0055| )[0-9 .x-]{0,24}( ramal [0-9]{1,7})?";
    prop_oneof![any::<String>(), telling, prefixed, "\\PC{0,60}"]
}

fn any_context() -> impl Strategy<Value = Context> {
    prop::sample::select(vec![
        Context::Typed,
        Context::Sheet,
        Context::Inbound,
        Context::InboundWaid,
    ])
}

fn any_ddd() -> impl Strategy<Value = u8> {
    prop::sample::select(
        (10..=99)
            .filter(|ddd| area_code(*ddd).is_some())
            .collect::<Vec<_>>(),
    )
}

fn is_canonical_brazilian(text: &str) -> bool {
    let Some(national) = text.strip_prefix("+55") else {
        return false;
    };
    let subscriber = national.get(2..).unwrap_or_default();
    let in_plan = national
        .get(..2)
        .and_then(|ddd| ddd.parse().ok())
        .and_then(area_code)
        .is_some();
    let is_mobile = subscriber.len() == 9 && subscriber.starts_with('9');
    let is_fixed = subscriber.len() == 8 && subscriber.starts_with(['2', '3', '4', '5']);
    in_plan && (is_mobile || is_fixed) && subscriber.bytes().all(|b| b.is_ascii_digit())
}

/// What must hold for whatever was accepted.
fn check_accepted(parsed: &Parsed) {
    let address = &parsed.address;
    let canonical = address.canonical();
    match address.kind() {
        AddressKind::Mobile | AddressKind::Fixed => {
            assert!(is_canonical_brazilian(canonical), "{canonical}");
            let number = PHONE_NUMBER_UTIL.parse(canonical, None).expect("a number");
            assert!(number.is_valid(), "the library refuses {canonical}");
        }
        AddressKind::Foreign => {
            assert!(
                canonical.starts_with('+') && !canonical.starts_with("+55"),
                "{canonical}"
            );
        }
        AddressKind::ScopedUserId => assert_eq!(address.e164(), None),
    }
    assert_eq!(Address::from_canonical(canonical).as_ref(), Some(address));
    assert_eq!(&parse(canonical, Context::Inbound).address, address);
    assert_eq!(
        &parse(&address.whatsapp(), Context::Inbound).address,
        address
    );
    if let Some(e164) = address.e164() {
        for context in [Context::Typed, Context::Sheet] {
            let again = parse(e164, context);
            assert_eq!((&again.address, again.sent_form), (address, None));
        }
        assert_eq!(
            &parse(e164.trim_start_matches('+'), Context::InboundWaid).address,
            address
        );
        check_mask(address);
    }
    if let Some(sent) = &parsed.sent_form {
        assert_ne!(sent, canonical);
        assert_eq!(&parse(sent, Context::Inbound).address, address);
    }
    if let Some(other) = address.alternative() {
        assert_eq!(&parse(&other, Context::Inbound).address, address);
    }
}

fn check_mask(address: &Address) {
    let masked = address.masked().to_string();
    let debug = format!("{address:?}");
    // What is left after the country and area code is the subscriber's.
    let subscriber = masked.rsplit(' ').next().unwrap_or_default();
    let longest = subscriber
        .split(|c: char| !c.is_ascii_digit())
        .map(str::len)
        .max();
    assert!(longest.is_some_and(|digits| digits <= 4), "{masked}");
    assert!(
        subscriber.chars().filter(char::is_ascii_digit).count() <= 4,
        "{masked}"
    );
    assert!(!debug.contains(&address.canonical()[5..]), "{debug}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_panics_and_what_is_accepted_is_canonical(text in any_text(), context in any_context()) {
        match Address::parse(&text, context) {
            Ok(parsed) => check_accepted(&parsed),
            Err(rejection) => {
                let real = rejection.status == RejectStatus::NotAddressable;
                prop_assert_eq!(real, rejection.reason == Reason::NonGeographic);
                prop_assert_eq!(real, rejection.known.is_some());
            }
        }
        let _read = Address::from_canonical(&text);
    }

    #[test]
    fn both_forms_of_a_mobile_are_one_person(
        ddd in any_ddd(), first in 6..=9u8, rest in "[0-9]{7}", context in any_context(),
    ) {
        let with_9 = parse(&format!("+55{ddd}9{first}{rest}"), context);
        let without_9 = parse(&format!("+55{ddd}{first}{rest}"), context);
        prop_assert_eq!(&with_9.address, &without_9.address);
        prop_assert_eq!(with_9.address.canonical(), format!("+55{ddd}9{first}{rest}"));
        prop_assert_eq!(without_9.flags.contains(Flag::MaybeTruncated), first == 9);
        prop_assert_eq!(
            with_9.flags.contains(Flag::SuspectRepeated),
            without_9.flags.contains(Flag::SuspectRepeated)
        );
        check_accepted(&with_9);
        check_accepted(&without_9);
    }

    #[test]
    fn a_landline_never_gains_a_9(ddd in any_ddd(), first in 2..=5u8, rest in "[0-9]{7}") {
        let written = format!("+55{ddd}{first}{rest}");
        let fixed = parse(&written, Context::Inbound);
        prop_assert_eq!(fixed.address.canonical(), &*written);
        prop_assert_eq!(fixed.address.kind(), AddressKind::Fixed);
        prop_assert_eq!(fixed.sent_form.as_deref(), None);
        let mobile = parse(&format!("+55{ddd}9{first}{rest}"), Context::Inbound);
        prop_assert_ne!(&mobile.address, &fixed.address);
        check_accepted(&fixed);
        check_accepted(&mobile);
    }

    #[test]
    fn foreign_numbers_are_stable(written in "\\+(1[2-9][0-9]{9}|5[12346-8][0-9]{8,11}|[2-46-9][0-9]{3,16})") {
        if let Ok(parsed) = Address::parse(&written, Context::Inbound) {
            check_accepted(&parsed);
            prop_assert_eq!(parsed.address.kind(), AddressKind::Foreign);
        }
    }

    #[test]
    fn a_plus_is_never_invented(digits in "[0-9]{1,20}", context in prop::sample::select(vec![Context::Typed, Context::Sheet, Context::Inbound])) {
        if let Ok(parsed) = Address::parse(&digits, context) {
            prop_assert!(is_canonical_brazilian(parsed.address.canonical()));
        }
    }
}
