//! One handler for each endpoint that refshim does more about than pass it on.

pub(super) mod blobs;
pub(super) mod discovery;
pub(super) mod manifests;
pub(super) mod proposal_a;
pub(super) mod proposal_b;
pub(super) mod proposal_c;
pub(super) mod referrers;
pub(super) mod subject_lookup;
pub(super) mod tags;
pub(super) mod ui;
