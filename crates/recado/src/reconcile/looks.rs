//! What waits to be looked at, and what is being looked at: unknown attempts before silent messages,
//! each kind with places of its own.

use std::collections::{HashSet, VecDeque};

use delivery::progress::WatchKind;
use delivery::row::{AttemptRow, PersonRow};

use crate::store::DueWatch;

/// One look at the provider.
pub(super) enum Look {
    /// Unknown attempts to one person, which are looked for together.
    Unknown(Vec<DueWatch>),
    /// A message that nobody reports about.
    Silent(DueWatch),
}

/// The looks that wait and those that are open.
#[derive(Default)]
pub(super) struct Looks {
    unknown: VecDeque<Vec<DueWatch>>,
    silent: VecDeque<DueWatch>,
    /// People whose unknown attempts are being looked for.
    people: HashSet<PersonRow>,
    /// Silent messages that are being asked about.
    attempts: HashSet<AttemptRow>,
}

impl Looks {
    /// Whether looks of a kind wait for their turn.
    pub(super) fn wait(&self, kind: WatchKind) -> bool {
        match kind {
            WatchKind::Unknown => !self.unknown.is_empty(),
            WatchKind::Silent => !self.silent.is_empty(),
        }
    }

    /// Whether any look is open.
    pub(super) fn are_open(&self) -> bool {
        !self.people.is_empty() || !self.attempts.is_empty()
    }

    /// Takes watches that are due, but those that are being looked at, and returns those of which
    /// nothing is left to ask.
    pub(super) fn add(&mut self, due: Vec<DueWatch>) -> Vec<DueWatch> {
        let mut over = Vec::new();
        for watch in due {
            if watch.is_unknown && watch.kind == WatchKind::Unknown {
                if self.people.contains(&watch.person) {
                    continue;
                }
                let same = |group: &&mut Vec<DueWatch>| {
                    group.iter().any(|other| other.person == watch.person)
                };
                match self.unknown.iter_mut().find(same) {
                    Some(group) => group.push(watch),
                    None => self.unknown.push_back(vec![watch]),
                }
            } else if self.attempts.contains(&watch.attempt) {
                continue;
            } else if watch.state.is_resting() || watch.sid.is_none() {
                over.push(watch);
            } else {
                self.silent.push_back(watch);
            }
        }
        over
    }

    /// The next look, while fewer of its kind are open than `unknown_max` and `silent_max`.
    pub(super) fn start(&mut self, unknown_max: usize, silent_max: usize) -> Option<Look> {
        if self.people.len() < unknown_max
            && let Some(group) = self.unknown.pop_front()
        {
            self.people.extend(group.iter().map(|watch| watch.person));
            return Some(Look::Unknown(group));
        }
        if self.attempts.len() < silent_max
            && let Some(watch) = self.silent.pop_front()
        {
            self.attempts.insert(watch.attempt);
            return Some(Look::Silent(watch));
        }
        None
    }

    /// A look ended in a panic, and nobody can say which: what is open is asked about again.
    pub(super) fn forget(&mut self) {
        self.people.clear();
        self.attempts.clear();
    }

    /// A look is over and written down.
    pub(super) fn end(&mut self, look: &Look) {
        match look {
            Look::Unknown(group) => group.iter().for_each(|watch| {
                self.people.remove(&watch.person);
            }),
            Look::Silent(watch) => {
                self.attempts.remove(&watch.attempt);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use delivery::message::Policy;
    use delivery::sid::Sid;
    use delivery::state::State;
    use delivery::time::Timestamp;

    use super::*;

    fn watch(n: i64, kind: WatchKind) -> DueWatch {
        DueWatch {
            at: Timestamp::from_seconds(n),
            attempt: AttemptRow(n),
            kind,
            polls: 0,
            sid: (kind == WatchKind::Silent)
                .then(|| Sid::parse_message(&format!("SM{n:032x}")).unwrap()),
            state: State::Queued,
            started_at: Timestamp::from_seconds(n),
            ended_at: Timestamp::from_seconds(n),
            policy: Policy::Once,
            person: PersonRow(n % 100),
            is_unknown: kind == WatchKind::Unknown,
        }
    }

    #[test]
    fn neither_kind_takes_every_place() {
        let mut looks = Looks::default();
        let many = |kind| (0..50).map(|n| watch(n, kind)).collect();
        assert!(looks.add(many(WatchKind::Silent)).is_empty());
        let started =
            |looks: &mut Looks| std::iter::from_fn(|| looks.start(6, 6)).collect::<Vec<_>>();
        let silent = started(&mut looks);
        assert_eq!(silent.len(), 6);
        assert!(looks.add(many(WatchKind::Unknown)).is_empty());
        let unknown = started(&mut looks);
        assert_eq!(unknown.len(), 6, "silent ones do not hold them up");
        assert!(unknown.iter().all(|look| matches!(look, Look::Unknown(_))));
        looks.end(silent.first().unwrap());
        looks.end(unknown.first().unwrap());
        let next = started(&mut looks);
        assert!(matches!(next.first(), Some(Look::Unknown(_))), "first");
        assert_eq!(next.len(), 2);
    }

    #[test]
    fn attempts_to_one_person_are_one_look_and_not_two_at_once() {
        let mut looks = Looks::default();
        let both = vec![watch(1, WatchKind::Unknown), watch(101, WatchKind::Unknown)];
        looks.add(both);
        let Some(Look::Unknown(group)) = looks.start(6, 6) else {
            panic!("it is due");
        };
        assert_eq!(group.len(), 2);
        looks.add(vec![watch(201, WatchKind::Unknown)]);
        assert!(looks.start(6, 6).is_none());
        looks.end(&Look::Unknown(group));
        looks.add(vec![watch(201, WatchKind::Unknown)]);
        assert!(looks.start(6, 6).is_some());
    }
}
