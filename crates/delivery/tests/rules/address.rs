//! Addresses: tables of cases, properties over generated numbers, and a second opinion from
//! libphonenumber.

mod properties;

use delivery::address::{
    Address, AddressKind, Context, Flag, NonGeographic, Parsed, Reason, RejectStatus, Rejection,
    area_code,
};
use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumber, PhoneNumberType};

const CASES: &str = include_str!("../fixtures/br_phone_cases.csv");
const MORE_CASES: &str = include_str!("../fixtures/br_phone_cases_more.csv");
const AREAS: &str = include_str!("../../data/br_ddd.csv");
const COLUMNS: [&str; 10] = [
    "status", "reason", "type", "e164", "wa_send", "ddd", "uf", "region", "flags", "note",
];

fn parse(text: &str, context: Context) -> Parsed {
    Address::parse(text, context).unwrap_or_else(|rejection| panic!("{text}: {rejection:?}"))
}

fn canonical(text: &str, context: Context) -> String {
    parse(text, context).address.canonical().to_owned()
}

fn reason(text: &str, context: Context) -> Option<Reason> {
    Address::parse(text, context)
        .err()
        .map(|rejection| rejection.reason)
}

fn context(word: &str) -> Context {
    match word {
        "typed" => Context::Typed,
        "sheet" => Context::Sheet,
        "inbound" => Context::Inbound,
        "inbound_waid" => Context::InboundWaid,
        other => panic!("no such context: {other}"),
    }
}

/// The columns `status` to `flags` as the parser fills them.
fn columns(result: &Result<Parsed, Rejection>) -> [String; 9] {
    match result {
        Ok(parsed) => {
            let address = &parsed.address;
            let area = address.area_code();
            [
                "ok".into(),
                String::new(),
                address.kind().as_str().into(),
                address.e164().unwrap_or_default().into(),
                address.whatsapp(),
                area.map(|area| area.ddd.to_string()).unwrap_or_default(),
                area.map(|area| area.uf).unwrap_or_default().into(),
                address.region().unwrap_or_default().into(),
                parsed.flags.to_string(),
            ]
        }
        Err(rejection) => {
            let known = rejection.known.as_ref();
            let mut columns: [String; 9] = Default::default();
            columns[0] = rejection.status.as_str().into();
            columns[1] = rejection.reason.as_str().into();
            columns[2] = known
                .map(|known| known.kind.as_str())
                .unwrap_or_default()
                .into();
            columns[3] = known
                .and_then(|known| known.e164.clone())
                .unwrap_or_default();
            columns[7] = known.map(|known| known.region).unwrap_or_default().into();
            columns
        }
    }
}

