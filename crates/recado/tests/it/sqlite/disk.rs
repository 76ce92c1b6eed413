//! A disk that is full: the real server says so with 503 and `Retry-After`, keeps every promise
//! it has made, and goes on by itself when there is room again.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use super::until;

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

pub(super) struct Server {
    child: Child,
    address: String,
    key: String,
}

pub(super) struct Answer {
    pub(super) status: u16,
    head: String,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

pub(super) fn program(database: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_recado"));
    settings(&mut command, database);
    command
}

fn settings(command: &mut Command, database: &Path) {
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("DATABASE_URL", format!("sqlite:{}", database.display()))
        .env("RECADO_MASTER_KEY", KEY)
        .env("PORT", "0")
        .env("TWILIO_ACCOUNT_SID", format!("AC{:032}", 1))
        .env("TWILIO_AUTH_TOKEN", format!("{:032}", 2))
        .env("TWILIO_WHATSAPP_FROM", "+551140000000")
        .env("TWILIO_API_BASE_URL", "http://127.0.0.1:1")
        .stdin(Stdio::null());
}

impl Server {
    /// Starts `recado serve` under another program, which sets the limit.
    pub(super) fn start(mut launcher: Command, database: &Path, key: &str) -> Self {
        settings(&mut launcher, database);
        let mut child = launcher.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = lines.by_ref().map(Result::unwrap).find_map(|line| {
            let address = line.strip_prefix("listening on http://")?;
            Some(address.to_owned())
        });
        // The rest is read so that the server never waits for us.
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            child,
            address: address.expect("the server starts"),
            key: key.to_owned(),
        }
    }

    #[track_caller]
    fn ask(&self, method: &str, path: &str, body: &str) -> Answer {
        self.try_ask(method, path, body).expect("an answer")
    }

