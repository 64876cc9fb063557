//! `/v2/<name>/manifests/<reference>`: reads, writes, and referrers tags that the registry lacks.

pub(crate) mod read;
pub(crate) mod synthesised;
pub(crate) mod write;
