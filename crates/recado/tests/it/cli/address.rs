//! `recado address`: the words of the table of cases, and no input that it fails on.

use serde_json::{Value, json};

use super::{ended, err, lines, out};
use crate::gateway::{Folder, run};

const CASES: &str = include_str!("../../../../delivery/tests/fixtures/br_phone_cases.csv");
const CASES_FILE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../delivery/tests/fixtures/br_phone_cases.csv"
);

/// Asserts that a reading says what its row of the table says.
#[track_caller]
fn agrees(reading: &Value, row: &csv::StringRecord, names: &csv::StringRecord) {
    let cell = |name: &str| {
        row.get(names.iter().position(|n| n == name).unwrap())
            .unwrap()
    };
    let id = cell("id");
    assert_eq!(reading["input"], cell("input"), "{id}");
    // `status` tells what can be sent to from what cannot; the table's word is the verdict.
    let status = if cell("status") == "ok" {
        "ok"
    } else {
        "reject"
    };
    assert_eq!(reading["status"], status, "{id} {reading}");
    assert_eq!(reading["verdict"], cell("status"), "{id} {reading}");
    for (field, column) in [
        ("reason", "reason"),
        ("type", "type"),
        ("e164", "e164"),
        ("ddd", "ddd"),
        ("uf", "uf"),
    ] {
        let wanted = match cell(column) {
            "" => Value::Null,
            word => json!(word),
        };
        assert_eq!(reading[field], wanted, "{id} {field} {reading}");
    }
    let mut flags: Vec<&str> = cell("flags")
        .split(';')
        .filter(|flag| !flag.is_empty())
        .collect();
    let mut found: Vec<&str> = reading["flags"]
        .as_array()
        .unwrap()
        .iter()
        .map(|flag| flag.as_str().unwrap())
        .collect();
    flags.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, flags, "{id} {reading}");
}

#[test]
fn every_row_of_the_table_reads_as_the_table_says() {
    let mut reader = csv::Reader::from_reader(CASES.as_bytes());
    let names = reader.headers().unwrap().clone();
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    let output = run(&["address", "--json", "--csv", CASES_FILE], &[]);
    ended(&output, 0);
    assert_eq!(err(&output), "");
    let readings = lines(&output);
    assert_eq!(readings.len(), rows.len());
    for (reading, row) in readings.iter().zip(&rows) {
        agrees(reading, row, &names);
    }
    // The same, given as arguments.
    for context in ["typed", "sheet", "inbound"] {
        let of_context: Vec<_> = rows
            .iter()
            .filter(|row| row.get(2) == Some(context))
            .collect();
        let mut arguments = vec!["address", "--json", "--context", context, "--"];
        arguments.extend(of_context.iter().map(|row| row.get(1).unwrap()));
        let output = run(&arguments, &[]);
        ended(&output, 0);
        let readings = lines(&output);
        assert_eq!(readings.len(), of_context.len(), "{context}");
        for (reading, row) in readings.iter().zip(of_context) {
            agrees(reading, row, &names);
        }
    }
}

#[test]
fn no_input_makes_it_fail() {
    let long = "9".repeat(100_000);
    let strange = [
        "",
        " ",
        "+",
        "++",
        "-",
        "0",
        "()",
        "whatsapp:",
        "whatsapp:+",
        "+55",
        "+0",
        "1e308",
        "NaN",
        "8,5989E+10",
        "٨٥٩٨٨٨٨٧٧٧٧",
        "８５９８８８８７７７７",
        "🦀",
        "\u{202e}85988887777",
        "\n\t\r",
        "a\u{0}b".trim_end_matches('b'),
        "' OR 1=1",
        "+551140000000x123",
        &long,
    ];
    let strange: Vec<&str> = strange
        .into_iter()
        .filter(|text| !text.contains('\0'))
        .collect();
    for context in ["typed", "sheet", "inbound", "inbound_waid"] {
        let mut arguments = vec!["address", "--json", "--context", context, "--"];
        arguments.extend(&strange);
        let output = run(&arguments, &[]);
        ended(&output, 0);
        let readings = lines(&output);
        assert_eq!(readings.len(), strange.len());
        for (reading, input) in readings.iter().zip(&strange) {
            assert_eq!(reading["input"], **input);
            let reason = reading["reason"].is_string();
            assert_eq!(reading["status"] == "reject", reason, "{reading}");
        }
    }
    // Numbers that begin with a minus need no separator.
    let output = run(&["address", "--json", "-85988887777"], &[]);
    ended(&output, 0);
    assert_eq!(lines(&output).len(), 1);
}

#[test]
fn sheets_are_read_as_programs_write_them() {
    let folder = Folder::new();
    let path = folder.0.path().join("people.csv");
    let file = path.to_str().unwrap();
    let read = |text: &[u8]| {
        std::fs::write(&path, text).unwrap();
        run(&["address", "--json", "--csv", file], &[])
    };
    for (name, text) in [
        ("plain", b"input\n85988887777\n".as_slice()),
        ("other columns", b"name,input,note\nAna,85988887777,x\n"),
        ("a byte order mark", b"\xef\xbb\xbfinput\n85988887777\n"),
        ("semicolons", b"name;input\nAna;85988887777\n"),
        ("the old code page", b"name,input\nJo\xe3o,85988887777\n"),
        ("windows line ends", b"input\r\n85988887777\r\n"),
        ("short and long rows", b"input,context,note\n85988887777\n"),
        ("a context", b"input,context\n85988887777,typed\n"),
    ] {
        let output = read(text);
        ended(&output, 0);
        let readings = lines(&output);
        assert_eq!(readings.len(), 1, "{name}");
        assert_eq!(readings[0]["e164"], "+5585988887777", "{name}");
    }
    let nothing = read(b"input,context\n");
    ended(&nothing, 0);
    assert_eq!(out(&nothing), "");
    for (text, word) in [
        (b"number\n1\n".as_slice(), "input"),
        (b"", "input"),
        (b"input,context\n1,sea\n", "sea"),
    ] {
        let output = read(text);
        ended(&output, 2);
        assert!(err(&output).contains(word), "{}", err(&output));
    }
    let missing = run(&["address", "--csv", "/nowhere/people.csv"], &[]);
    ended(&missing, 1);
    assert!(
        err(&missing).contains("/nowhere/people.csv"),
        "{}",
        err(&missing)
    );
}

#[test]
fn people_get_a_table() {
    let output = run(&["address", "(85) 98888-7777", "123"], &[]);
    ended(&output, 0);
    let text = out(&output);
    for word in [
        "input",
        "verdict",
        "(85) 98888-7777",
        "+5585988887777",
        "mobile",
        "CE",
        "123",
        "invalid",
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
}
