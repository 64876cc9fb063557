//! The distribution-spec's endpoints as typed calls of one registry: manifests, blobs, tags, referrers.

pub(crate) mod blob_calls;
pub(crate) mod listing_end;
pub(crate) mod manifest_calls;
pub(crate) mod page_reader;
pub(crate) mod paging;
pub(crate) mod referrers_api;
pub(crate) mod seek;
pub(crate) mod tag_listing;
pub(crate) mod tag_page;
pub(crate) mod write;
