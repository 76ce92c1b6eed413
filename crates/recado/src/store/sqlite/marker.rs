//! The marker: a small file beside the database by which a server sees that the database is still
//! the file, on the machine and in the state, in which the last server left it. A database that was
//! restored or copied is not, and would send again what has been sent since.
//!
//! What no copy takes along is where a file lies: its inode and the time of its birth. The marker
//! holds both of the database, and of itself, so that a copied marker does not vouch for a copied
//! database. A state is recognized by a number that each server draws at its start, and within the
//! time of one server by the number of the last attempt.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::store::StoreError;

/// Bytes of the file, always the same, so that it is overwritten as a whole.
const BYTES: usize = 512;

/// Between two notes of the last attempt.
const NOTE_INTERVAL: Duration = Duration::from_secs(1);

/// What tells a file from its copies. A file that is moved within its file system keeps both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileIdentity {
    inode: u64,
    /// Nanoseconds since 1970; `None` where the file system does not tell.
    born: Option<u64>,
}

impl FileIdentity {
    /// The identity of the file at a path.
    ///
    /// # Errors
    /// When it cannot be looked at.
    pub(super) fn of(path: &Path) -> Result<Self, StoreError> {
        let data = std::fs::metadata(path).map_err(|error| unusable(path, &error))?;
        Ok(Self::read(&data))
    }

    fn read(data: &Metadata) -> Self {
        let born = data.created().ok();
        let born = born.and_then(|born| born.duration_since(SystemTime::UNIX_EPOCH).ok());
        Self {
            inode: data.ino(),
            born: born.and_then(|born| u64::try_from(born.as_nanos()).ok()),
        }
    }

    fn is_other_than(self, other: Self) -> bool {
        let born_apart = matches!((self.born, other.born), (Some(a), Some(b)) if a != b);
        self.inode != other.inode || born_apart
    }
}

/// The database as it is found at a start.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// Its random number, drawn when it was made.
    pub(super) database: u64,
    /// The number of the last server's start.
    pub(super) run: u64,
    /// The number of the last attempt.
    pub(super) attempt: i64,
    /// Which file it is.
    pub(super) file: FileIdentity,
    /// The machine, as far as it tells who it is.
    pub(super) host: Option<String>,
}

/// What the marker says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Content {
    database: u64,
    run: u64,
    /// The number of a start that was under way when this was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next: Option<u64>,
    attempt: i64,
    file: FileIdentity,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    /// The marker itself.
    own: Option<FileIdentity>,
}

/// Why a database is not taken for the one that was left here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Difference {
    /// There is no marker, although a server has used the database.
    NoMarker,
    /// The marker cannot be read.
    Unreadable,
    /// The marker is that of another database.
    OtherDatabase,
    /// The marker is a copy.
    CopiedMarker,
    /// Another state of the database was used here, or this one elsewhere.
    OtherState,
    /// A later state of the database was used here.
    OlderState,
    /// The database is a copy.
    OtherFile,
    /// It is on another machine.
    OtherHost,
}

impl Difference {
    /// In words, for the operator.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::NoMarker => "its marker is missing",
            Self::Unreadable => "its marker cannot be read",
            Self::OtherDatabase => "the marker beside it belongs to another database",
            Self::CopiedMarker => "the marker beside it is a copy",
            Self::OtherState => "it was used elsewhere, or another state of it was used here",
            Self::OlderState => "a later state of it was used here",
            Self::OtherFile => "it is a copy",
            Self::OtherHost => "it is on another machine",
        }
    }
}

/// The marker of a database that a server has open.
pub(super) struct Marker {
    path: PathBuf,
    content: Content,
    file: File,
}

