//! The language of the field: digests, names, tags, descriptors, manifests, error bodies and tag schemes.
//!
//! Pure: no I/O, no clock, no other module of this crate. All knowledge of how a link is *read* lives here
//! ([`Manifest::links`], [`tag_scheme::parse`]); how links are *found* is `links`, how they are *printed* is `dialect`.

pub mod descriptor;
pub mod digest;
pub mod envelope;
pub mod error;
pub mod error_body;
pub mod fallback_index;
pub mod link;
pub mod link_kind;
pub mod manifest;
pub mod media_type;
pub mod name;
pub mod referrer;
pub mod tag_scheme;
pub mod timestamp;
pub mod weight;

pub use descriptor::Descriptor;
pub use digest::Digest;
pub use error::{Code, OciError};
pub use error_body::ErrorBody;
pub use fallback_index::FallbackIndex;
pub use link::{Dialect, LinkTarget, ManifestLink};
pub use manifest::{Manifest, ManifestError};
pub use name::{InvalidName, Reference, RepositoryName, Tag};
pub use referrer::{Links, Referrer};
pub use tag_scheme::{LinkTag, LinkTagKind, SubjectKey};
