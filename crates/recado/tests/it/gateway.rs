//! The program as a process of its own, started with nothing of the surroundings.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Longer than anything here takes on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);
pub(crate) const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// The program, running.
pub(crate) struct Gateway {
    pub(crate) url: String,
    child: Child,
    log: mpsc::Receiver<String>,
}

impl Gateway {
    /// Starts the program and waits until it listens; else gives what it wrote.
    pub(crate) fn start(variables: &[(String, String)]) -> Result<Self, String> {
        let mut child = command(&["serve"], variables)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = child.stderr.take().unwrap();
        let (lines, log) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if lines.send(line).is_err() {
                    return;
                }
            }
        });
        let mut written = String::new();
        let end = Instant::now() + DEADLINE;
        loop {
            match log.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    if let Some((_, url)) = line.split_once("listening on ") {
                        return Ok(Self {
                            url: url.trim().to_owned(),
                            child,
                            log,
                        });
                    }
                    written.push_str(&line);
                    written.push('\n');
                }
                Err(_) => {
                    child.kill().ok();
                    child.wait().ok();
                    return Err(written);
                }
            }
        }
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and how it ended.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.ended()
    }

    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", name, &id])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Waits for the end of the process.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let end = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "it does not end");
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// What it has written to stderr since the last look.
    pub(crate) fn log(&self) -> String {
        self.log.try_iter().map(|line| line + "\n").collect()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The program with nothing of the surroundings but these variables.
pub(crate) fn command(arguments: &[&str], variables: &[(String, String)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_recado"));
    command.args(arguments).env_clear();
    command.envs(
        variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str())),
    );
    command
}

/// Runs the program without a server.
pub(crate) fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let variables: Vec<(String, String)> = variables
        .iter()
        .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
        .collect();
    command(arguments, &variables).output().unwrap()
}

/// A folder for a database that goes with it.
pub(crate) struct Folder(pub(crate) tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(
            tempfile::Builder::new()
                .prefix("recado-test-")
                .tempdir()
                .unwrap(),
        )
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.0.path().join("recado.db")
    }
}