impl Marker {
    /// Compares a database with the marker beside it; `None` when nothing speaks against it.
    ///
    /// # Errors
    /// When there is a marker and the system does not let it be read.
    pub(super) fn difference(path: &Path, found: &Found) -> Result<Option<Difference>, StoreError> {
        let path = beside(path);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Ok(Some(Difference::NoMarker));
            }
            Err(error) => return Err(unusable(&path, &error)),
        };
        let mut text = String::new();
        let read = file.read_to_string(&mut text);
        let data = file.metadata().map_err(|error| unusable(&path, &error))?;
        let content = match read.map(|_| serde_json::from_str::<Content>(&text)) {
            Ok(Ok(content)) => content,
            Ok(Err(_)) => return Ok(Some(Difference::Unreadable)),
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                return Ok(Some(Difference::Unreadable));
            }
            Err(error) => return Err(unusable(&path, &error)),
        };
        Ok(compare(&content, FileIdentity::read(&data), found))
    }

    /// Writes a new marker in the place of an old one, before a start is committed under the number
    /// `next`. Until then the database still has its old number.
    ///
    /// # Errors
    /// When it cannot be written. The old one stays then.
    pub(super) fn announce(path: &Path, found: &Found, next: u64) -> Result<Self, StoreError> {
        let path = beside(path);
        let content = Content {
            database: found.database,
            run: found.run,
            next: Some(next),
            attempt: found.attempt,
            file: found.file,
            host: found.host.clone(),
            own: None,
        };
        write_new(&path, content).map_err(|error| unusable(&path, &error))
    }

    /// The start that was announced is committed.
    ///
    /// # Errors
    /// When it cannot be written. What was announced stays valid then.
    pub(super) fn started(&mut self) -> std::io::Result<()> {
        if let Some(run) = self.content.next.take() {
            self.content.run = run;
        }
        self.overwrite()?;
        self.file.sync_all()
    }

    /// Notes the number of the last attempt, so that an older state of the database is recognized. It
    /// is enough that it reaches the disk at some time: after a power cut an older number is no harm.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn note(&mut self, attempt: i64) -> std::io::Result<()> {
        if attempt <= self.content.attempt {
            return Ok(());
        }
        let before = std::mem::replace(&mut self.content.attempt, attempt);
        self.overwrite()
            .inspect_err(|_| self.content.attempt = before)
    }

    /// Writes a new file with the number of the last attempt, at the end of a server: a copy that was
    /// made while it ran is another file then, even if it is written over this one.
    fn end(&mut self, attempt: i64) -> std::io::Result<()> {
        let mut content = self.content.clone();
        content.attempt = content.attempt.max(attempt);
        *self = write_new(&self.path, content)?;
        Ok(())
    }

    fn overwrite(&self) -> std::io::Result<()> {
        self.file.write_all_at(&bytes(&self.content), 0)
    }
}

/// Keeps the marker's note of the last attempt, about once a second.
pub(super) struct Notes {
    marker: Marker,
    noted: Instant,
}

impl Notes {
    /// Begins with a marker that knows everything until now.
    pub(super) fn new(marker: Marker) -> Self {
        Self {
            marker,
            noted: Instant::now(),
        }
    }

    /// Told by the writer after each commit; it commits at least once a second.
    pub(super) fn committed(&mut self, last_attempt: impl FnOnce() -> rusqlite::Result<i64>) {
        if self.noted.elapsed() >= NOTE_INTERVAL {
            self.noted = Instant::now();
            told(last_attempt(), |last| self.marker.note(last));
        }
    }

    /// Notes the last attempt of a server that ends.
    pub(super) fn end(mut self, last_attempt: rusqlite::Result<i64>) {
        told(last_attempt, |last| self.marker.end(last));
    }
}

/// A note that is missing is no harm by itself, so a failure is only logged.
fn told(last: rusqlite::Result<i64>, write: impl FnOnce(i64) -> std::io::Result<()>) {
    let written = last
        .map_err(|error| error.to_string())
        .and_then(|last| write(last).map_err(|error| error.to_string()));
    if let Err(error) = written {
        tracing::debug!(
            error,
            "the marker beside the database cannot be written now"
        );
    }
}

/// Writes a marker in the place of an old one, so that it is there as a whole or not at all.
fn write_new(path: &Path, mut content: Content) -> std::io::Result<Marker> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)?;
    content.own = Some(FileIdentity::read(&file.metadata()?));
    file.write_all(&bytes(&content))?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    if let Some(folder) = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        File::open(folder)?.sync_all()?;
    }
    Ok(Marker {
        path: path.to_owned(),
        content,
        file,
    })
}

