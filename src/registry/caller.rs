//! On whose behalf the upstream is asked, whether in a search for links, as part of which trace, and by way of which proxies.

use std::fmt;
use std::sync::LazyLock;

use http::header::{AUTHORIZATION, VIA};
use http::{HeaderMap, HeaderName, HeaderValue};
use sha2::{Digest as _, Sha256};

use super::background_work::BackgroundWork;
use super::counts::RequestKind;
use super::error::UpstreamError;
use super::search_budget::SearchBudget;
use crate::http::trace_context::TraceContext;
use crate::http::via;

/// With whose rights the registry is asked: what tells callers apart to whom it may say different things.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Credential {
    /// The account of `links.credentials` ([`Caller::listing_account`]).
    ListingAccount,
    /// The caller's `Authorization`; `None`: callers without one.
    Authorization(Option<HeaderValue>),
}

/// Request header to a refshim on the way: a referrers tag is read as the registry has it, without what refshim would add, and written as it
/// is sent.
pub const STORED_ONLY: HeaderName = HeaderName::from_static("refshim-stored-only");

/// With whose rights the registry is asked, as it is remembered: see [`Caller::credential_hash`].
pub type CredentialHash = [u8; 16];

/// Makes the hashes of this process its own.
static SALT: LazyLock<[u8; 32]> = LazyLock::new(rand::random);
/// What an account of refshim's own may do proves nothing of anybody.
const LISTING_ACCOUNT: CredentialHash = [u8::MAX; 16];

/// The caller's own credentials, trace and `Via`, passed on as they came.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Caller {
    authorization: Option<HeaderValue>,
    credential_hash: CredentialHash,
    trace: Option<TraceContext>,
    /// Without it, requests made for others would go round in a loop of proxies for ever.
    via: Option<HeaderValue>,
    searches: bool,
    /// What nobody waited for when it began.
    background: Option<BackgroundWork>,
    budget: Option<SearchBudget>,
    lists_for_others: bool,
    reads_stored: bool,
    writes: bool,
}

impl Caller {
    /// Nobody in particular.
    pub fn anonymous() -> Self {
        Self::default()
    }

    /// The `Authorization` and the `Via` of a request that is part of `trace`.
    pub fn of(headers: &HeaderMap, trace: Option<TraceContext>) -> Self {
        Self {
            trace,
            via: via::of(headers),
            ..Self::with(headers.get(AUTHORIZATION).cloned())
        }
    }

    /// The same without its `Authorization`.
    pub fn without_authorization(headers: &HeaderMap, trace: Option<TraceContext>) -> Self {
        Self {
            trace,
            via: via::of(headers),
            ..Self::anonymous()
        }
    }

    /// A caller with these credentials.
    pub fn with(authorization: Option<HeaderValue>) -> Self {
        let authorization = authorization.map(|mut value| {
            value.set_sensitive(true);
            value
        });
        Self {
            credential_hash: authorization.as_ref().map(hash_of).unwrap_or_default(),
            authorization,
            ..Self::default()
        }
    }

    /// The same caller, for a search for links: its reads wait where the upstream wants to be left alone, and take no place from
    /// other reads.
    pub fn searching(&self) -> Self {
        Self {
            searches: true,
            ..self.clone()
        }
    }

    /// The same caller, for `work` that nobody waits for: it takes its turns at `upstream.background_rate` until somebody does.
    pub fn in_background(&self, work: BackgroundWork) -> Self {
        Self {
            background: Some(work),
            ..self.clone()
        }
    }

    pub(super) fn background(&self) -> Option<&BackgroundWork> {
        self.background.as_ref()
    }

    /// The same caller, for reads of what is written back: see [`STORED_ONLY`].
    pub fn reading_stored(&self) -> Self {
        Self {
            reads_stored: true,
            ..self.clone()
        }
    }

    /// The same caller, for reads of where it writes next: a repository that it may create is not there, rather than withheld from it.
    pub fn about_to_write(&self) -> Self {
        Self {
            writes: true,
            ..self.clone()
        }
    }

    pub(super) fn is_about_to_write(&self) -> bool {
        self.writes
    }

    /// The same caller, for a search that ends as [`UpstreamError::Unfinished`] rather than ask for more than `limit` manifests.
    pub fn within(&self, limit: usize) -> Self {
        Self {
            budget: Some(SearchBudget::new(limit)),
            ..self.clone()
        }
    }

    /// Takes one request out of what its search may make.
    pub(super) fn spend(&self, kind: RequestKind) -> Result<(), UpstreamError> {
        self.budget.as_ref().map_or(Ok(()), |budget| budget.spend(kind))
    }

    /// How many requests its search has made for manifests and blobs.
    pub fn spent(&self) -> usize {
        self.budget.as_ref().map_or(0, SearchBudget::spent)
    }

    /// The account that lists on behalf of this caller, where there is one ([`super::Upstream::has_listing_account`]).
    pub fn listing_account(&self) -> Self {
        Self {
            authorization: None,
            credential_hash: LISTING_ACCOUNT,
            lists_for_others: true,
            writes: true,
            ..self.clone()
        }
    }

    /// Whether this is the account that lists tags for callers ([`Caller::listing_account`]).
    pub fn is_listing_account(&self) -> bool {
        self.lists_for_others
    }

    /// Whether it shows the registry no credentials of its own, nor the account's.
    pub fn is_anonymous(&self) -> bool {
        self.authorization.is_none() && !self.lists_for_others
    }

    /// Whether requests are part of a search ([`Caller::searching`]).
    pub fn searches(&self) -> bool {
        self.searches
    }

    /// The caller's `Authorization` header.
    pub fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization.as_ref()
    }

    /// With whose rights its requests are made.
    pub fn credential(&self) -> Credential {
        match self.lists_for_others {
            true => Credential::ListingAccount,
            false => Credential::Authorization(self.authorization.clone()),
        }
    }

    /// The same as a salted hash that no other process can make: what is learned of a credential is remembered by it. It is made
    /// once, with the caller, because every request looks several things up by it.
    pub fn credential_hash(&self) -> CredentialHash {
        self.credential_hash
    }

    /// What a request to the upstream needs to be this caller's.
    pub(super) fn sign(&self, headers: &mut HeaderMap) {
        if let Some(authorization) = &self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        if let Some(trace) = &self.trace {
            trace.write(headers);
        }
        if let Some(via) = &self.via {
            headers.insert(VIA, via.clone());
        }
        if self.reads_stored {
            headers.insert(STORED_ONLY, HeaderValue::from_static("1"));
        }
    }
}

fn hash_of(authorization: &HeaderValue) -> CredentialHash {
    let hasher = Sha256::new().chain_update(*SALT).chain_update(authorization);
    let mut hash = CredentialHash::default();
    hash.copy_from_slice(&hasher.finalize()[..16]);
    hash
}

/// Credentials never reach a log.
impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.lists_for_others {
            "Caller(listing account)"
        } else if self.authorization.is_some() {
            "Caller(credentials)"
        } else {
            "Caller(anonymous)"
        })
    }
}
