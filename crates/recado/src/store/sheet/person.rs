//! People and senders of a sheet.

use delivery::address::AddressVariant;
use delivery::consent::{Consent, ConsentKind};
use delivery::message::SenderName;
use delivery::progress::PauseSource;
use delivery::row::{IdentityRow, PersonRow, SenderRow};
use delivery::time::Timestamp;

use super::record::{ConsentRecord, Need};
use super::tables::{Halt, Sheet};
use crate::store::operations::columns::{ConsentCause, Pausing, TieColumns};
use crate::store::operations::rows::{Broken, MessageRows, PersonRows, SenderRows};
use crate::store::person::{Candidate, Person};

/// Messages of a person among which a delivery is looked for.
const DELIVERED_MAX: usize = 100;

impl Sheet {
    fn known_person(&mut self, person: PersonRow) -> Result<Person, Halt> {
        Ok(PersonRows::person(self, person)?.ok_or(Broken::Gone("person"))?)
    }

    fn conversations_of(&mut self, person: PersonRow) -> Result<Vec<(SenderRow, Timestamp)>, Halt> {
        let need = || Need::Conversations(person);
        let found = self.read(|sheet| &sheet.conversations, &person, need)?;
        Ok(found.unwrap_or_default())
    }
}

impl Sheet {
    fn insert_identity(&mut self, candidate: &Candidate, whose: Option<&Person>) -> Person {
        self.next.person += 1;
        let row = IdentityRow(self.next.person);
        let person = candidate.person(row, whose);
        self.people.set(row, Some(person.clone()));
        self.indexes.set(candidate.blind_index, Some(row));
        self.areas.insert(row, candidate.area);
        person
    }
}

impl PersonRows for Sheet {
    fn person(&mut self, person: PersonRow) -> Result<Option<Person>, Halt> {
        self.person_at(Person::first_identity(person))
    }

    fn person_at(&mut self, identity: IdentityRow) -> Result<Option<Person>, Halt> {
        self.read(
            |sheet| &sheet.people,
            &identity,
            || Need::Identity(identity),
        )
    }

    fn person_of(&mut self, blind_index: &[u8; 32]) -> Result<Option<Person>, Halt> {
        let need = || Need::Index(*blind_index);
        match self.read(|sheet| &sheet.indexes, blind_index, need)? {
            Some(row) => self.person_at(row),
            None => Ok(None),
        }
    }

    fn tied_to(&mut self, person: PersonRow) -> Result<Vec<Person>, Halt> {
        let loaded = self.read(|sheet| &sheet.tied, &person, || Need::Tied(person))?;
        let changed = self.people.changes().map(|(row, _)| *row);
        let mut rows: Vec<IdentityRow> = loaded
            .unwrap_or_default()
            .into_iter()
            .chain(changed)
            .collect();
        rows.sort_unstable();
        rows.dedup();
        let mut tied = Vec::new();
        for row in rows {
            let known = self.person_at(row)?.ok_or(Broken::Gone("identity"))?;
            if known.tied && known.row == person {
                tied.push(known);
            }
        }
        Ok(tied)
    }

    fn insert_person(&mut self, candidate: &Candidate) -> Result<Option<Person>, Halt> {
        if self.person_of(&candidate.blind_index)?.is_some() {
            return Ok(None);
        }
        let person = self.insert_identity(candidate, None);
        // Somebody new has written to nobody and has no messages.
        self.recent.load(person.row, None);
        self.stoppable.load(person.row, None);
        self.conversations.load(person.row, None);
        self.words.load(person.row, None);
        Ok(Some(person))
    }

    fn insert_tied(&mut self, candidate: &Candidate, person: &Person) -> Result<(), Halt> {
        self.insert_identity(candidate, Some(person));
        let mut first = self.known_person(person.row)?;
        first.tied = true;
        self.people.set(first.identity, Some(first));
        Ok(())
    }

    fn give_identities(&mut self, from: &Person, to: &Person) -> Result<(), Halt> {
        let mut given = self.tied_to(from.row)?;
        if given.is_empty() {
            given.push(self.known_person(from.row)?);
        }
        for mut identity in given {
            identity.row = to.row;
            identity.tied = true;
            identity.consent = to.consent;
            identity.consent_at = to.consent_at;
            identity.consent_source = to.consent_source;
            self.people.set(identity.identity, Some(identity));
        }
        let mut first = self.known_person(to.row)?;
        first.tied = true;
        self.people.set(first.identity, Some(first));
        for (sender, at) in self.conversations_of(from.row)? {
            self.set_last_inbound(to.row, sender, at)?;
        }
        self.conversations.set(from.row, Some(Vec::new()));
        Ok(())
    }

    fn append_tie(&mut self, tie: &TieColumns) -> Result<(), Halt> {
        self.ties.push(*tie);
        Ok(())
    }

    fn set_variant(&mut self, identity: IdentityRow, variant: AddressVariant) -> Result<(), Halt> {
        let known = self.person_at(identity)?;
        let mut known = known.ok_or(Broken::Gone("identity"))?;
        known.variant = Some(variant);
        self.people.set(identity, Some(known));
        Ok(())
    }

