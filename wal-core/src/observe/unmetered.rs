//! No metrics: compiles to nothing.

use super::Outcome;
use crate::stats::Stats;
use crate::sync::Arc;

pub(super) struct Meters;

impl Meters {
    #[inline(always)]
    pub(super) const fn new(_: &Arc<str>) -> Self {
        Self
    }

    #[inline(always)]
    pub(super) const fn end(&self, _: Outcome<'_>) {}

    #[inline(always)]
    pub(super) const fn poisoned(&self) {}

    #[inline(always)]
    pub(super) const fn stats(&self, _: &Stats) {}
}
