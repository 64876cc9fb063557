//! The language of the field: digests, names, tags, descriptors, manifests, error bodies and tag schemes.
//!
//! Pure: no I/O, no clock, no other module of this crate. All knowledge of how a link is *read* lives here
//! ([`Manifest::links`], [`tag_scheme::parse`]); how links are *found* is `referrers`, how they are *printed* is `render`.

pub mod descriptor;
pub mod digest;
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
pub mod tag_scheme;
pub mod timestamp;
pub mod weight;

pub use descriptor::Descriptor;
pub use digest::Digest;
pub use error::{Code, OciError};
pub use error_body::ErrorBody;
pub use link::{LinkSource, LinkTarget};
pub use manifest::Manifest;
pub use name::{InvalidName, Reference, RepositoryName, Tag};
pub use referrer::{Referrer, ReferrerList};
pub use referrers_tag_index::ReferrersTagIndex;
pub use tag_scheme::{LinkTag, LinkTagKind, SubjectKey};
