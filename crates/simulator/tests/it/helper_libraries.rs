//! Twilio's official libraries do not notice the difference.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use hyper::Method;
use serde_json::{Value, json};
use simulator::{PhoneBehavior, Settings};

use crate::caller::{Caller, PERSON, SENDER, fast, phone};
use crate::receiver::Receiver;

const NOT_ON_WHATSAPP: &str = "whatsapp:+5511900000002";
const TOO_MANY: &str = "whatsapp:+5511900000003";
const BROKEN: &str = "whatsapp:+5511900000004";
const MANY: &str = "whatsapp:+5511900000005";
const DATED: &str = "whatsapp:+5511900000006";

/// What each library is asked to do; all of it must be done.
const CHECKS: [&str; 12] = [
    "create",
    "create_with_template_and_service",
    "fetch",
    "fetch_failed",
    "media",
    "list_in_pages",
    "list_by_date",
    "cancel",
    "redact",
    "delete",
    "errors",
    "validate_callback",
];

/// A language with an official library.
struct Language {
    /// As `scripts/helper-libraries` calls it.
    name: &'static str,
    interpreter: &'static str,
    program: &'static str,
    /// The variable that says where libraries are, and the subfolder of our folder.
    path: (&'static str, &'static str),
}

const PYTHON: Language = Language {
    name: "python",
    interpreter: "python3",
    program: "check.py",
    path: ("PYTHONPATH", ""),
};

const NODE: Language = Language {
    name: "node",
    interpreter: "node",
    program: "check.cjs",
    path: ("NODE_PATH", "node_modules"),
};

#[tokio::test]
async fn the_python_library_is_served() {
    check(&PYTHON).await;
}

#[tokio::test]
async fn the_node_library_is_served() {
    check(&NODE).await;
}

/// Both tests install a missing library, and other test runs may do so at the same time.
#[test]
fn installing_twice_at_once_is_safe() {
    for language in [&PYTHON, &NODE] {
        if !is_there(language) {
            continue;
        }
        let install = || {
            let mut command = script(language);
            command.stderr(Stdio::piped()).spawn().unwrap()
        };
        for child in [install(), install(), install()] {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", text(&output.stderr));
        }
        let folder = libraries(language);
        assert!(folder.join(".pins").is_file(), "{}", folder.display());
    }
}

#[test]
fn an_unknown_language_is_refused() {
    let mut command = Command::new(root().join("scripts/helper-libraries"));
    let output = command.arg("cobol").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).starts_with("usage: "));
}

/// Without an interpreter the script names what to install, in one line, and ends with 3.
#[test]
fn a_missing_interpreter_is_named() {
    let shell = ["/bin/sh", "/usr/bin/sh"]
        .into_iter()
        .find(|path| Path::new(path).exists());
    let dirname = ["/usr/bin/dirname", "/bin/dirname"]
        .into_iter()
        .find(|p| Path::new(p).exists());
    let (Some(shell), Some(dirname)) = (shell, dirname) else {
        panic!("no POSIX shell");
    };
    let tools = Path::new(env!("CARGO_TARGET_TMPDIR")).join("only-dirname");
    std::fs::create_dir_all(&tools).unwrap();
    let link = tools.join("dirname");
    if !link.exists() {
        // Another run may have made it in between, which is just as good.
        drop(std::os::unix::fs::symlink(dirname, &link));
    }
    for language in [&PYTHON, &NODE] {
        let output = Command::new(shell)
            .arg(root().join("scripts/helper-libraries"))
            .arg(language.name)
            .env("PATH", &tools)
            .output()
            .unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(
            said.contains(language.interpreter) && said.contains("apt-get install"),
            "{said}"
        );
    }
}

