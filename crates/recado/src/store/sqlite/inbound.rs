//! Inbound messages: deduplicated by SID, sealed, tied to the person; they open the window, teach
//! the address form, and may change consent, all in one transaction.

use delivery::address::AddressVariant;
use delivery::consent::{self, Consent, ConsentChange, InboundText};
use delivery::event::Source;
use delivery::keyword::KeywordLanguage;
use delivery::message::{Content, Kind, Policy, Priority};
use delivery::sid::Sid;
use delivery::state::State;
use delivery::time::Timestamp;
use delivery::window::WindowCheck;
use rusqlite::{OptionalExtension, Row, params};

use super::accept::{associated_data, message_id};
use super::context::{Cohort, Context, TransitionInput, decrypt_error};
use super::person::{self, ConsentCause, Person};
use super::{Shared, SqliteStore};
use crate::store::{
    InboundQuery, InboundResult, InboundView, MessageId, NewInbound, StoreError, sealed,
};
use delivery::progress::{Flags, Progress};

impl SqliteStore {
    pub(super) async fn inbound_batch(
        &self,
        batch: Vec<NewInbound>,
    ) -> Result<Vec<InboundResult>, StoreError> {
        self.writer
            .run(move |context| {
                batch
                    .iter()
                    .map(|inbound| context.inbound(inbound))
                    .collect()
            })
            .await
    }

    pub(super) async fn inbound_page(
        &self,
        query: InboundQuery,
    ) -> Result<Vec<InboundView>, StoreError> {
        self.read_long(move |db, shared| {
            let person = match &query.from {
                Some(address) => {
                    let index = person::blind_index(shared, address);
                    match person::find(db, &index)? {
                        Some(person) => Some(person.id),
                        None => return Ok(Vec::new()),
                    }
                }
                None => None,
            };
            let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
            let before = query.before.unwrap_or(i64::MAX);
            let mut statement = db.prepare_cached(
                "SELECT inbound.id, inbound.sid, inbound.person_id, sender.name, inbound.type, \
                 inbound.sealed_payload, message.public_id, inbound.received_at \
                 FROM inbound LEFT JOIN sender ON sender.id = inbound.sender_id \
                 LEFT JOIN message ON message.id = inbound.reply_to \
                 WHERE inbound.id < ?1 AND (?2 IS NULL OR inbound.person_id = ?2) \
                 ORDER BY inbound.id DESC LIMIT ?3",
            )?;
            let mut rows = statement.query(params![before, person, limit])?;
            let mut views = Vec::new();
            while let Some(row) = rows.next()? {
                let person = person::by_id(db, row.get(2)?)?;
                views.push(read_view(row, &person, shared)?);
            }
            Ok(views)
        })
        .await
    }
}

