//! Where people write to us: each number in each form, each Messaging Service.

use delivery::address::{Address, Context};
use delivery::message::SenderName;
use delivery::row::SenderRow;
use delivery::sid::Sid;

use crate::provider::InboundRecipient;

/// One number of ours, in one form, or one Messaging Service.
pub(super) struct Source {
    pub(super) row: SenderRow,
    pub(super) name: SenderName,
    pub(super) recipient: InboundRecipient,
}

impl Source {
    /// What the cursor is kept by.
    pub(super) fn key(&self) -> String {
        match &self.recipient {
            InboundRecipient::Number(number) => number.clone(),
            InboundRecipient::Service(service) => service.to_string(),
        }
    }
}

/// Each number in each form: the provider may write a Brazilian mobile without its ninth digit.
pub(super) fn sources(senders: &[(SenderRow, SenderName)]) -> Vec<Source> {
    let mut sources = Vec::new();
    for (row, name) in senders {
        let recipients = if name.is_messaging_service() {
            let service = Sid::parse(name.as_str(), &["MG"]).ok();
            service.map(InboundRecipient::Service).into_iter().collect()
        } else {
            let mut numbers = vec![name.as_str().to_owned()];
            if let Ok(parsed) = Address::parse(name.as_str(), Context::Inbound) {
                numbers.push(parsed.address.canonical().to_owned());
                numbers.extend(parsed.address.alternative());
            }
            numbers.sort();
            numbers.dedup();
            numbers
                .into_iter()
                .map(InboundRecipient::Number)
                .collect::<Vec<_>>()
        };
        sources.extend(recipients.into_iter().map(|recipient| Source {
            row: *row,
            name: name.clone(),
            recipient,
        }));
    }
    sources
}
