//! `recado send --csv`: spreadsheets as people have them.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::{ended, err, lines, out};
use crate::gateway::{Folder, run};
use crate::server::{TEMPLATE, TestServer, mobile};

struct Sheet(Folder);

impl Sheet {
    fn new(text: impl AsRef<[u8]>) -> Self {
        let folder = Folder::new();
        std::fs::write(folder.0.path().join("people.csv"), text).unwrap();
        Self(folder)
    }

    fn path(&self) -> PathBuf {
        self.0.0.path().join("people.csv")
    }

    fn dry(&self, more: &[&str]) -> std::process::Output {
        let path = self.path();
        let base = [
            "send",
            "--dry-run",
            "--json",
            "--csv",
            path.to_str().unwrap(),
        ];
        // Without a server and without a key.
        run(&[&base[..], more].concat(), &[])
    }

    fn send(&self, server: &TestServer, more: &[&str]) -> std::process::Output {
        let path = self.path();
        server.cli(&[&["send", "--csv", path.to_str().unwrap()][..], more].concat())
    }
}

fn verdicts(output: &std::process::Output) -> Vec<String> {
    let word = |line: &Value| line["verdict"].as_str().unwrap().to_owned();
    lines(output).iter().map(word).collect()
}

const PEOPLE: &str = "nome,telefone,1\nAna,(85) 98000-0001,14:00\nBia,85 8000-0002,15:00\n\
    Ana,+55 85 98000-0001,14:00\nCau,98000-0003,16:00\n\nDavi,,17:00\nEva,85999999999,18:00\n";

