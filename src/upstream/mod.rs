//! One registry as typed calls: pool, TLS, credentials, retry, and what has been learned about it.

mod answer;
mod caller;
mod error;
mod tag_names;

pub use answer::{Answer, ManifestHead, RawManifest, Refusal};
pub use caller::Caller;
pub use error::UpstreamError;
pub use tag_names::TagNames;
