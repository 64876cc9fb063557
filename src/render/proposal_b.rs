//! Proposal B: `GET /v2/<name>/manifests/<ref>/references`.

use bytes::Bytes;

use super::oci11;
use crate::oci::ReferrerList;

pub const CONTENT_TYPE: &str = oci11::CONTENT_TYPE;

/// An image index with the complete list: the proposal has neither filters nor pages.
pub fn print(links: &ReferrerList) -> Bytes {
    oci11::print_whole(links)
}
