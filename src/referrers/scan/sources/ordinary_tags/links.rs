//! What was found behind the ordinary tags of a repository, as it is remembered and shared.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::cache::{Cached, Epoch, RepositoryKey, from_json, to_json};
use crate::oci::Digest;
use crate::oci::weight::{allocated, shared_text, table};
use crate::referrers::error::ResolveError;
use crate::referrers::scan::candidates::Candidates;
use crate::referrers::scan::held_links::{HeldLink, LinksBehind};
use crate::referrers::shared_work::{AnswerScope, SharedWork};
use crate::registry::Fingerprint;

/// All links behind a repository's ordinary tags, by subject.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(in crate::referrers) struct OrdinaryTagLinks {
    pub links: HashMap<Digest, Vec<HeldLink>>,
    /// Every manifest behind the tags.
    pub mentioned: HashSet<Digest>,
    /// How long before this was put together the tag was asked that was asked longest ago.
    pub oldest_tag: Duration,
    /// Tags, and what indexes behind them list, that the registry says to whoever read this not to have: this is remembered for that
    /// credential.
    pub missing: Option<Fingerprint>,
    /// Whether something that should be there was missing a moment ago: this is not remembered.
    #[serde(skip)]
    pub is_unsettled: bool,
    /// Whether the registry withheld something from whoever read this: it is remembered for nobody, and others read for themselves.
    #[serde(skip)]
    pub is_withheld: bool,
}

impl Cached for OrdinaryTagLinks {
    fn weight(&self) -> usize {
        let links = |(subject, links): (&Digest, &Vec<HeldLink>)| {
            let held: usize = links.iter().map(HeldLink::held).sum();
            held + shared_text(subject.as_str()) + allocated(links.capacity() * size_of::<HeldLink>())
        };
        let mentioned = self.mentioned.iter().map(|digest| shared_text(digest.as_str()));
        size_of::<Self>()
            + table(self.links.capacity(), size_of::<(Digest, Vec<HeldLink>)>())
            + self.links.iter().map(links).sum::<usize>()
            + table(self.mentioned.capacity(), size_of::<Digest>())
            + mentioned.sum::<usize>()
    }

    fn encode(&self) -> Option<Vec<u8>> {
        to_json(self)
    }

    fn decode(_: &str, bytes: Bytes) -> Option<Self> {
        from_json(&bytes)
    }
}

impl OrdinaryTagLinks {
    /// Whether what stands behind these tags may say nothing of `subject` only because a tag was moved since it was asked.
    pub fn may_lack(&self, subject: &Digest) -> bool {
        !subject.is_zero() && !self.links.contains_key(subject) && !self.mentioned.contains(subject)
    }

    pub fn add(&mut self, behind: &LinksBehind) {
        self.is_unsettled |= behind.is_unsettled;
        self.is_withheld |= behind.is_withheld;
        for found in &behind.links {
            let links = self.links.entry(found.subject.clone()).or_default();
            links.push(found.link.clone());
        }
        self.mentioned.extend(behind.mentioned.iter().cloned());
    }
}

/// The links behind ordinary tags, and how long ago those were listed. `None` where the registry turned out to count pulls.
pub(in crate::referrers) type OrdinaryTagResult = Result<Option<(Arc<OrdinaryTagLinks>, Duration)>, ResolveError>;

/// With whether whoever read may read: what is not there to anybody else says nothing to others.
pub(in crate::referrers) type OrdinaryTagOutcome = (OrdinaryTagResult, bool);

/// What is said of tags whose reading took too long.
pub(in crate::referrers) fn lost() -> OrdinaryTagOutcome {
    (Err(ResolveError::lost()), true)
}

/// The last is whether tags are asked again that were asked longer than `fresh_for` ago.
pub(in crate::referrers) type OrdinaryTagWork =
    SharedWork<(RepositoryKey, Epoch, Fingerprint, bool), OrdinaryTagOutcome>;

/// What is referred to from behind ordinary tags.
pub(in crate::referrers) enum ReferredTo {
    All(Arc<OrdinaryTagLinks>),
    /// From behind those tags that are still known.
    Some(HashSet<Digest>),
}

impl Default for ReferredTo {
    fn default() -> Self {
        Self::Some(HashSet::new())
    }
}

impl ReferredTo {
    pub fn contains(&self, digest: &Digest) -> bool {
        match self {
            Self::All(links) => links.links.contains_key(digest),
            Self::Some(digests) => digests.contains(digest),
        }
    }

    pub fn digests(&self) -> Vec<&Digest> {
        match self {
            Self::All(links) => links.links.keys().collect(),
            Self::Some(digests) => digests.iter().collect(),
        }
    }
}

/// What stands behind ordinary tags, as far as it was read.
pub(in crate::referrers) struct OrdinaryTagCandidates {
    pub candidates: Candidates,
    pub referred_to: ReferredTo,
    /// How long ago it was there.
    pub age: Duration,
    /// Whether everything was read, rather than only what was known before.
    pub is_whole: bool,
}

/// Who was listed the same tags is told the same of them, where whoever read may read and was given all of it.
pub(super) fn scope_of((found, may_read): &OrdinaryTagOutcome) -> AnswerScope {
    match found {
        Ok(Some((links, _))) if links.is_withheld || links.missing.is_some() => AnswerScope::Credential,
        Ok(_) if !may_read => AnswerScope::Credential,
        Ok(_) => AnswerScope::Everybody,
        Err(error) => AnswerScope::of_error(error),
    }
}
