//! One handler per endpoint that refshim answers itself.

pub(crate) mod blobs;
pub(crate) mod discovery;
pub(crate) mod manifests;
pub(crate) mod proposal_a;
pub(crate) mod proposal_b;
pub(crate) mod proposal_c;
pub(crate) mod referrers;
pub(crate) mod subject_lookup;
pub(crate) mod tags;
pub(crate) mod ui;