/// Who a machine is, for one database: what is written does not tell which machine it is.
pub(super) fn host_hash(database: u64, machine: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(database.to_le_bytes());
    hash.update(machine.trim());
    let hash: [u8; 32] = hash.finalize().into();
    hash.iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn compare(content: &Content, marker: FileIdentity, found: &Found) -> Option<Difference> {
    if content.database != found.database {
        return Some(Difference::OtherDatabase);
    }
    if content.run != found.run && content.next != Some(found.run) {
        return Some(Difference::OtherState);
    }
    if content.attempt > found.attempt {
        return Some(Difference::OlderState);
    }
    if content.file.is_other_than(found.file) {
        return Some(Difference::OtherFile);
    }
    if content.own.is_none_or(|own| own.is_other_than(marker)) {
        return Some(Difference::CopiedMarker);
    }
    let hosts = (&content.host, &found.host);
    matches!(hosts, (Some(before), Some(now)) if before != now).then_some(Difference::OtherHost)
}

/// The marker's path: the database's, and `.recado`.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".recado");
    PathBuf::from(name)
}

fn bytes(content: &Content) -> Vec<u8> {
    let mut text = serde_json::to_vec(content).unwrap_or_default();
    text.resize(BYTES - 1, b' ');
    text.push(b'\n');
    text
}

fn unusable(path: &Path, error: &std::io::Error) -> StoreError {
    StoreError::ReadOnly(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: FileIdentity = FileIdentity {
        inode: 7,
        born: Some(70),
    };
    const OWN: FileIdentity = FileIdentity {
        inode: 8,
        born: Some(80),
    };

    fn found() -> Found {
        Found {
            database: 1,
            run: 2,
            attempt: 30,
            file: FILE,
            host: Some("a".into()),
        }
    }

    fn content() -> Content {
        Content {
            database: 1,
            run: 2,
            next: None,
            attempt: 30,
            file: FILE,
            host: Some("a".into()),
            own: Some(OWN),
        }
    }

    #[test]
    fn nothing_speaks_against_a_database_that_was_only_stopped() {
        assert_eq!(compare(&content(), OWN, &found()), None);
        let mut later = found();
        later.attempt = 31;
        assert_eq!(compare(&content(), OWN, &later), None);
        // A start that ended between the marker and its commit, or between the commit and the marker.
        let announced = Content {
            next: Some(9),
            ..content()
        };
        assert_eq!(compare(&announced, OWN, &found()), None);
        later.run = 9;
        assert_eq!(compare(&announced, OWN, &later), None);
        // Neither the system nor the machine tells everything.
        let mut silent = found();
        silent.host = None;
        silent.file.born = None;
        assert_eq!(compare(&content(), OWN, &silent), None);
    }

    #[test]
    fn each_difference_is_seen() {
        let other = |change: fn(&mut Content)| {
            let mut content = content();
            change(&mut content);
            compare(&content, OWN, &found())
        };
        for (difference, expected) in [
            (other(|c| c.database = 9), Difference::OtherDatabase),
            (other(|c| c.run = 9), Difference::OtherState),
            (other(|c| c.attempt = 31), Difference::OlderState),
            (other(|c| c.file.inode = 9), Difference::OtherFile),
            (other(|c| c.file.born = Some(9)), Difference::OtherFile),
            (other(|c| c.own = None), Difference::CopiedMarker),
            (other(|c| c.own = Some(FILE)), Difference::CopiedMarker),
            (other(|c| c.host = Some("b".into())), Difference::OtherHost),
        ] {
            assert_eq!(difference, Some(expected));
        }
    }

    #[test]
    fn the_longest_content_fits() {
        let longest = FileIdentity {
            inode: u64::MAX,
            born: Some(u64::MAX),
        };
        let content = Content {
            database: u64::MAX,
            run: u64::MAX,
            next: Some(u64::MAX),
            attempt: i64::MIN,
            file: longest,
            host: Some(host_hash(1, "machine")),
            own: Some(longest),
        };
        let written = bytes(&content);
        assert_eq!(written.len(), BYTES);
        let read: Content = serde_json::from_slice(&written).unwrap();
        assert_eq!(read, content);
    }
}