impl Context<'_> {
    fn inbound(&mut self, inbound: &NewInbound) -> rusqlite::Result<InboundResult> {
        let person = self.person(&inbound.from)?;
        let raw_sid = inbound.sid.to_bytes();
        let known = self
            .db
            .prepare_cached("SELECT 1 FROM inbound WHERE sid = ?1")?
            .exists([raw_sid])?;
        if known {
            return Ok(InboundResult {
                duplicate: true,
                person: person.id,
                change: ConsentChange::None,
            });
        }
        let sender = match &inbound.to {
            Some(name) => self.sender_key(name)?,
            None => None,
        };
        let key = self.insert_inbound(inbound, &person, sender)?;
        self.open_window(&person, sender, inbound.now)?;
        self.learn_variant(&person, inbound)?;
        let text = InboundText {
            body: &inbound.body,
            button_payload: inbound.button_payload.as_deref(),
            opt_out_type: inbound.opt_out_type.as_deref(),
        };
        let change = consent::read_inbound(person.consent, &text);
        self.apply_change(inbound, &person, sender, key, change)?;
        Ok(InboundResult {
            duplicate: false,
            person: person.id,
            change,
        })
    }

    fn insert_inbound(
        &self,
        inbound: &NewInbound,
        person: &Person,
        sender: Option<i64>,
    ) -> rusqlite::Result<i64> {
        let key = person.key(self.shared)?;
        let data = payload_data(inbound.sid);
        let sealed_payload = self
            .shared
            .vault
            .seal(&key, &data, inbound.payload.as_bytes());
        let reply_to = match inbound.reply_to {
            Some(sid) => self
                .db
                .prepare_cached("SELECT message_id FROM attempt WHERE sid = ?1")?
                .query_row([sid.to_bytes().as_slice()], |row| row.get::<_, i64>(0))
                .optional()?,
            None => None,
        };
        self.db
            .prepare_cached(
                "INSERT INTO inbound (sid, person_id, sender_id, type, media, reply_to, \
                 received_at, sealed_payload) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?
            .execute(params![
                inbound.sid.to_bytes(),
                person.id,
                sender,
                inbound.message_type,
                inbound.media,
                reply_to,
                inbound.now.micros(),
                sealed_payload,
            ])?;
        Ok(self.db.last_insert_rowid())
    }

    fn open_window(
        &self,
        person: &Person,
        sender: Option<i64>,
        now: Timestamp,
    ) -> rusqlite::Result<()> {
        let Some(sender) = sender else { return Ok(()) };
        self.db
            .prepare_cached(
                "INSERT INTO conversation (person_id, sender_id, last_inbound_at) \
                 VALUES (?1, ?2, ?3) ON CONFLICT (person_id, sender_id) DO UPDATE \
                 SET last_inbound_at = max(last_inbound_at, excluded.last_inbound_at)",
            )?
            .execute(params![person.id, sender, now.micros()])?;
        Ok(())
    }

    /// We answer to the variant of the address from which the person writes.
    fn learn_variant(&self, person: &Person, inbound: &NewInbound) -> rusqlite::Result<()> {
        if !person.has_variant {
            return Ok(());
        }
        let variant = if inbound.sent_form.is_some() {
            AddressVariant::WithoutNinthDigit
        } else {
            AddressVariant::Canonical
        };
        if person.variant != Some(variant) {
            self.db
                .prepare_cached("UPDATE person SET variant = ?2 WHERE id = ?1")?
                .execute(params![person.id, variant.number()])?;
        }
        Ok(())
    }

    fn apply_change(
        &mut self,
        inbound: &NewInbound,
        person: &Person,
        sender: Option<i64>,
        key: i64,
        change: ConsentChange,
    ) -> rusqlite::Result<()> {
        let cause = ConsentCause {
            source: Source::Recipient,
            now: inbound.now,
            inbound: Some(key),
            message: None,
            code: None,
        };
        match change {
            ConsentChange::None => {}
            ConsentChange::OptOut => {
                self.change_consent(person.id, Consent::OptedOut, cause)?;
            }
            ConsentChange::OptIn => {
                self.change_consent(person.id, Consent::Open, cause)?;
            }
            ConsentChange::Ask(language) => {
                self.change_consent(person.id, Consent::Asking { since: inbound.now }, cause)?;
                // Somebody who wrote to a sender that is not ours any more cannot be asked; the
                // hold and its deadline stand all the same.
                if let Some(sender) = sender {
                    self.ask(inbound, person, sender, language)?;
                }
            }
        }
        Ok(())
    }

    /// Puts our question into the queue: an urgent free-form message inside the window that the
    /// person has just opened.
    fn ask(
        &mut self,
        inbound: &NewInbound,
        person: &Person,
        sender: i64,
        language: KeywordLanguage,
    ) -> rusqlite::Result<()> {
        let content = Content::Text {
            body: consent::question(language).to_owned(),
            persistent_action: None,
        };
        let id = inbound.question_id;
        let key = person.key(self.shared)?;
        let sealed = self.shared.vault.seal(
            &key,
            &associated_data("content", id),
            &sealed::encode(&content),
        );
        self.db
            .prepare_cached(
                "INSERT INTO message (public_id, person_id, content_index, template_id, kind, \
                 window_check, accepted_at, sealed_content) VALUES (?1, ?2, ?3, 0, ?4, ?7, ?5, ?6)",
            )?
            .execute(params![
                id.0.as_bytes(),
                person.id,
                [0u8; 16],
                Kind::Service.number(),
                inbound.now.micros(),
                sealed,
                WindowCheck::Enforce.number(),
            ])?;
        let message = self.db.last_insert_rowid();
        let cohort = self.cohort(Cohort {
            hour: inbound.now.hour(),
            sender,
            kind: Kind::Service,
            template: 0,
            area: inbound
                .from
                .area_code()
                .map_or(0, |area| i64::from(area.ddd)),
        })?;
        let flags = if person.has_variant {
            Flags::HAS_VARIANT
        } else {
            0
        };
        let mut progress = Progress {
            message,
            cohort,
            person: person.id,
            sender,
            state: State::Accepted,
            priority: Priority::Urgent,
            policy: Policy::AtMostOnce,
            accepted_at: inbound.now,
            expires_at: Some(inbound.now.plus(delivery::limits::CONSENT_ANSWER_MAX)),
            flags: Flags(Flags::OWN_QUESTION | flags),
            ..Progress::empty()
        };
        self.apply(
            &mut progress,
            TransitionInput::at(inbound.now),
            |transition| {
                transition.accepted(inbound.now, Source::Recipient);
            },
        )
    }
}

fn read_view(row: &Row<'_>, person: &Person, shared: &Shared) -> rusqlite::Result<InboundView> {
    let sid = row.get_ref(1)?.as_blob()?;
    let sid = Sid::from_bytes(sid).ok_or(rusqlite::Error::InvalidQuery)?;
    let address = person.address(shared)?;
    let payload = match &address {
        Some(_) => {
            let key = person.key(shared)?;
            let sealed: Vec<u8> = row.get(5)?;
            let plain = shared
                .vault
                .unseal(&key, &payload_data(sid), &sealed)
                .map_err(decrypt_error)?;
            Some(String::from_utf8_lossy(&plain).into_owned())
        }
        None => None,
    };
    let reply_to: Option<MessageId> = match row.get_ref(6)?.as_blob_or_null()? {
        Some(raw) => Some(message_id(raw)?),
        None => None,
    };
    Ok(InboundView {
        key: row.get(0)?,
        sid,
        from: address,
        to: row.get(3)?,
        message_type: row.get(4)?,
        payload,
        reply_to,
        received_at: Timestamp::from_micros(row.get(7)?),
    })
}

fn payload_data(sid: Sid) -> Vec<u8> {
    [b"inbound.payload:".as_slice(), &sid.to_bytes()].concat()
}
