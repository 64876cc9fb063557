//! `/v2/<name>/blobs/…`: transfers, upload offsets, and the small blobs that are remembered.

pub(crate) mod cache;
pub(crate) mod transfer;
pub(crate) mod upload;
