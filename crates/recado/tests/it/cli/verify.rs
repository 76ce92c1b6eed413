//! `recado verify`: nothing differs, or it says what.

use serde_json::json;

use super::{ended, err, lines, out};
use crate::gateway::{Folder, run};
use crate::server::{MASTER_KEY, TestServer, mobile, notice};

#[tokio::test(flavor = "multi_thread")]
async fn a_counter_that_was_touched_is_found() {
    let mut server = TestServer::start().await;
    let id = server.accept(notice(&mobile(1), "oi")).await;
    server
        .until(&id, |message| message["delivered_at"].is_string())
        .await;
    let good = server.cli(&["verify", "--json"]);
    ended(&good, 0);
    let report = &lines(&good)[0];
    assert_eq!(
        (&report["messages"], &report["differences"]),
        (&json!(1), &json!([]))
    );
    assert!(report["events"].as_u64().unwrap() >= 3);
    assert!(report["counters"].as_u64().unwrap() >= 3);
    assert!(out(&server.cli(&["verify"])).contains("0 differences"));
    server.gateway.kill();
    for (change, undo) in [
        (
            "UPDATE counter SET n = n + 1 WHERE metric = 0",
            "UPDATE counter SET n = n - 1 WHERE metric = 0",
        ),
        (
            "UPDATE progress SET state = 2",
            "UPDATE progress SET state = 13",
        ),
        (
            "UPDATE progress SET sent_at = sent_at + 1",
            "UPDATE progress SET sent_at = sent_at - 1",
        ),
    ] {
        let database = rusqlite::Connection::open(server.database()).unwrap();
        let state: i64 = database
            .query_row("SELECT state FROM progress", [], |row| row.get(0))
            .unwrap();
        assert_eq!(database.execute(change, []).unwrap(), 1);
        let bad = server.cli(&["verify", "--json"]);
        ended(&bad, 1);
        let report = &lines(&bad)[0];
        assert!(
            !report["differences"].as_array().unwrap().is_empty(),
            "{change}"
        );
        assert!(err(&bad).contains("differs"), "{}", err(&bad));
        let plain = server.cli(&["verify"]);
        ended(&plain, 1);
        assert!(!out(&plain).contains(" 0 differences"), "{}", out(&plain));
        database.execute(undo, []).unwrap();
        database
            .execute("UPDATE progress SET state = ?1", [state])
            .unwrap();
        ended(&server.cli(&["verify"]), 0);
    }
}

#[test]
fn a_database_that_is_not_there_is_not_found_good() {
    let folder = Folder::new();
    let database = format!("sqlite:{}", folder.database().display());
    for key in ["", MASTER_KEY] {
        let variables = [
            ("DATABASE_URL", database.as_str()),
            ("RECADO_MASTER_KEY", key),
        ];
        for arguments in [
            &["verify", "--json"][..],
            &["keys", "list"],
            &["keys", "revoke", "--id", "x"],
        ] {
            let output = run(arguments, &variables);
            ended(&output, 1);
            let path = folder.database().display().to_string();
            assert!(err(&output).contains(&path), "{}", err(&output));
            assert_eq!(out(&output), "");
        }
    }
    let left = std::fs::read_dir(folder.0.path()).unwrap().count();
    assert_eq!(left, 0, "nothing was made");
}
