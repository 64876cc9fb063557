//! One registry as typed calls: connections, credentials, retries, and what has been learned about it.
//!
//! ```text
//! client            ─► reader authentication capabilities transport caller classify retry answer origin request_allowance counts error tag_names
//! reader            ─► authentication capabilities transport caller background_work request_rate classify retry answer origin counts error
//! authentication    ─► transport caller classify request_allowance counts error
//! capabilities      ─► caller error
//! transport         ─► answer origin request_allowance counts error
//! caller            ─► background_work search_budget counts error
//! search_budget     ─► counts error
//! classify          ─► retry answer error
//! retry             ─► error
//! answer            ─► error
//! origin            ─► error
//! request_allowance ─► request_rate error
//! request_rate
//! background_work
//! counts
//! error
//! tag_names
//! ```
//!
//! Every request leaves through `transport`, which times and counts it; `authentication` says on whose credentials. refshim's own
//! reads go through `reader`: bounded, retried, redirected under a policy, and those of searches also held back while the registry
//! wants to be left alone. Callers' requests go by [`Upstream::forward`], which no search can starve. `capabilities` remembers what
//! answers told of the registry. `client` is [`Upstream`]: the calls that the rest of refshim makes.

mod answer;
mod authentication;
mod background_work;
mod caller;
mod capabilities;
mod classify;
mod client;
mod counts;
mod error;
mod origin;
mod reader;
mod request_allowance;
mod request_rate;
mod retry;
mod search_budget;
mod tag_names;
mod transport;

pub use answer::{Answer, HeadOutcome, Native, RawManifest, Refusal, RegistryResponse, Stop};
pub use background_work::BackgroundWork;
pub use caller::{Caller, Credential, CredentialHash, STORED_ONLY};
pub use capabilities::native_support::{NativeAbsence, NativeSupport};
pub use client::Upstream;
pub use client::blob_copy::CallersRepository;
pub use client::blob_download::BlobDownload;
pub use client::blob_transfer::BlobWritten;
pub use client::caller_login::CallerLogin;
pub use client::credential_calls::CredentialCheck;
pub use client::manifest_calls::is_encoded;
pub use client::optimistic_put::{ConditionalReply, OptimisticPut};
pub use client::ping::no_registry;
pub use client::registry_page::{PageCursor, RegistryPage};
pub use client::seek::CalibratedWithin;
pub use client::sibling::Sibling;
pub use client::tag_listing::Tags;
pub use client::walk::{ListingWalk, WalkStep};
pub use client::walked_listing::WalkedListing;
pub use client::write_condition::WriteCondition;
pub use client::write_headers::WriteHeaders;
pub use counts::{BackoffOutcome, RequestKind, RequestOutcome};
pub use error::{SetupError, UpstreamError};
pub use reader::search_queue::Permit;
pub use request_allowance::RequestAllowance;
pub use tag_names::{Fingerprint, TagNames, TagNamesBuilder};

/// For the fuzz targets.
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing {
    pub(crate) use super::client::tag_page::parse as parse_tag_page;
    pub(crate) use super::retry::retry_after;
    pub(crate) use super::tag_names::TagNamesBuilder;
    pub(crate) use crate::http::link_header::next as next_link;
}
