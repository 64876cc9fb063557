//! A tag listing as it is remembered, in this process and where replicas share it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::cache::{Cached, from_json, to_json};
use crate::registry::{CredentialHash, Fingerprint, TagNames, WalkedListing};

/// A listing, with its pages where it has many.
pub(super) struct RememberedListing {
    pub listing: WalkedListing,
    /// Of its names.
    pub fingerprint: Fingerprint,
    /// How long reading it took.
    pub took: Duration,
    /// Whose credential it was read with, where this process did.
    pub listed_to: Option<CredentialHash>,
}

/// A listing as other processes read it.
#[derive(Serialize, Deserialize)]
struct StoredListing<L> {
    took_ms: u64,
    listing: L,
}

impl RememberedListing {
    pub fn names(&self) -> &Arc<TagNames> {
        self.listing.names()
    }
}

impl Cached for RememberedListing {
    fn weight(&self) -> usize {
        self.listing.weight() + size_of::<Self>() - size_of::<WalkedListing>()
    }

    fn encode(&self) -> Option<Vec<u8>> {
        to_json(&StoredListing {
            took_ms: u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX),
            listing: &self.listing,
        })
    }

    fn decode(_: &str, bytes: Bytes) -> Option<Self> {
        let stored = from_json::<StoredListing<WalkedListing>>(&bytes)?;
        let listing = stored.listing;
        Some(Self {
            fingerprint: listing.names().fingerprint(),
            listing,
            took: Duration::from_millis(stored.took_ms),
            listed_to: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &'static str) -> Option<RememberedListing> {
        RememberedListing::decode("", Bytes::from_static(json.as_bytes()))
    }

    #[test]
    fn other_processes_read_when_a_listing_began_and_its_pages() {
        let stored = r#"{"took_ms":1500,"listing":{"tags":["a","b"],"pages":[{"cursor":"/v2/r/tags/list","by_last":false,"end":1},{"cursor":"/v2/r/tags/list?last=b","by_last":false,"end":2}],"order":[1,0],"longest":1,"followed_links":true}}"#;
        let listing = read(stored).unwrap();
        assert_eq!(
            (listing.listing.page_count(), listing.took),
            (2, Duration::from_millis(1500))
        );
        assert_eq!(listing.encode().unwrap(), stored.as_bytes());
        assert!(read("[\"a\"]").is_none());
        let unsorted = stored.replace(r#"["a","b"]"#, r#"["b","a"]"#);
        assert!(RememberedListing::decode("", unsorted.into()).is_none());
    }

    #[test]
    fn pages_of_other_names_are_not_believed() {
        for pages in [
            r#""pages":[{"cursor":"/x","by_last":false,"end":2}],"order":[0]"#,
            r#""pages":[{"cursor":"/x","by_last":false,"end":1}],"order":[1]"#,
            r#""pages":[],"order":[0]"#,
        ] {
            let form = r#""longest":1,"followed_links":true"#;
            let stored = format!(r#"{{"took_ms":1,"listing":{{"tags":["a"],{pages},{form}}}}}"#);
            let listing = RememberedListing::decode("", stored.into()).unwrap();
            assert_eq!((listing.names().len(), listing.listing.page_count()), (1, 0), "{pages}");
        }
    }
}
