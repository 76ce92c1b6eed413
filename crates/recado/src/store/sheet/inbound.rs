//! Inbound messages, words about consent and URLs of callbacks of a sheet.

use delivery::row::PersonRow;
use delivery::sid::Sid;
use delivery::time::Timestamp;

use super::record::{CheckChange, InboundRecord, Need};
use super::tables::{Halt, Sheet};
use crate::store::InboundCursor;
use crate::store::operations::columns::{InboundColumns, KnownInbound, WordColumns};
use crate::store::operations::rows::{Broken, CallbackUrlRows, InboundRows, WORDS_MAX};

impl Sheet {
    fn inbound_record(&mut self, sid: Sid) -> Result<Option<InboundRecord>, Halt> {
        self.read(|sheet| &sheet.inbound, &sid, || Need::Inbound(sid))
    }

    fn all_words(&mut self, person: PersonRow) -> Result<Vec<WordColumns>, Halt> {
        let found = self.read(|sheet| &sheet.words, &person, || Need::Words(person))?;
        Ok(found.unwrap_or_default())
    }

    /// Puts a message among the person's words when it is one.
    fn say(&mut self, key: i64, inbound: &InboundColumns<'_>) -> Result<(), Halt> {
        let Some(word) = inbound.word else {
            return Ok(());
        };
        let mut words = self.all_words(inbound.person)?;
        if words.iter().any(|known| known.key == key) {
            return Ok(());
        }
        words.push(WordColumns {
            key,
            sid: inbound.sid,
            word,
            received_at: inbound.received_at,
            written_at: inbound.written_at,
        });
        words.sort_by_key(|word| std::cmp::Reverse(word.key));
        self.words.set(inbound.person, Some(words));
        Ok(())
    }
}

impl InboundRows for Sheet {
    fn inbound(&mut self, sid: Sid) -> Result<Option<KnownInbound>, Halt> {
        let found = self.inbound_record(sid)?;
        Ok(found.map(|record| KnownInbound {
            key: record.id,
            identity: record.identity,
            word: record.word,
            listed: record.listed,
        }))
    }

    fn insert_inbound(&mut self, inbound: &InboundColumns<'_>) -> Result<i64, Halt> {
        self.next.inbound += 1;
        let key = self.next.inbound;
        let record = InboundRecord {
            id: key,
            person: inbound.person,
            identity: inbound.identity,
            sender: inbound.sender,
            message_type: inbound.message_type.to_owned(),
            media: inbound.media,
            reply_to: inbound.reply_to,
            received_at: inbound.received_at,
            written_at: inbound.written_at,
            word: inbound.word,
            listed: inbound.listed,
            sealed_payload: inbound.sealed_payload.to_vec(),
            is_new: true,
        };
        self.inbound.set(inbound.sid, Some(record));
        self.say(key, inbound)?;
        Ok(key)
    }

    fn complete_inbound(&mut self, key: i64, inbound: &InboundColumns<'_>) -> Result<(), Halt> {
        let record = self.inbound_record(inbound.sid)?;
        let mut record = record.ok_or(Broken::Gone("inbound"))?;
        inbound.message_type.clone_into(&mut record.message_type);
        record.media = inbound.media;
        record.reply_to = inbound.reply_to;
        record.sealed_payload = inbound.sealed_payload.to_vec();
        record.word = inbound.word;
        record.listed = false;
        let said = InboundColumns {
            person: record.person,
            identity: record.identity,
            received_at: record.received_at,
            written_at: record.written_at,
            message_type: inbound.message_type,
            sealed_payload: inbound.sealed_payload,
            ..*inbound
        };
        self.inbound.set(inbound.sid, Some(record));
        self.say(key, &said)
    }

    fn words(&mut self, person: PersonRow) -> Result<Vec<WordColumns>, Halt> {
        let mut words = self.all_words(person)?;
        words.truncate(WORDS_MAX);
        Ok(words)
    }

    fn set_written_at(
        &mut self,
        person: PersonRow,
        key: i64,
        written_at: Timestamp,
    ) -> Result<(), Halt> {
        let mut words = self.all_words(person)?;
        for word in words.iter_mut().filter(|word| word.key == key) {
            word.written_at = Some(written_at);
        }
        self.words.set(person, Some(words));
        Ok(())
    }

    fn set_consent_check(&mut self, person: PersonRow, due_at: Timestamp) -> Result<(), Halt> {
        self.consent_checks.push((person, CheckChange::Due(due_at)));
        Ok(())
    }

    fn delete_consent_check(&mut self, person: PersonRow) -> Result<(), Halt> {
        self.consent_checks.push((person, CheckChange::Done));
        Ok(())
    }

    fn give_inbound(&mut self, from: PersonRow, to: PersonRow) -> Result<(), Halt> {
        self.read(|sheet| &sheet.inbound_of, &from, || Need::InboundOf(from))?;
        let theirs: Vec<(Sid, InboundRecord)> = self
            .inbound
            .rows()
            .filter(|(_, record)| record.person == from)
            .map(|(sid, record)| (*sid, record.clone()))
            .collect();
        for (sid, mut record) in theirs {
            record.person = to;
            self.inbound.set(sid, Some(record));
        }
        let mut words = self.all_words(to)?;
        words.extend(self.all_words(from)?);
        words.sort_by_key(|word| std::cmp::Reverse(word.key));
        self.words.set(to, Some(words));
        self.words.set(from, Some(Vec::new()));
        self.consent_checks.push((from, CheckChange::Given(to)));
        Ok(())
    }

    fn set_inbound_cursor(&mut self, cursor: &InboundCursor) -> Result<(), Halt> {
        self.cursors.push(cursor.clone());
        Ok(())
    }
}

impl CallbackUrlRows for Sheet {
    fn callback_urls(&mut self) -> Result<Vec<(String, Option<Timestamp>)>, Halt> {
        let found = self.read(|sheet| &sheet.callback_urls, &(), || Need::CallbackUrls)?;
        Ok(found.unwrap_or_default())
    }

    fn set_callback_url(&mut self, url: &str, replaced_at: Option<Timestamp>) -> Result<(), Halt> {
        let mut urls = self.callback_urls()?;
        urls.retain(|(known, _)| known != url);
        urls.push((url.to_owned(), replaced_at));
        urls.sort();
        self.callback_urls.set((), Some(urls));
        Ok(())
    }

    fn delete_callback_url(&mut self, url: &str) -> Result<(), Halt> {
        let mut urls = self.callback_urls()?;
        urls.retain(|(known, _)| known != url);
        self.callback_urls.set((), Some(urls));
        Ok(())
    }
}
