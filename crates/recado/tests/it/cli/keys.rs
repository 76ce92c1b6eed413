//! `recado keys`: beside a running server and without one.

use serde_json::Value;

use super::{ended, err, lines, out};
use crate::gateway::{Folder, run};
use crate::server::{MASTER_KEY, TestServer};

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_made_listed_and_revoked_beside_a_running_server() {
    let server = TestServer::start().await;
    let made = server.cli(&[
        "keys",
        "create",
        "--name",
        "João & Co",
        "--scope",
        "send",
        "--json",
    ]);
    ended(&made, 0);
    let made = lines(&made);
    assert_eq!(made.len(), 1);
    let fields: Vec<&String> = made[0].as_object().unwrap().keys().collect();
    assert_eq!(fields, ["id", "key"]);
    let (id, key) = (
        made[0]["id"].as_str().unwrap(),
        made[0]["key"].as_str().unwrap(),
    );
    assert!(key.starts_with(&format!("rk_{id}_")), "{key}");
    assert!(key.len() > 50, "{key}");
    let plain = server.cli(&["keys", "create", "--name", "x", "--scope", "read"]);
    ended(&plain, 0);
    assert!(
        out(&plain).trim().starts_with("rk_"),
        "the key alone is on stdout"
    );
    assert_eq!(out(&plain).lines().count(), 1);
    assert!(err(&plain).contains("once"));

    let listed = lines(&server.cli(&["keys", "list", "--json"]));
    let names: Vec<_> = listed
        .iter()
        .map(|key| key["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["test", "João & Co", "x"]);
    let scopes: Vec<_> = listed
        .iter()
        .map(|key| key["scope"].as_str().unwrap())
        .collect();
    assert_eq!(scopes, ["admin", "send", "read"]);
    for key in &listed {
        let created: jiff::Timestamp = key["created_at"].as_str().unwrap().parse().unwrap();
        assert!(jiff::Timestamp::now().duration_since(created).as_secs() < 60);
        assert_eq!(key["revoked_at"], Value::Null);
    }
    let revoked = server.cli(&["keys", "revoke", "--id", id, "--json"]);
    ended(&revoked, 0);
    assert_eq!(lines(&revoked)[0]["revoked"], true);
    ended(&server.cli(&["keys", "revoke", "--id", id]), 0);
    let listed = lines(&server.cli(&["keys", "list", "--json"]));
    assert!(listed[1]["revoked_at"].is_string());
    let table = out(&server.cli(&["keys", "list"]));
    assert!(table.contains("João & Co") && table.contains(id), "{table}");
    assert!(!table.contains(key) && !table.contains("rk_"), "{table}");
    let unknown = server.cli(&["keys", "revoke", "--id", "nobody"]);
    ended(&unknown, 2);
    assert!(
        err(&unknown).contains("there is no key nobody"),
        "{}",
        err(&unknown)
    );
}

#[test]
fn a_database_that_cannot_be_used_is_named() {
    let folder = Folder::new();
    let database = format!("sqlite:{}", folder.database().display());
    let create = ["keys", "create", "--name", "x", "--scope", "read"];
    let made = run(
        &create,
        &[
            ("DATABASE_URL", &database),
            ("RECADO_MASTER_KEY", MASTER_KEY),
        ],
    );
    ended(&made, 0);
    let text = folder.0.path().join("a.txt");
    std::fs::write(&text, "no database\n".repeat(1_000)).unwrap();
    let damaged = format!("sqlite:{}", text.display());
    let other = "Hx4dHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA=";
    for (variables, code, word) in [
        (
            [
                ("DATABASE_URL", database.as_str()),
                ("RECADO_MASTER_KEY", other),
            ],
            1,
            "master key",
        ),
        (
            [("DATABASE_URL", &database), ("RECADO_MASTER_KEY", "short")],
            2,
            "RECADO_MASTER_KEY",
        ),
        (
            [
                ("DATABASE_URL", "mysql:x"),
                ("RECADO_MASTER_KEY", MASTER_KEY),
            ],
            2,
            "DATABASE_URL",
        ),
        (
            [
                ("DATABASE_URL", "sqlite:/nowhere/x.db"),
                ("RECADO_MASTER_KEY", MASTER_KEY),
            ],
            1,
            "/nowhere",
        ),
        (
            [
                ("DATABASE_URL", &damaged),
                ("RECADO_MASTER_KEY", MASTER_KEY),
            ],
            1,
            "a.txt",
        ),
    ] {
        let output = run(&create, &variables);
        ended(&output, code);
        assert!(err(&output).contains(word), "{word}: {}", err(&output));
        assert_eq!(out(&output), "");
    }
}

#[test]
fn a_lost_key_is_not_replaced_by_a_new_one() {
    let folder = Folder::new();
    let database = format!("sqlite:{}", folder.database().display());
    let create = ["keys", "create", "--name", "x", "--scope", "read"];
    ended(
        &run(
            &create,
            &[
                ("DATABASE_URL", &database),
                ("RECADO_MASTER_KEY", MASTER_KEY),
            ],
        ),
        0,
    );
    let output = run(&create, &[("DATABASE_URL", &database)]);
    ended(&output, 1);
    assert!(
        err(&output).contains("RECADO_MASTER_KEY"),
        "{}",
        err(&output)
    );
    let key = format!("{}.key", folder.database().display());
    assert!(
        !std::path::Path::new(&key).exists(),
        "a key that opens nothing was made"
    );
    ended(
        &run(
            &create,
            &[
                ("DATABASE_URL", &database),
                ("RECADO_MASTER_KEY", MASTER_KEY),
            ],
        ),
        0,
    );
}
