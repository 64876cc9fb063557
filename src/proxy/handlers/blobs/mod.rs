//! `/v2/<name>/blobs/…`: transfers, upload offsets, and the small blobs that are remembered.

mod cache;
mod sibling;
pub(in crate::proxy) mod transfer;
mod upload;
