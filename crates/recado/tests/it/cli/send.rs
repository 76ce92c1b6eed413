//! `recado send`: one message, and how it ends.

use serde_json::json;
use simulator::{Phone, PhoneBehavior};

use super::{ended, err, lines, out};
use crate::gateway::run;
use crate::server::{TEMPLATE, TestServer, mobile};

fn phones(settings: &mut simulator::Settings) {
    settings.phones = [
        (1, PhoneBehavior::ReadsAtOnce),
        (2, PhoneBehavior::NeverReads),
        (3, PhoneBehavior::Fails(63_013)),
    ]
    .map(|(n, character)| Phone {
        number: mobile(n),
        character,
    })
    .to_vec();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_message_is_sent_and_waited_for() {
    let server = TestServer::with(phones, &[]).await;
    let to_template = ["send", "--to", "(85) 98000-0001", "--content-sid", TEMPLATE];
    let template = [
        &to_template[..],
        &["--var", "1=a=b", "--var", "2=ção", "--json"],
    ]
    .concat();
    let output = server.cli(&template);
    ended(&output, 0);
    let result = &lines(&output)[0];
    assert!(
        ["delivered", "read"].contains(&result["state"].as_str().unwrap()),
        "{result}"
    );
    let id = result["id"].as_str().unwrap();
    let message = server.message(id).await;
    assert_eq!(message["to"], mobile(1));
    let variables: serde_json::Value = serde_json::from_str(
        server.simulator.truth()[0]
            .content_variables
            .as_ref()
            .unwrap(),
    )
    .unwrap();
    assert_eq!(variables, json!({ "1": "a=b", "2": "ção" }));

    let failing = server.cli(&[
        "send",
        "--to",
        &mobile(3),
        "--content-sid",
        TEMPLATE,
        "--json",
    ]);
    ended(&failing, 3);
    let result = &lines(&failing)[0];
    assert_eq!(result["state"], "failed");
    assert!(result["remark"].as_str().unwrap().len() > 10, "{result}");

    let all = [
        "send",
        "--to",
        &mobile(4),
        "--content-sid",
        TEMPLATE,
        "--kind",
        "marketing",
        "--priority",
        "bulk",
        "--delivery",
        "ask",
        "--send-at",
        "2027-01-02T03:04:05Z",
        "--expires-at",
        "2027-01-03T00:00:00-03:00",
        "--wait",
        "0",
    ];
    let output = server.cli(&all);
    ended(&output, 0);
    let text = out(&output);
    let id = text.split(' ').next().unwrap();
    assert!(text.contains("is scheduled"), "{text}");
    let message = server.message(id).await;
    for (field, value) in [
        ("kind", "marketing"),
        ("priority", "bulk"),
        ("delivery", "ask"),
        ("send_at", "2027-01-02T03:04:05.000000Z"),
        ("expires_at", "2027-01-03T03:00:00.000000Z"),
    ] {
        assert_eq!(message[field], value, "{field}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_way_to_fail_has_its_exit_code() {
    let server = TestServer::with(phones, &[]).await;
    let good = ["send", "--content-sid", TEMPLATE, "--wait", "0", "--to"];
    let to = mobile(9);
    for (arguments, code, word) in [
        (
            vec!["send", "--to", "123", "--content-sid", TEMPLATE],
            1,
            "422",
        ),
        (vec!["send", "--to", &to, "--body", "oi"], 1, "24 hours"),
        (vec!["send", "--to", &to], 1, "body, content_sid"),
        (
            vec!["send", "--to", &to, "--content-sid", TEMPLATE, "--var", "1"],
            2,
            "NAME=VALUE",
        ),
        (
            vec![
                "send",
                "--to",
                &to,
                "--content-sid",
                TEMPLATE,
                "--url",
                "http://127.0.0.1:1",
            ],
            1,
            "cannot be reached",
        ),
        (
            vec![
                "send",
                "--to",
                &to,
                "--content-sid",
                TEMPLATE,
                "--url",
                "nonsense",
            ],
            2,
            "nonsense",
        ),
        (
            vec![
                "send",
                "--to",
                &to,
                "--content-sid",
                TEMPLATE,
                "--api-key",
                "rk_a_b",
            ],
            1,
            "401",
        ),
        (
            vec![
                "send",
                "--to",
                &to,
                "--content-sid",
                TEMPLATE,
                "--api-key",
                "a\nb",
            ],
            2,
            "key",
        ),
    ] {
        let output = server.cli(&arguments);
        ended(&output, code);
        assert!(
            err(&output).contains(word),
            "{arguments:?} {}",
            err(&output)
        );
        assert_eq!(out(&output), "");
    }
    let output = run(&[&good[..], &[&to]].concat(), &[]);
    ended(&output, 2);
    assert!(err(&output).contains("RECADO_API_KEY"), "{}", err(&output));
    assert!(server.messages("").await.is_empty());
}
