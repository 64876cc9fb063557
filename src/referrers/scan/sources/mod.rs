//! The places that are searched for links, a file each; in which forms links are written there is `oci::LinkSource`. A place names
//! candidates; what an entry says of itself comes from its own bytes.
//!
//! `scan::run` asks `link_tags`, `ordinary_tags` (`tags_with_links` where only names are read) and `observed`; `manifest_links` helps
//! them. The registry's own API is asked in `referrers::own_api`.

pub(crate) mod link_tags;
pub(crate) mod manifest_links;
pub(crate) mod observed;
pub(crate) mod ordinary_tags;
pub(crate) mod tags_with_links;
