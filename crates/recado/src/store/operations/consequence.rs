//! What a fact about one message leads to beyond it: a paused sender, a hold, a person who has opted
//! out.

use delivery::consent::Consent;
use delivery::event::Source;
use delivery::progress::Progress;
use delivery::time::Timestamp;

use super::columns::ConsentCause;
use super::consent::change_consent;
use super::hold::follow_hold;
use super::rows::Rows;
use super::transaction::{Consequences, Transaction};

/// Acts on what a fact has led to. The progress is read again when it may have changed.
pub(super) fn follow<R: Rows>(
    transaction: &mut Transaction<'_, R>,
    progress: &mut Progress,
    consequences: &Consequences,
    now: Timestamp,
) -> Result<(), R::Error> {
    let paused = transaction.pause_for(progress.sender, consequences, now)?;
    follow_hold(transaction, progress, consequences, paused, now)?;
    if consequences.suppress_person {
        suppress_person(transaction, progress, consequences.code, now)?;
        // This message may have been one of the person's waiting ones.
        if let Some(fresh) = transaction.rows.progress(progress.message)? {
            *progress = fresh;
        }
    }
    Ok(())
}

/// A refusal of the class `opt_out` opts the person out. When they are out already it is written all the
/// same: it outlives an opt-in that was written before it and is not known yet.
fn suppress_person<R: Rows>(
    transaction: &mut Transaction<'_, R>,
    progress: &Progress,
    code: Option<u32>,
    now: Timestamp,
) -> Result<(), R::Error> {
    let cause = ConsentCause {
        source: Source::Callback,
        now,
        since: now,
        inbound: None,
        message: Some(progress.message),
        code,
    };
    change_consent(transaction, progress.person, Consent::OptedOut, cause)?;
    Ok(())
}
