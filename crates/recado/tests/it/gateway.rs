//! The program as its own process, started with nothing of the surroundings.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Longer than anything here takes on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);
/// From one look to the next.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_millis(20);
pub(crate) const POLL_INTERVAL_MAX: Duration = Duration::from_millis(200);

/// The program, running.
pub(crate) struct Gateway {
    pub(crate) url: String,
    child: Child,
    log: Log,
}

impl Gateway {
    /// Starts the program and waits until it listens; else gives what it wrote.
    pub(crate) fn start(variables: &[(String, String)]) -> Result<Self, String> {
        Self::spawn(command(&["serve"], variables))
    }

    /// The same, with a limit on the size of files that does not end it when it is reached: its
    /// disk can be made full.
    pub(crate) fn start_with_limited_disk(variables: &[(String, String)]) -> Result<Self, String> {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "trap '' XFSZ; exec \"$0\" serve"]);
        shell.arg(env!("CARGO_BIN_EXE_recado")).env_clear();
        shell.envs(variables.iter().map(|(name, value)| (name, value)));
        Self::spawn(shell)
    }

    /// Starts a server by any command and waits until it listens; else gives what it wrote.
    pub(crate) fn spawn(mut serve: Command) -> Result<Self, String> {
        let mut child = serve
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (mut log, listening) = Log::read(child.stderr.take().unwrap());
        if let Ok(url) = listening.recv_timeout(DEADLINE) {
            return Ok(Self { url, child, log });
        }
        child.kill().ok();
        child.wait().ok();
        log.finish();
        Err(log.text())
    }

    /// The number of the process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL.
    #[track_caller]
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.log.finish();
    }

    /// SIGTERM, and how it ended.
    #[track_caller]
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.ended()
    }

    #[track_caller]
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
    #[track_caller]
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let end = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                self.log.finish();
                return status;
            }
            assert!(Instant::now() < end, "it does not end");
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// What it has written to stderr; everything, once it has ended.
    pub(crate) fn log(&self) -> String {
        self.log.text()
    }
}

/// What a process writes to stderr, read as it comes.
struct Log {
    text: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Log {
    /// The log, and where the process says that it listens.
    fn read(stderr: ChildStderr) -> (Self, mpsc::Receiver<String>) {
        let (listens, listening) = mpsc::channel();
        let text: Arc<Mutex<String>> = Arc::default();
        let written = Arc::clone(&text);
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if let Some((_, url)) = line.split_once("listening on ") {
                    // Nobody waits for it any more when it comes too late.
                    listens.send(url.trim().to_owned()).ok();
                }
                *written.lock().unwrap() += &(line + "\n");
            }
        });
        let reader = Some(reader);
        (Self { text, reader }, listening)
    }

    /// Waits for the last line of a process that has ended.
    fn finish(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
    }

    fn text(&self) -> String {
        self.text.lock().unwrap().clone()
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
