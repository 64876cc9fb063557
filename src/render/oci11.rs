//! OCI 1.1 (Proposal E, final): `GET /v2/<name>/referrers/<digest>`.

use bytes::Bytes;

use super::entry::append_entries;
use super::filter::Filter;
use super::page::{MAX_BODY, RenderedPage, Window};
use crate::oci::ReferrerList;
use crate::oci::media_type;

/// The content type, without parameters because clients compare it as text.
pub const CONTENT_TYPE: &str = media_type::OCI_IMAGE_INDEX;
/// The header of every filtered answer, with the value [`FILTERS_APPLIED`].
pub const FILTERS_APPLIED_HEADER: &str = "oci-filters-applied";
pub const FILTERS_APPLIED: &str = "artifactType";

const OPEN: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":["#;
const CLOSE: &str = "]}";
/// Clients of Proposal E and of 1.1's release candidates look for these annotations instead of the header.
const CLOSE_FILTERED: &str = concat!(
    r#"],"annotations":{"org.opencontainers.references.filtersApplied":"artifactType","#,
    r#""org.opencontainers.referrers.filtersApplied":"artifactType"}}"#
);

/// The entries of `window` that `filter` lets through.
pub fn print(links: &ReferrerList, filter: &Filter, window: &Window) -> RenderedPage {
    let close = if filter.is_empty() { CLOSE } else { CLOSE_FILTERED };
    let room = MAX_BODY - OPEN.len() - close.len();
    let (entries, next) = window.print_entries(links, filter, room);
    RenderedPage {
        body: [OPEN.as_bytes(), &entries, close.as_bytes()].concat().into(),
        next,
    }
}

/// The whole list in one index, however long: for a referrers tag, which has no pages.
pub fn print_whole(links: &ReferrerList) -> Bytes {
    let mut out = OPEN.as_bytes().to_vec();
    append_entries(&mut out, links.referrers.iter().map(|r| &r.descriptor));
    out.extend_from_slice(CLOSE.as_bytes());
    // Printed once and kept with the list.
    out.shrink_to_fit();
    out.into()
}
