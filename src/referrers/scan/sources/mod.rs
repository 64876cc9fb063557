//! Where links are written down, a file per source. A source names candidates; what an entry says of itself comes
//! from its own bytes.

pub(crate) mod link_tags;
pub(crate) mod manifest_links;
pub(crate) mod observed;
pub(crate) mod ordinary_tags;
pub(crate) mod tags_with_links;
