//! What the looks of this room share.

use std::sync::Arc;

use super::lag::LagMeter;
use super::readings::Readings;
use super::settlement::Settlements;
use super::silent::OutageRest;
use crate::provider::Provider;
use crate::store::Watches;

/// What every look needs.
pub(super) struct Context {
    pub(super) store: Arc<dyn Watches>,
    pub(super) provider: Arc<dyn Provider>,
    pub(super) settlements: Settlements,
    pub(super) outage: OutageRest,
    pub(super) readings: Readings,
    pub(super) lag: LagMeter,
}
