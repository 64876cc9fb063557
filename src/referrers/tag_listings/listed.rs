//! What a listing is read for, and what is given to whoever asked.

use std::sync::Arc;
use std::time::Duration;

use crate::referrers::shared_work::AnswerScope;
use crate::registry::{Answer, Fingerprint, RegistryPage, TagNames, UpstreamError};

/// All tag names of a repository.
#[derive(Clone)]
pub(in crate::referrers) struct AgedTagNames {
    pub names: Arc<TagNames>,
    /// Of `names`, as they were listed.
    pub fingerprint: Fingerprint,
    /// How long ago the last of them was read.
    pub age: Duration,
    /// When reading began, as time since 1970 ([`Cache::now`]): what was pushed before that and is not in it was not listed.
    pub began: Duration,
}

/// What was read for one subject.
pub(in crate::referrers) enum Sought {
    All(AgedTagNames),
    /// The names that begin with the subject's key.
    OfSubject(Arc<TagNames>),
}

/// What a caller who lists tags is given.
pub(in crate::referrers) enum ListedTags {
    All(AgedTagNames),
    /// The first of several pages.
    FirstPage(RegistryPage),
}

/// How much of a listing is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum ListingExtent {
    Whole,
    /// The whole, unless it seeks and has more ordinary tags than this; at 0, unless it seeks and has more than a page.
    UnlessSeekable(usize),
    /// The whole where it has one page or was walked before; else the first page.
    UnlessPaged,
}

/// What one reading of a listing brought.
#[derive(Clone)]
pub(super) enum ListingResult {
    All(AgedTagNames),
    /// The first of several pages.
    FirstPage(RegistryPage),
    /// The repository is large, and each subject's names can be asked for.
    Seekable,
}

impl ListingResult {
    pub fn scope(&self) -> AnswerScope {
        match self {
            // Some registries list to each credential only what it may see.
            Self::All(_) => AnswerScope::ToldNoMore,
            Self::FirstPage(_) => AnswerScope::Credential,
            // Of its own subject each caller then asks itself.
            Self::Seekable => AnswerScope::Everybody,
        }
    }
}

pub(super) type ListingOutcome = Result<Answer<ListingResult>, UpstreamError>;

/// What was read without leave to seek.
pub(super) fn whole(outcome: ListingOutcome) -> Result<Answer<AgedTagNames>, UpstreamError> {
    outcome?.try_map(|listed| match listed {
        ListingResult::All(listing) => Ok(listing),
        ListingResult::FirstPage(_) | ListingResult::Seekable => Err(not_read()),
    })
}

pub(super) fn not_read() -> UpstreamError {
    UpstreamError::Invalid("a tag listing that was not read".into())
}
