//! OCI's data types: digests, names, tags, descriptors, manifests, error bodies and tag schemes.
//!
//! This module uses no I/O, no clock and no other module of this crate. It knows how to *read* links ([`Manifest::links`],
//! [`tag_scheme::parse`]); `referrers` *searches* a registry for them, and `render` *prints* them.

pub mod adoption;
pub mod descriptor;
pub mod digest;
pub mod digest_hasher;
pub mod envelope;
pub mod error;
pub mod error_body;
pub mod link;
pub mod manifest;
pub mod media_type;
pub mod name;
pub mod reference_type;
pub mod referrer;
pub mod referrers_tag_index;
pub mod sibling_template;
pub mod stated_links;
pub mod subject_key;
pub mod tag_scheme;
pub mod timestamp;
pub mod weight;

pub use descriptor::Descriptor;
pub use digest::Digest;
pub use digest_hasher::DigestHasher;
pub use error::{Code, OciError};
pub use error_body::ErrorBody;
pub use link::{LinkSource, LinkTarget};
pub use manifest::Manifest;
pub use name::{InvalidName, Reference, RepositoryName, Tag};
pub use referrer::{AdoptedOriginal, Referrer, ReferrerList};
pub use referrers_tag_index::ReferrersTagIndex;
pub use sibling_template::SiblingTemplate;
pub use subject_key::SubjectKey;
pub use tag_scheme::{LinkTag, LinkTagKind};
