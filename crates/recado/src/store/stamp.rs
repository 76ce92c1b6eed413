//! When something is stored, and by what chance.

use delivery::time::Timestamp;

use crate::effects::Effects;

/// The time of a request to the store, and random bits for what it decides. They travel together,
/// because a transaction reads no clock and draws no bits: it may run twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Now.
    pub now: Timestamp,
    /// 64 random bits.
    pub random: u64,
}

impl Stamp {
    /// The present time and fresh random bits.
    pub fn of(effects: &Effects) -> Self {
        Self {
            now: effects.clock.now(),
            random: effects.random.next_u64(),
        }
    }
}