/// Says why, past the test harness, which would swallow it.
fn skip(why: &str) {
    let line = format!("SKIP: {why}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

async fn check(language: &'static Language) {
    if !is_there(language) {
        skip(&format!("{} is not installed", language.interpreter));
        return;
    }
    let installed = blocking(move || script(language).output().unwrap()).await;
    let said = text(&installed.stderr);
    if installed.status.code() == Some(3) {
        skip(said.trim());
        return;
    }
    assert!(
        installed.status.success(),
        "scripts/helper-libraries: {said}"
    );
    let caller = Caller::start(settings()).await;
    let given = given(&caller).await;
    let output = blocking(move || run(language, &given)).await;
    let told = text(&output.stdout);
    let mut done = BTreeMap::new();
    for line in told.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["ok"], true, "{line:#}");
        done.insert(line["check"].as_str().unwrap().to_owned(), ());
    }
    assert!(output.status.success(), "{told}\n{}", text(&output.stderr));
    let wanted: BTreeMap<String, ()> = CHECKS.map(|name| (name.to_owned(), ())).into();
    assert_eq!(done, wanted);
}

fn settings() -> Settings {
    let reads = |address| phone(address, PhoneBehavior::ReadsAtOnce);
    Settings {
        senders: vec!["+551140000000".to_owned()],
        phones: vec![
            reads(PERSON),
            reads(MANY),
            reads(DATED),
            phone(NOT_ON_WHATSAPP, PhoneBehavior::NotOnWhatsapp),
        ],
        // A scheduled message must stay so for as long as a check takes.
        time_scale: 50.0,
        ..fast()
    }
}

/// What the programs are given: where the simulator is, and a callback that it really sent.
async fn given(caller: &Caller) -> Value {
    let refuse = json!({ "kind": "too_many" });
    let breaks = json!({ "kind": "error_before", "status": 503 });
    for (to, fault) in [(TOO_MANY, refuse), (BROKEN, breaks)] {
        let script = json!({ "to": to, "times": 10, "fault": fault });
        let answer = caller.control(Method::POST, "script", &script).await;
        assert_eq!(answer.status, 204);
    }
    let receiver = Receiver::start().await;
    let url = receiver.url("/status?m=1&nome=Jos%C3%A9");
    caller
        .text(PERSON, Some(&format!("{url}#rc=1&rp=5xx")))
        .await
        .sid();
    let call = receiver.wait_for(1).await.remove(0);
    assert_eq!(call.url, url);
    let fields: BTreeMap<String, String> = call.fields.iter().cloned().collect();
    json!({
        "url": caller.sim.url(),
        "account_sid": caller.sim.account_sid(),
        "auth_token": caller.sim.auth_token(),
        "sender": SENDER,
        "person": PERSON,
        "not_on_whatsapp": NOT_ON_WHATSAPP,
        "too_many": TOO_MANY,
        "broken": BROKEN,
        "many": MANY,
        "dated": DATED,
        "callback": {
            "url": call.url,
            "fields": fields,
            "signature": call.header("x-twilio-signature"),
        },
    })
}

fn run(language: &Language, given: &Value) -> Output {
    let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/helper_libraries");
    let (variable, folder) = language.path;
    let mut command = Command::new(language.interpreter);
    command
        .arg(programs.join(language.program))
        .env(variable, libraries(language).join(folder))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    // The simulator is on this machine, which a proxy cannot reach.
    for proxy in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env_remove(proxy).env_remove(proxy.to_lowercase());
    }
    let mut child = command.spawn().unwrap();
    let given = given.to_string();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(given.as_bytes())
        .unwrap();
    child.wait_with_output().unwrap()
}

/// Whether the interpreter is on the path.
fn is_there(language: &Language) -> bool {
    let mut command = Command::new(language.interpreter);
    match command.arg("--version").output() {
        Ok(output) => output.status.success(),
        Err(error) => {
            assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{error}");
            false
        }
    }
}

fn script(language: &Language) -> Command {
    let mut command = Command::new(root().join("scripts/helper-libraries"));
    command.arg(language.name);
    command
}

fn libraries(language: &Language) -> PathBuf {
    root().join("target/helper-libraries").join(language.name)
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}
