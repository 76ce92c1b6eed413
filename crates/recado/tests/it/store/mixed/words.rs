//! What people write in the batches: by callback, found in the list, and both.

use std::sync::Arc;
use std::time::Duration;

use delivery::address::{Address, Context};
use delivery::message::SenderName;
use recado::store::{ConsentCheckQuery, ConsentCheckResult, Inbounds, NewInbound, new_message_id};

use super::{Mixer, Step};
use crate::store::fixture::FIRST;
use crate::store::samples::number;

impl Mixer {
    pub(super) fn writes(&mut self, person: u32, body: &str) -> Step<'static> {
        self.writes_with(person, Vec::new(), body)
    }

    /// An inbound message that carries other names of who wrote it.
    pub(super) fn writes_with(
        &mut self,
        person: u32,
        also: Vec<Address>,
        body: &str,
    ) -> Step<'static> {
        let inbound = self.inbound(person, also, body);
        self.receive(inbound)
    }

    /// As by callback, without a time, or as found in the list, or the same message in both ways.
    pub(super) fn writes_somehow(
        &mut self,
        person: u32,
        also: &[Address],
        body: &str,
    ) -> Vec<Step<'static>> {
        let mut ways = match self.random.below(4) {
            0 => vec![(true, false)],
            1 => vec![(false, true)],
            2 => vec![(false, true), (true, false)],
            _ => vec![(true, true)],
        };
        let first = self.inbound(person, also.to_vec(), body);
        let again = self.inbound(person, also.to_vec(), body);
        let again = NewInbound {
            sid: first.sid,
            ..again
        };
        let mut both = vec![first, again];
        both.truncate(ways.len());
        both.into_iter()
            .zip(ways.drain(..))
            .map(|(inbound, (by_callback, known))| {
                self.receive(NewInbound {
                    written_at: inbound.written_at.filter(|_| known),
                    listed: !by_callback,
                    ..inbound
                })
            })
            .collect()
    }

    /// What the provider says about the first word that waits for it.
    pub(super) async fn in_order(&self) -> Option<Step<'static>> {
        let query = ConsentCheckQuery {
            now: self.now,
            limit: 1,
        };
        let checks = self.store.consent_checks(query).await.unwrap();
        let check = checks.due.first()?;
        let ago = Duration::from_secs(u64::try_from(self.random.below(120)).unwrap());
        let result = ConsentCheckResult {
            person: check.person,
            learned: check.ask.map(|ask| (ask.key, ask.received_at.minus(ago))),
            again_at: Some(self.now),
            now: self.now,
        };
        let store = Arc::clone(&self.store);
        Some(Box::pin(async move {
            format!(
                "{:?}",
                store.settle_consent_checks(vec![result]).await.unwrap()
            )
        }))
    }

    fn inbound(&mut self, person: u32, also: Vec<Address>, body: &str) -> NewInbound {
        let from = Address::parse(&number(person), Context::Inbound).unwrap();
        NewInbound {
            sid: self.sid(),
            from: from.address,
            also,
            sent_form: from.sent_form,
            to: Some(SenderName::new(FIRST)),
            message_type: "text".to_owned(),
            payload: "{}".to_owned(),
            media: 0,
            reply_to: None,
            body: body.to_owned(),
            button_payload: None,
            provider_keyword: None,
            question_id: new_message_id(self.now, &self.random),
            // In the order of these calls.
            written_at: Some(self.now.plus(Duration::from_micros(self.serial))),
            listed: false,
            now: self.now,
        }
    }

    fn receive(&self, inbound: NewInbound) -> Step<'static> {
        let store = Arc::clone(&self.store);
        Box::pin(async move { format!("{:?}", store.inbound(vec![inbound]).await.unwrap()) })
    }
}
