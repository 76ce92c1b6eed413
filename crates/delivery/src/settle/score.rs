//! How well a listed message fits an unknown attempt.

/// The most that closeness says.
pub(super) const CLOSENESS_MAX: i64 = 4_095;

/// How well a message fits an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Score {
    /// What tells attempts of different content apart.
    pub(super) points: i64,
    /// How near in time it is, up to [`CLOSENESS_MAX`]; orders attempts of the same content.
    pub(super) closeness: i64,
    /// Whether the text or the media show that it is ours.
    pub(super) is_evidence: bool,
}