    /// `None` when the connection ends without an answer.
    fn try_ask(&self, method: &str, path: &str, body: &str) -> Option<Answer> {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(super::DEADLINE)).unwrap();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: recado\r\nConnection: close\r\n\
             Authorization: Bearer {}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.key,
            body.len()
        )
        .unwrap();
        let mut text = String::new();
        // A server that ends resets its connections.
        stream.read_to_string(&mut text).ok()?;
        let (head, body) = text.split_once("\r\n\r\n")?;
        Some(Answer {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            head: head.to_lowercase(),
            body: body.to_owned(),
        })
    }

    /// Waits for the end of the server.
    pub(super) fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// Asks for a message that waits for next week.
    #[track_caller]
    pub(super) fn post(&self, n: u32) -> Answer {
        self.try_post(n).expect("an answer")
    }

    pub(super) fn try_post(&self, n: u32) -> Option<Answer> {
        let next_week = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(168);
        let body = format!(
            "{{\"to\":\"{}\",\"content_sid\":\"HX{:032}\",\"variables\":{{\"1\":\"{}\"}},\
             \"send_at\":\"{next_week}\"}}",
            crate::store::samples::number(n),
            1,
            "x".repeat(900)
        );
        self.try_ask("POST", "/api/v1/messages", &body)
    }

    pub(super) fn ids(&self) -> Vec<String> {
        let mut ids = Vec::new();
        let mut path = "/api/v1/messages?limit=100".to_owned();
        loop {
            let page = self.ask("GET", &path, "");
            assert_eq!(page.status, 200, "reading needs no room: {}", page.body);
            let page = page.json();
            for message in page["messages"].as_array().unwrap() {
                ids.push(message["id"].as_str().unwrap().to_owned());
            }
            let Some(cursor) = page["next_cursor"].as_str() else {
                ids.sort();
                return ids;
            };
            path = format!("/api/v1/messages?limit=100&cursor={cursor}");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A database and a key of its API, made before anything is limited.
pub(super) fn prepare(database: &Path) -> String {
    let made = program(database)
        .args([
            "keys", "create", "--name", "n", "--scope", "admin", "--json",
        ])
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let made: serde_json::Value = serde_json::from_slice(&made.stdout).unwrap();
    made["key"].as_str().unwrap().to_owned()
}

/// Fills the disk, looks, makes room, and looks again.
async fn fill_and_free(server: &Server, database: &Path, free: impl FnOnce(&Server)) {
    let (mut promised, mut n) = (Vec::new(), 0);
    let refused = loop {
        n += 1;
        let answer = server.post(n);
        if answer.status != 202 {
            break answer;
        }
        promised.push(answer.json()["id"].as_str().unwrap().to_owned());
        assert!(n < 5_000, "the disk fills up");
    };
    assert!(promised.len() > 3, "{} messages fitted", promised.len());
    assert_eq!(refused.status, 503, "{}", refused.body);
    assert!(refused.head.contains("retry-after: "), "{}", refused.head);
    assert_eq!(refused.json()["code"], "storage_unavailable");
    // A commit of nothing is smaller than a message: a few of them may still fit.
    until("the server says that it cannot write", async || {
        server.ask("GET", "/readyz", "").status == 503
    })
    .await;
    assert_eq!(server.ask("GET", "/livez", "").status, 200);
    for again in 0..3 {
        assert_eq!(server.post(n + again).status, 503);
    }
    promised.sort();
    assert_eq!(
        server.ids(),
        promised,
        "what was promised, and nothing else"
    );

    free(server);
    until("the server is ready again", async || {
        server.ask("GET", "/readyz", "").status == 200
    })
    .await;
    for more in 0..20 {
        let answer = server.post(n + more);
        assert_eq!(answer.status, 202, "{}", answer.body);
        promised.push(answer.json()["id"].as_str().unwrap().to_owned());
    }
    promised.sort();
    assert_eq!(server.ids(), promised);
    recount(database, promised.len());
}

/// Recounts a copy: SQLite follows links by itself, also one into another namespace, where it would
/// find another file.
#[track_caller]
fn recount(database: &Path, messages: usize) {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.db");
    for suffix in ["", "-wal"] {
        let name = |path: &Path| format!("{}{suffix}", path.display());
        std::fs::copy(name(database), name(&copy)).unwrap();
    }
    let verified = program(&copy).args(["verify", "--json"]).output().unwrap();
    assert!(verified.status.success(), "{verified:?}");
    let report: serde_json::Value = serde_json::from_slice(&verified.stdout).unwrap();
    assert_eq!(report["messages"], messages);
}

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_recado")]);
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_size_limit_is_a_full_disk() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("recado.db");
    let key = prepare(&database);
    // The signal must be ignored, so that writing fails instead of ending the process.
    let launcher = shell("trap '' XFSZ; exec prlimit --fsize=1048576:unlimited \"$0\" serve");
    let server = Server::start(launcher, &database, &key);
    fill_and_free(&server, &database, |server| {
        let lifted = Command::new("prlimit")
            .args(["--fsize=unlimited:unlimited", "--pid"])
            .arg(server.child.id().to_string())
            .status();
        assert!(lifted.unwrap().success());
    })
    .await;
}

/// Its own disk, in its own namespace; not every machine allows that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_survived() {
    let allowed = Command::new("unshare")
        .args(["-rm", "sh", "-c", "mount -t tmpfs -o size=1m none /tmp"])
        .stderr(Stdio::null())
        .status();
    if !allowed.is_ok_and(|status| status.success()) {
        eprintln!("a disk cannot be made here: only the size limit is tested");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let first = folder.path().join("recado.db");
    let key = prepare(&first);
    let script = format!(
        "mount -t tmpfs -o size=3m none {disk} && cp {first} {disk}/recado.db \
         && head -c 1900000 /dev/zero > {disk}/ballast && exec \"$0\" serve",
        disk = disk.display(),
        first = first.display()
    );
    let mut launcher = Command::new("unshare");
    launcher.args(["-rm", "sh", "-c", &script, env!("CARGO_BIN_EXE_recado")]);
    let database = disk.join("recado.db");
    let server = Server::start(launcher, &database, &key);
    // The server's own view of its disk; the recount looks at it the same way.
    let root = PathBuf::from(format!("/proc/{}/root", server.child.id()));
    let inside = root.join(database.strip_prefix("/").unwrap());
    let ballast = inside.with_file_name("ballast");
    fill_and_free(&server, &inside, |_| {
        std::fs::remove_file(&ballast).unwrap();
    })
    .await;
}