    fn was_delivered(&mut self, person: &Person, variant: AddressVariant) -> Result<bool, Halt> {
        for row in self
            .recent_messages(person.row)?
            .into_iter()
            .take(DELIVERED_MAX)
        {
            if self.recipient(row)? == person.identity && self.was_delivered_as(row, variant)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn set_consent(
        &mut self,
        person: PersonRow,
        consent: Consent,
        cause: &ConsentCause,
    ) -> Result<(), Halt> {
        let first = self.known_person(person)?;
        let all = if first.tied {
            self.tied_to(person)?
        } else {
            vec![first]
        };
        for mut known in all {
            known.consent = consent;
            known.consent_at = Some(cause.since);
            known.consent_source = Some(cause.source);
            self.people.set(known.identity, Some(known));
        }
        self.consents.push(ConsentRecord {
            person,
            at: cause.now,
            consent: consent.kind(),
            source: cause.source,
            inbound: cause.inbound,
            message: cause.message,
            code: cause.code,
        });
        Ok(())
    }

    fn unanswered(&mut self, before: Timestamp, rows: usize) -> Result<Vec<PersonRow>, Halt> {
        let need = || Need::Unanswered(before);
        let loaded = self.read(|sheet| &sheet.unanswered, &before, need)?;
        let changed = self.people.changes();
        let changed: Vec<PersonRow> = changed
            .filter_map(|(_, person)| person.map(|person| person.row))
            .collect();
        let mut candidates: Vec<PersonRow> = loaded
            .unwrap_or_default()
            .into_iter()
            .chain(changed)
            .collect();
        candidates.sort_unstable();
        candidates.dedup();
        let mut asked = Vec::new();
        for row in candidates {
            let person = self.known_person(row)?;
            let since = person.consent_at.unwrap_or_default();
            if person.consent.kind() == ConsentKind::Asking && since <= before {
                asked.push((since, row));
            }
        }
        asked.sort_unstable();
        Ok(asked.into_iter().map(|(_, row)| row).take(rows).collect())
    }

    fn last_inbound(
        &mut self,
        person: PersonRow,
        sender: SenderRow,
    ) -> Result<Option<Timestamp>, Halt> {
        let all = self.conversations_of(person)?;
        let found = all.into_iter().find(|(known, _)| *known == sender);
        Ok(found.map(|(_, at)| at))
    }

    fn set_last_inbound(
        &mut self,
        person: PersonRow,
        sender: SenderRow,
        now: Timestamp,
    ) -> Result<(), Halt> {
        let mut all = self.conversations_of(person)?;
        match all.iter_mut().find(|(known, _)| *known == sender) {
            Some((_, at)) => *at = (*at).max(now),
            None => all.push((sender, now)),
        }
        self.conversations.set(person, Some(all));
        Ok(())
    }
}

impl SenderRows for Sheet {
    fn sender(&mut self, name: &SenderName) -> Result<Option<SenderRow>, Halt> {
        let mut rows = self.senders.rows();
        let found = rows.find(|(_, known)| known.configured && known.name == name.as_str());
        Ok(found.map(|(row, _)| *row))
    }

    fn configured_senders(&mut self) -> Result<Vec<SenderRow>, Halt> {
        let configured = self.senders.rows().filter(|(_, known)| known.configured);
        let mut rows: Vec<SenderRow> = configured.map(|(row, _)| *row).collect();
        rows.sort_unstable();
        Ok(rows)
    }

    fn last_addressed(&mut self, person: PersonRow) -> Result<Option<SenderRow>, Halt> {
        let configured = self.configured_senders()?;
        let all = self.conversations_of(person)?;
        let ours = all.into_iter().filter(|(row, _)| configured.contains(row));
        Ok(ours.max_by_key(|(_, at)| *at).map(|(row, _)| row))
    }

    fn is_paused(&mut self, sender: SenderRow) -> Result<bool, Halt> {
        let known = self.senders.get(&sender).flatten();
        Ok(known.is_some_and(|known| known.paused_at.is_some()))
    }

    fn pause(
        &mut self,
        whom: Pausing,
        reason: &str,
        source: PauseSource,
        now: Timestamp,
    ) -> Result<usize, Halt> {
        let rows: Vec<SenderRow> = self
            .senders
            .rows()
            .filter(|(row, _)| whom == Pausing::All || whom == Pausing::One(**row))
            .map(|(row, _)| *row)
            .collect();
        let mut paused = 0;
        for row in rows {
            let Some(mut known) = self.senders.get(&row).flatten().cloned() else {
                continue;
            };
            let lasts_longer =
                known.pause_source == Some(PauseSource::Answer) && source == PauseSource::Report;
            if known.paused_at.is_none() {
                paused += 1;
                known.paused_at = Some(now);
            } else if !lasts_longer {
                continue;
            }
            known.pause_reason = Some(reason.to_owned());
            known.pause_source = Some(source);
            self.senders.set(row, Some(known));
        }
        Ok(paused)
    }

    fn resume_because(&mut self, reason: &str) -> Result<usize, Halt> {
        let rows: Vec<SenderRow> = self
            .senders
            .rows()
            .filter(|(_, known)| known.pause_reason.as_deref() == Some(reason))
            .map(|(row, _)| *row)
            .collect();
        for row in &rows {
            if let Some(mut known) = self.senders.get(row).flatten().cloned() {
                known.paused_at = None;
                known.pause_reason = None;
                known.pause_source = None;
                self.senders.set(*row, Some(known));
            }
        }
        Ok(rows.len())
    }

    fn set_paused(&mut self, name: &str, paused: bool, now: Timestamp) -> Result<bool, Halt> {
        let found = self.senders.rows().find(|(_, known)| known.name == name);
        let Some((row, mut known)) = found.map(|(row, known)| (*row, known.clone())) else {
            return Ok(false);
        };
        if paused {
            known.paused_at = known.paused_at.or(Some(now));
            known.pause_reason = Some("operator".to_owned());
            known.pause_source = Some(PauseSource::Operator);
        } else {
            known.resumed_at = known.paused_at.map(|_| now).or(known.resumed_at);
            known.paused_at = None;
            known.pause_reason = None;
            known.pause_source = None;
        }
        self.senders.set(row, Some(known));
        Ok(true)
    }
}
