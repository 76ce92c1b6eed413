//! A transaction's rows kept in memory: loaded before, changed here, written at the end. A read of
//! what was not loaded notes what is missing and ends the run; it is loaded, and everything runs
//! again.
//!
//! Part of the test build only. It proves that operations may run twice, and that they see a batch's
//! own changes, before an engine exists that needs both.

mod fault;
mod hold;
mod inbound;
mod key;
mod message;
mod person;
mod record;
mod report;
mod table;
mod tables;

pub use fault::{FAULTS, Fault};
pub(crate) use record::{
    AnswerRecord, ApiKeyRecord, AttemptRecord, CheckChange, EvidenceRecord, HoldRecord,
    InboundRecord, MessageRecord, Need, Numbers, ParkedRecord, SenderRecord,
};
pub(crate) use tables::{Halt, Sheet};