/// Compares every column of every row and gives the number of rows.
fn check_table(table: &str) -> usize {
    let mut reader = csv::Reader::from_reader(table.as_bytes());
    let header = reader.headers().expect("a header").clone();
    assert_eq!(
        header.iter().take(3).collect::<Vec<_>>(),
        ["id", "input", "context"]
    );
    assert_eq!(header.iter().skip(3).collect::<Vec<_>>(), COLUMNS);
    let mut rows = 0;
    let mut wrong = Vec::new();
    for row in reader.records() {
        let row = row.expect("a row");
        let found = columns(&Address::parse(&row[1], context(&row[2])));
        for ((name, found), wanted) in COLUMNS.iter().zip(&found).zip(row.iter().skip(3)) {
            if found != wanted {
                wrong.push(format!(
                    "{} {:?} {name}: {found:?}, not {wanted:?}",
                    &row[0], &row[1]
                ));
            }
        }
        rows += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    rows
}

#[test]
fn every_case_of_the_table_is_read_as_it_says() {
    assert_eq!(check_table(CASES), 69);
}

#[test]
fn every_further_case_is_read_as_it_says() {
    assert_eq!(check_table(MORE_CASES), 95);
}

#[test]
fn area_codes_are_those_of_the_table_and_no_others() {
    let mut reader = csv::Reader::from_reader(AREAS.as_bytes());
    let mut listed = Vec::new();
    for row in reader.records() {
        let row = row.unwrap();
        let ddd: u8 = row[0].parse().unwrap();
        let area = area_code(ddd).unwrap();
        assert_eq!(
            [
                &area.ddd.to_string(),
                area.uf,
                area.region,
                area.main_city,
                area.timezone
            ],
            [&row[0], &row[1], &row[2], &row[3], &row[4]],
        );
        listed.push(ddd);
    }
    assert_eq!(listed.len(), 67);
    for ddd in 0..=u8::MAX {
        assert_eq!(area_code(ddd).is_some(), listed.contains(&ddd), "{ddd}");
    }
    // A leading 0 would be a trunk prefix.
    for ddd in (10..=99).filter(|ddd| !listed.contains(ddd)) {
        for text in [format!("+55{ddd}988887777"), format!("+55{ddd}32221234")] {
            assert!(Address::parse(&text, Context::Typed).is_err(), "{text}");
            assert_eq!(Address::from_canonical(&text), None, "{text}");
        }
    }
}

#[test]
fn each_area_code_is_read_with_and_without_the_ninth_digit_in_every_spelling() {
    for area in (10..=99).filter_map(area_code) {
        let ddd = area.ddd;
        for first in 6..=9 {
            let wanted = format!("+55{ddd}9{first}8887777");
            for text in [
                format!("{ddd}9{first}8887777"),
                format!("{ddd}{first}8887777"),
                format!("({ddd}) {first}888-7777"),
                format!("0{ddd} 9{first}888-7777"),
                format!("0xx{ddd} {first}888-7777"),
                format!("0 41 {ddd} {first}888-7777"),
                format!("55{ddd}9{first}8887777"),
                format!("55{ddd}{first}8887777"),
                format!("0055{ddd}{first}8887777"),
                format!("+55 {ddd} {first}888 7777"),
                format!("+55 0{ddd} 9{first}888 7777"),
                format!("+5555{ddd}9{first}8887777"),
            ] {
                let parsed = parse(&text, Context::Typed);
                assert_eq!(parsed.address.canonical(), wanted, "{text}");
                assert_eq!(parsed.address.area_code(), Some(area), "{text}");
                assert_eq!(parsed.sent_form, None, "{text}");
            }
            let old = format!("+55{ddd}{first}8887777");
            let inbound = parse(&format!("whatsapp:{old}"), Context::Inbound);
            assert_eq!(inbound.address.canonical(), wanted);
            assert_eq!(inbound.address.alternative().as_ref(), Some(&old));
            assert_eq!(inbound.sent_form, Some(old));
            assert!(inbound.flags.contains(Flag::NinthAdded));
            let with_9 = parse(&format!("whatsapp:{wanted}"), Context::Inbound);
            assert_eq!((with_9.sent_form, with_9.flags.is_empty()), (None, true));
        }
        for first in 2..=5 {
            let text = format!("+55{ddd}{first}2221234");
            let fixed = parse(&text, Context::Typed).address;
            assert_eq!(
                (fixed.kind(), fixed.canonical()),
                (AddressKind::Fixed, &*text)
            );
            assert_eq!(fixed.area_code(), Some(area));
            assert_eq!(fixed.alternative(), None);
            let mobile = parse(&format!("+55{ddd}9{first}2221234"), Context::Typed).address;
            assert_eq!(mobile.kind(), AddressKind::Mobile);
            assert_ne!(fixed, mobile);
            // Without its 9 this mobile would be the landline above, which is somebody else's.
            assert_eq!(mobile.alternative(), None);
        }
    }
}

#[test]
fn what_the_provider_wrote_is_kept_only_where_it_is_another_form() {
    for (text, context, sent) in [
        (
            "whatsapp:+558588887777",
            Context::Inbound,
            Some("+558588887777"),
        ),
        (
            "whatsapp: 558588887777",
            Context::Inbound,
            Some("+558588887777"),
        ),
        ("558588887777", Context::InboundWaid, Some("+558588887777")),
        ("whatsapp:+554133334444", Context::Inbound, None),
        (
            "whatsapp:+5215512345678",
            Context::Inbound,
            Some("+5215512345678"),
        ),
        (
            "5215512345678",
            Context::InboundWaid,
            Some("+5215512345678"),
        ),
        ("whatsapp:+525512345678", Context::Inbound, None),
        ("whatsapp:BR.1234567890123456", Context::Inbound, None),
        ("+5215512345678", Context::Typed, None),
        ("(85) 8888-7777", Context::Sheet, None),
    ] {
        assert_eq!(parse(text, context).sent_form.as_deref(), sent, "{text}");
    }
}

#[test]
fn argentine_landlines_and_mobiles_stay_apart() {
    let mobile = "+5491123456789";
    for text in [
        "+54 9 11 2345-6789",
        "+54 11 15 2345-6789",
        "+54 9 11 15 2345-6789",
    ] {
        assert_eq!(canonical(text, Context::Typed), mobile, "{text}");
    }
    let fixed = parse("+54 11 2345-6789", Context::Typed);
    assert_eq!(fixed.address.canonical(), "+541123456789");
    assert!(fixed.flags.is_empty());
}

#[test]
fn the_example_numbers_of_all_countries_are_read_masked_and_read_back() {
    let mut numbers = 0;
    for region in PHONE_NUMBER_UTIL.get_supported_regions() {
        for kind in [PhoneNumberType::Mobile, PhoneNumberType::FixedLine] {
            let example = PHONE_NUMBER_UTIL.get_example_number_for_type_and_region(region, kind);
            if let Ok(example) = example {
                check_example(&example);
                numbers += 1;
            }
        }
    }
    assert!(numbers > 400, "{numbers}");
}

fn check_example(example: &PhoneNumber) {
    let written = example.to_string();
    let address = parse(&written, Context::Typed).address;
    assert_eq!(address.canonical(), written);
    let code = example.get_region_code().map(|region| region.to_string());
    assert_eq!(address.region(), code.as_deref());
    assert_eq!(
        Address::from_canonical(&written).as_ref(),
        Some(&address),
        "{written}"
    );
    assert_eq!(canonical(&address.whatsapp(), Context::Inbound), written);
    assert_eq!(canonical(&written[1..], Context::InboundWaid), written);
    if address.kind() == AddressKind::Foreign {
        let country = format!("+{} ***…", example.country_code);
        assert!(
            address.masked().to_string().starts_with(&country),
            "{written}"
        );
        assert_eq!(address.area_code(), None);
        assert_eq!(address.alternative(), None);
    }
}

#[test]
fn numbers_are_shown_masked_only() {
    for (text, masked) in [
        ("+5585988887777", "+55 85 9****-**77"),
        ("+558532221234", "+55 85 ****-**34"),
        ("+14155552671", "+1 ***…71"),
        ("+351912345678", "+351 ***…78"),
        ("BR.1234567890123456", "BR.****…"),
    ] {
        let parsed = parse(text, Context::Inbound);
        assert_eq!(parsed.address.masked().to_string(), masked);
        assert_eq!(
            format!("{:?}", parsed.address),
            format!("Address({masked})")
        );
        assert_eq!(
            format!("{:>30}", parsed.address.masked()).chars().count(),
            30
        );
    }
    let parsed = parse("whatsapp:+558588887777", Context::Inbound);
    assert_eq!(
        format!("{parsed:?}"),
        "Parsed { address: Address(+55 85 9****-**77), flags: {NinthAdded}, has_sent_form: true }"
    );
    let service = Address::parse("0800 123 4567", Context::Typed).unwrap_err();
    assert_eq!(service.status, RejectStatus::NotAddressable);
    assert_eq!(
        service.known.as_ref().unwrap().kind,
        NonGeographic::TollFree
    );
    assert!(!format!("{service:?}").contains("123"));
}

#[test]
fn flags_and_reasons_have_distinct_words_and_advice() {
    let words: std::collections::HashSet<_> = Flag::ALL.map(Flag::as_str).into();
    assert_eq!(words.len(), Flag::ALL.len());
    let words: std::collections::HashSet<_> = Reason::ALL.map(Reason::as_str).into();
    assert_eq!(words.len(), Reason::ALL.len());
    for reason in Reason::ALL {
        let text = reason.explain();
        assert!(
            text.ends_with('.') && text.matches(". ").count() == 0,
            "{text}"
        );
    }
}

#[test]
fn canonical_forms_are_taken_as_they_are_or_not_at_all() {
    for text in [
        "+5585988887777",
        "+558532221234",
        "+14155552671",
        "BR.1",
        "US.ENT.abc123",
        // Shape alone counts for other countries: the plan may have changed since.
        "+10000000000",
    ] {
        assert_eq!(Address::from_canonical(text).unwrap().canonical(), text);
    }
    for text in [
        "",
        "+",
        "+55",
        "5585988887777",
        "+558588887777",
        "+55 85988887777",
        "+5585988887777 ",
        "+55859888877770",
        "+5520988887777",
        "+558512221234",
        "+55859888x7777",
        "+5215512345678",
        "+0123456789",
        "+123456",
        "+1234567890123456",
        "whatsapp:+5585988887777",
        "BR.",
        "br.123",
        "BRA.123",
        "BR.12-3",
        "BR.ENT.",
        "+٨٥٩٨٨٨٨٧٧٧٧",
        "+558001234567",
    ] {
        assert_eq!(Address::from_canonical(text), None, "{text}");
    }
}

#[test]
fn user_ids_have_bounds() {
    let longest = format!("whatsapp:BR.{}", "a".repeat(128));
    assert_eq!(
        parse(&longest, Context::Inbound).address.kind(),
        AddressKind::ScopedUserId
    );
    assert_eq!(
        reason(&format!("{longest}a"), Context::Inbound),
        Some(Reason::Letters)
    );
    assert_eq!(reason("BR.123456", Context::Typed), Some(Reason::Letters));
    let typed = parse("BR.1234567890123456", Context::Typed).address;
    assert_eq!(
        typed,
        parse("whatsapp:BR.1234567890123456", Context::Typed).address
    );
    assert_eq!(
        (typed.e164(), typed.region(), typed.area_code()),
        (None, None, None)
    );
}
