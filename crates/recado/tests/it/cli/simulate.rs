//! `recado simulate`: the simulator as a process.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::{ended, err};
use crate::client::Http;
use crate::gateway::{Folder, command, run};

#[tokio::test(flavor = "multi_thread")]
async fn its_first_line_says_how_to_reach_it_and_it_ends_on_sigterm() {
    let folder = Folder::new();
    let faults = folder.0.path().join("faults.json");
    std::fs::write(&faults, "{\"callback_lost\": 0.5}").unwrap();
    let phones = folder.0.path().join("phones.json");
    std::fs::write(
        &phones,
        "[{\"number\": \"+5585980000001\", \"character\": \"off\"}]",
    )
    .unwrap();
    let arguments = [
        "simulate",
        "--json",
        "--listen",
        "127.0.0.1:0",
        "--sender",
        "+551140000000",
        "--seed",
        "7",
        "--auth-token",
        "ffffffffffffffffffffffffffffffff",
        "--faults",
        faults.to_str().unwrap(),
        "--phones",
        phones.to_str().unwrap(),
    ];
    let mut child = command(&arguments, &[])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    stdout.read_line(&mut first).unwrap();
    let first: Value = serde_json::from_str(&first).unwrap();
    assert_eq!(first["account_sid"], "AC00000000000000000000000000000001");
    assert_eq!(first["auth_token"], "ffffffffffffffffffffffffffffffff");
    let url = first["url"].as_str().unwrap();
    let truth = Http::new()
        .request("GET", &format!("{url}/simulator/truth"), &[], None)
        .await
        .unwrap();
    assert_eq!(truth.status, 200, "{}", truth.text);
    let id = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-s", "TERM", &id])
            .status()
            .unwrap()
            .success()
    );
    let (mut rest, mut errors) = (String::new(), String::new());
    stdout.read_to_string(&mut rest).unwrap();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut errors)
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{errors}");
    assert_eq!(rest, "", "one line and nothing else");
}

#[test]
fn what_cannot_be_used_is_named() {
    let folder = Folder::new();
    let file = folder.0.path().join("faults.json");
    let path = file.to_str().unwrap();
    std::fs::write(&file, "{\"callback_lots\": 1}").unwrap();
    let output = run(&["simulate", "--faults", path], &[]);
    ended(&output, 2);
    assert!(err(&output).contains("callback_lots"), "{}", err(&output));
    let output = run(&["simulate", "--phones", "/nowhere.json"], &[]);
    ended(&output, 1);
    assert!(err(&output).contains("/nowhere.json"));
    let both = [
        "simulate",
        "--account-sid",
        "AC1",
        "--auth-token",
        "",
        "--time-scale",
        "nan",
    ];
    let output = run(&both, &[]);
    ended(&output, 2);
    for word in ["--account-sid", "--auth-token", "--time-scale"] {
        assert!(err(&output).contains(word), "{word} {}", err(&output));
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = run(&["simulate", "--listen", &address], &[]);
    ended(&output, 1);
    assert!(err(&output).contains(&address), "{}", err(&output));
}