#[test]
fn a_dry_run_says_what_is_thought_of_each_row() {
    let sheet = Sheet::new(PEOPLE);
    let output = sheet.dry(&["--content-sid", TEMPLATE]);
    ended(&output, 3);
    let rows = lines(&output);
    let expected = [
        (2, "(85) 98000-0001", "ok"),
        (3, "85 8000-0002", "ok"),
        (4, "+55 85 98000-0001", "repeated"),
        (5, "98000-0003", "missing_ddd"),
        (7, "", "empty"),
        (8, "85999999999", "doubtful"),
    ];
    assert_eq!(rows.len(), expected.len(), "{rows:#?}");
    for (row, (line, input, verdict)) in rows.iter().zip(expected) {
        let found = (&row["line"], &row["input"], &row["verdict"]);
        assert_eq!(
            found,
            (&json!(line), &json!(input), &json!(verdict)),
            "{row}"
        );
        assert!(row["detail"].as_str().unwrap().len() > 5, "{row}");
    }
    let doubtful = sheet.dry(&["--content-sid", TEMPLATE, "--send-doubtful"]);
    assert_eq!(verdicts(&doubtful)[5], "ok");
    let path = sheet.path();
    let plain = run(
        &[
            "send",
            "--dry-run",
            "--csv",
            path.to_str().unwrap(),
            "--content-sid",
            TEMPLATE,
        ],
        &[],
    );
    ended(&plain, 3);
    assert!(
        out(&plain).ends_with("2 of 6 rows can be sent\n"),
        "{}",
        out(&plain)
    );
    // Without content nothing can be sent; with good rows alone it ends with 0.
    assert!(verdicts(&sheet.dry(&[])).contains(&"content_missing".to_owned()));
    let good = Sheet::new("to,body\n85980000001,oi\n");
    ended(&good.dry(&[]), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sheet_is_sent_once_however_often_it_is_sent() {
    let server = TestServer::start().await;
    let sheet = Sheet::new(PEOPLE);
    let arguments = ["--content-sid", TEMPLATE, "--json"];
    let first = sheet.send(&server, &arguments);
    ended(&first, 3);
    let rows = lines(&first);
    assert_eq!(rows.len(), 6);
    let states: Vec<&str> = rows
        .iter()
        .map(|row| row["state"].as_str().unwrap())
        .collect();
    for state in &states[..2] {
        assert!(["delivered", "read"].contains(state), "{states:?}");
    }
    assert_eq!(states[2..], ["repeated", "refused", "refused", "refused"]);
    assert_eq!(server.simulator.truth().len(), 2);
    let again = sheet.send(&server, &arguments);
    ended(&again, 3);
    for (old, new) in rows.iter().zip(lines(&again)) {
        assert_eq!(old["id"], new["id"]);
    }
    // The same people in another file, in another order and another spelling.
    let other =
        Sheet::new("telefone;1\n+5585980000002;15:00\n85 8000-0001;14:00\n85980000004;9:00\n");
    ended(&other.send(&server, &arguments), 0);
    assert_eq!(server.simulator.truth().len(), 3, "only who is new");
    let table = other.send(&server, &["--content-sid", TEMPLATE]);
    ended(&table, 0);
    assert!(out(&table).contains("number as typed"), "{}", out(&table));
    assert_eq!(server.messages("").await.len(), 3);
    assert_eq!(server.simulator.truth().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_refuses_is_told_row_by_row() {
    let server = TestServer::start().await;
    let opted_out = json!({ "to": mobile(3), "consent": "opted_out" });
    server.put("/api/v1/consent", &opted_out).await;
    let sheet = Sheet::new(format!(
        "to,body,content_sid,1,priority\n{},oi,,,\n{},,{TEMPLATE},a,\n{},,{TEMPLATE},a,\n{},,{TEMPLATE},a,soon\n",
        mobile(1),
        mobile(2),
        mobile(3),
        mobile(4)
    ));
    let output = sheet.send(&server, &["--json"]);
    ended(&output, 3);
    let rows = lines(&output);
    let of = |n: usize, field: &str| rows[n][field].as_str().unwrap_or_default().to_owned();
    assert_eq!(of(0, "state"), "refused");
    assert!(of(0, "remark").contains("24 hours"), "{}", of(0, "remark"));
    assert!(["delivered", "read"].contains(&of(1, "state").as_str()));
    assert_eq!(of(2, "state"), "suppressed");
    assert_eq!(of(3, "state"), "refused");
    assert!(of(3, "remark").contains("urgent"), "{}", of(3, "remark"));
}

#[tokio::test(flavor = "multi_thread")]
async fn more_rows_than_one_request_takes() {
    let server = TestServer::start().await;
    let mut text = String::from("to,content_sid,send_at\n");
    for n in 0..1_201 {
        text.push_str(&format!("{},{TEMPLATE},2027-01-02T03:04:05Z\n", mobile(n)));
    }
    let sheet = Sheet::new(text);
    let output = sheet.send(&server, &["--json", "--wait", "0"]);
    ended(&output, 0);
    let rows = lines(&output);
    assert_eq!(rows.len(), 1_201);
    assert!(rows.iter().all(|row| row["state"] == "scheduled"));
    assert_eq!(server.messages("state=scheduled").await.len(), 1_201);
}

#[tokio::test(flavor = "multi_thread")]
async fn old_code_pages_semicolons_and_marks_are_read() {
    let server = TestServer::start().await;
    // As Excel writes them: Windows-1252 with its own letters between 0x80 and 0x9f.
    let old = b"Celular;1\r\n(85) 98000-0001;Jo\xe3o \x96 \x93caf\xe9\x94 \x80 5\x85\r\n".to_vec();
    let marked = format!("\u{feff}celular;1\n{};João – “café” € 5…\n", mobile(2)).into_bytes();
    let quoted = format!("\"to\",\"1\"\n\"{}\",\"a, \"\"b\"\"; c\"\n", mobile(3)).into_bytes();
    for text in [old, marked, quoted] {
        let output = Sheet::new(text).send(&server, &["--content-sid", TEMPLATE, "--json"]);
        ended(&output, 0);
    }
    let bodies: Vec<String> = server
        .simulator
        .truth()
        .iter()
        .map(|m| m.body.clone())
        .collect();
    let name = "João – “café” € 5…";
    assert_eq!(bodies, [name, name, "a, \"b\"; c"]);
}

#[test]
fn files_that_cannot_be_used_are_named() {
    for (text, code, word) in [
        ("nome,idade\nAna,3\n", 2, "no column for the number"),
        ("", 2, "is empty"),
        ("\n\n", 2, "is empty"),
    ] {
        let output = Sheet::new(text).dry(&[]);
        ended(&output, code);
        assert!(err(&output).contains(word), "{}", err(&output));
    }
    // As a spreadsheet program writes "Unicode text".
    let utf_16: Vec<u8> = "\u{feff}to\n"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let output = Sheet::new(utf_16).dry(&[]);
    ended(&output, 2);
    assert!(err(&output).contains("UTF-16"), "{}", err(&output));
    let missing = run(&["send", "--dry-run", "--csv", "/nowhere/people.csv"], &[]);
    ended(&missing, 1);
    assert!(err(&missing).contains("/nowhere/people.csv"));
    let empty = Sheet::new("to,body\n").dry(&[]);
    ended(&empty, 0);
    assert_eq!(out(&empty), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_answering_half_way_is_told_row_by_row() {
    let server = TestServer::with(|_| {}, &[("RECADO_API_RATE", "1")]).await;
    let mut text = String::from("to,content_sid,send_at\n");
    for n in 0..1_100 {
        let to = mobile(n);
        text.push_str(&format!("{to},{TEMPLATE},2027-01-02T03:04:05Z\n"));
    }
    let sheet = Sheet::new(text);
    let output = sheet.send(&server, &["--json", "--wait", "0"]);
    ended(&output, 3);
    let rows = lines(&output);
    assert_eq!(rows.len(), 1_100);
    for (n, row) in rows.iter().enumerate() {
        let state = if n < 500 { "scheduled" } else { "unanswered" };
        assert_eq!(row["state"], state, "{row}");
        assert_eq!(row["id"].is_string(), n < 500, "{row}");
    }
    let remark = rows[500]["remark"].as_str().unwrap();
    assert!(remark.contains("429"), "{remark}");
}
