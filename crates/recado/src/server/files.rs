//! How many files the process may have open. A connection is one of them, and callers who do nothing
//! must not use up what sending and the database need.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that callers leave to the rest: the most requests to Twilio that are ever open, and the
/// database with its log, its readers and its locks.
const OWN: u64 = 512 + 64;

/// Raises the limit of open files to what the system allows at most, and says how many connections
/// may be open: what was asked for, or what the limit leaves.
pub(super) fn connections(asked: u32) -> usize {
    let limit = raise();
    let allowed = allowed(asked, limit);
    if allowed < asked {
        tracing::warn!(
            open_files = limit,
            connections = allowed,
            asked,
            "the system allows too few open files for RECADO_CONNECTIONS_MAX; fewer connections are \
             accepted at once (raise the limit with `ulimit -Hn` or LimitNOFILE)"
        );
    }
    usize::try_from(allowed).unwrap_or(usize::MAX)
}

/// A limit that leaves nothing is divided all the same: without callers there is nothing to send.
fn allowed(asked: u32, limit: u64) -> u32 {
    let left = limit.saturating_sub(OWN).max(limit / 4).max(1);
    asked.min(u32::try_from(left).unwrap_or(u32::MAX))
}

/// Raises the soft limit to the hard one; the limit that holds now.
fn raise() -> u64 {
    let before = getrlimit(Resource::Nofile);
    if before.current != before.maximum {
        let raised = Rlimit {
            current: before.maximum,
            ..before
        };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::debug!(%error, "the limit of open files cannot be raised");
        }
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::allowed;

    #[test]
    fn callers_get_what_the_rest_does_not_need() {
        for (asked, limit, connections) in [
            (4_096, u64::MAX, 4_096),
            (4_096, 4_672, 4_096),
            (4_096, 4_671, 4_095),
            (4_096, 1_024, 448),
            (4_096, 256, 64),
            (10, 1_024, 10),
            (4_096, 0, 1),
        ] {
            assert_eq!(allowed(asked, limit), connections, "{asked} of {limit}");
        }
    }
}
