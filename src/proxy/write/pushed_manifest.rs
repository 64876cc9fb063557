//! A pushed manifest, parsed and checked once, before anything is written.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::oci::{Digest, LinkTagKind, Manifest, Reference, ReferrersTagIndex, SubjectKey, Tag, tag_scheme};

use super::Push;
use super::error::WriteError;
use super::link_tags::{LinkedManifest, link_tags};
use super::validate;

/// What a push holds, where that is a manifest that refshim knows.
pub(super) struct PushedManifest {
    pub manifest: Manifest,
    /// The digest that the bytes are kept under: the one that they were pushed by, else sha256.
    pub own: Digest,
    /// The link tags that it needs, one for each subject.
    pub link_tags: BTreeSet<Tag>,
    /// What a client writes under a referrers tag, where refshim keeps those.
    pub list: Option<PushedList>,
}

/// A list of referrers that a client writes under the referrers tag of `subject`.
pub(super) struct PushedList {
    pub tag: Tag,
    pub subject: SubjectKey,
    pub index: ReferrersTagIndex,
}

impl PushedManifest {
    /// `None` where it is no manifest that refshim knows: that is the upstream's to judge. An error where its links could not be
    /// found again, or would replace others.
    pub fn read(push: &Push, keeps_referrers_tags: bool) -> Result<Option<Self>, WriteError> {
        let members: Option<Map<String, Value>> = serde_json::from_slice(&push.bytes).ok();
        let parsed = members.and_then(|members| {
            let manifest = Manifest::from_members(&members, &push.media_type).ok()?;
            Some((manifest, members))
        });
        let pushed_to = match &push.reference {
            Reference::Tag(tag) => Some(tag),
            Reference::Digest(_) => None,
        };
        for tag in pushed_to.into_iter().chain(&push.query.tags) {
            validate::fits_tag(tag, parsed.as_ref().map(|(manifest, _)| manifest), &push.bytes)?;
        }
        let Some((manifest, members)) = parsed else {
            return Ok(None);
        };
        validate::validate(&manifest, &members)?;
        let own = own_digest(push)?;
        Ok(Some(Self {
            link_tags: link_tags(&manifest, &own)?,
            list: keeps_referrers_tags
                .then(|| pushed_list(push, &manifest, members))
                .flatten(),
            own,
            manifest,
        }))
    }

    /// The pushed bytes as they go under link tags.
    pub fn linked<'a>(&'a self, push: &'a Push) -> LinkedManifest<'a> {
        LinkedManifest {
            repository: &push.repository,
            media_type: &push.media_type,
            bytes: &push.bytes,
            digest: &self.own,
            caller: &push.caller,
        }
    }
}

/// An error when the bytes are not what the reference promises.
fn own_digest(push: &Push) -> Result<Digest, WriteError> {
    match &push.reference {
        Reference::Tag(_) => Ok(Digest::sha256(&push.bytes)),
        Reference::Digest(digest) => match digest.matches(&push.bytes) {
            Some(true) => Ok(digest.clone()),
            Some(false) => Err(WriteError::invalid(format!(
                "the manifest's bytes do not hash to {digest}"
            ))),
            None => Err(WriteError::invalid(format!(
                "'{}' is no known digest algorithm",
                digest.algorithm()
            ))),
        },
    }
}

/// What `push` writes under a referrers tag.
fn pushed_list(push: &Push, manifest: &Manifest, members: Map<String, Value>) -> Option<PushedList> {
    let Reference::Tag(tag) = &push.reference else {
        return None;
    };
    let link = tag_scheme::parse(tag.as_str()).filter(|link| link.kind == LinkTagKind::Referrers)?;
    let index = ReferrersTagIndex::of_client(&link.subject, manifest, members, &push.bytes)?;
    Some(PushedList {
        tag: tag.clone(),
        subject: link.subject,
        index,
    })
}
