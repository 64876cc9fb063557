//! One search for everything that refers to a subject: from the sources' candidates to verified entries.

pub(crate) mod absences;
mod adopted;
pub(crate) mod candidates;
pub(crate) mod context;
pub(crate) mod entries;
pub(crate) mod held_links;
pub(crate) mod lag;
mod read_candidates;
pub(crate) mod run;
pub(crate) mod sources;
pub(crate) mod unfinished;
pub(crate) mod unverified;

/// Manifests that one source reads at once. The upstream's own limit bounds all scans together.
pub(in crate::referrers) const PARALLEL: usize = 16;
