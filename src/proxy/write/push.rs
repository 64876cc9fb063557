//! `PUT /v2/<name>/manifests/<reference>`.

use std::collections::BTreeSet;

use http::HeaderValue;

use crate::oci::{Digest, Manifest, Reference, Tag, tag_scheme};
use crate::registry::{NativeSupport, RawManifest, RegistryResponse};

use super::error::WriteError;
use super::link_tags::{link_tags, stated_subject};
use super::{Push, Writer, enveloped, validate};

const OCI_SUBJECT: &str = "oci-subject";

/// What a push did to the repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    Nothing,
    /// The registry failed, broke off or refused half-way.
    Unknown,
    Written,
}

impl Effect {
    fn of(pushed: &Result<RegistryResponse, WriteError>) -> Self {
        match pushed {
            Ok(reply) if reply.status.is_success() => Self::Written,
            Ok(reply) if matches!(reply.status.as_u16(), 401 | 403 | 429) => Self::Nothing,
            Err(WriteError::Untouched(_)) => Self::Nothing,
            Ok(_) | Err(_) => Self::Unknown,
        }
    }
}

impl Writer {
    /// Forwards the push, makes its links durable, and returns what the caller is told: the upstream's own answer with
    /// `OCI-Subject`, once every link is written.
    pub async fn push(&self, push: Push) -> Result<RegistryResponse, WriteError> {
        let pushed = self.store(&push).await;
        if let (Ok(reply), Reference::Tag(tag)) = (&pushed, &push.reference)
            && reply.status.is_success()
        {
            let own = push.own_digest().ok();
            self.resolver.tag_written(&push.repository, tag, own.as_ref()).await;
        }
        // Whoever may not write, or cannot, takes nothing from those who read: during an outage, what is remembered is all that
        // they have.
        match Effect::of(&pushed) {
            Effect::Nothing => {}
            Effect::Unknown => self.resolver.wrote_perhaps(&push.repository),
            Effect::Written => self.wrote(&push).await,
        }
        pushed
    }

    async fn wrote(&self, push: &Push) {
        let moved = Some(&push.reference).filter(|reference| matches!(reference, Reference::Tag(_)));
        self.resolver.wrote(&push.repository, moved).await;
    }

    async fn store(&self, push: &Push) -> Result<RegistryResponse, WriteError> {
        let manifest = Manifest::parse(&push.bytes, &push.media_type).ok();
        if let Reference::Tag(tag) = &push.reference {
            validate::fits_tag(tag, manifest.as_ref(), &push.bytes).map_err(WriteError::untouched)?;
        }
        // What is no manifest that refshim knows is the upstream's to judge.
        let Some(manifest) = manifest else {
            return self.put(push).await;
        };
        let (own, tags) = Self::check(push, &manifest).map_err(WriteError::untouched)?;
        if let Some(merged) = self.merged_fallback_push(push, &own).await? {
            return Ok(merged);
        }
        let _pushing = self.manifests.shared((push.repository.clone(), own.clone())).await;
        let reply = self.put(push).await?;
        let mut reply = if enveloped::is_not_understood(&manifest, &own, &reply) {
            match self.seal(push, &manifest, &own).await {
                Ok(()) => enveloped::created(push, &own),
                // What takes no blobs either is no registry that lacks a media type.
                Err(WriteError::Refused(refusal)) => {
                    self.resolver.wrote_perhaps(&push.repository);
                    return Ok(*refusal);
                }
                Err(error) => return Err(error),
            }
        } else {
            let reply = match reply.status.is_success() {
                true => reply,
                false if self.is_same(push, &own, &reply).await? => enveloped::created(push, &own),
                false => return Ok(reply),
            };
            let missing = tags
                .into_iter()
                .filter(|tag| !self.is_durable(push, tag, &manifest, &own, &reply));
            self.write_link_tags(&push.linked(&own), missing.collect()).await?;
            self.keep_fallback_tag(push, &manifest, &own).await?;
            reply
        };
        self.acknowledge(push, &manifest, &own, &mut reply).await;
        Ok(reply)
    }

    /// The digest of what is pushed, and the link tags that it needs.
    fn check(push: &Push, manifest: &Manifest) -> Result<(Digest, BTreeSet<Tag>), WriteError> {
        validate::validate(manifest, &push.bytes)?;
        let own = push.own_digest()?;
        let tags = link_tags(manifest, &own)?;
        Ok((own, tags))
    }

    /// The first write of a push.
    pub(super) async fn put(&self, push: &Push) -> Result<RegistryResponse, WriteError> {
        let put = self.upstream.put_manifest(
            &push.repository,
            &push.reference,
            &push.media_type,
            push.bytes.clone(),
            &push.caller,
        );
        put.await.map_err(|error| match error.is_unsent() {
            true => WriteError::from(error).untouched(),
            false => error.into(),
        })
    }

    /// Whether the upstream refused because the (immutable) tag already has this very content.
    async fn is_same(&self, push: &Push, own: &Digest, refused: &RegistryResponse) -> Result<bool, WriteError> {
        let is_tag = matches!(push.reference, Reference::Tag(_));
        Ok(is_tag && self.is_already(&push.linked(own), &push.reference, refused).await?)
    }

    /// Whether the link is findable without its tag: the push itself was to that tag, or the upstream took note of the subject and
    /// its own list is known to work in this repository.
    fn is_durable(&self, push: &Push, tag: &Tag, manifest: &Manifest, own: &Digest, reply: &RegistryResponse) -> bool {
        if matches!(&push.reference, Reference::Tag(pushed) if tag_scheme::is_same_link(pushed, tag)) {
            return true;
        }
        let noted = reply.headers.get(OCI_SUBJECT).and_then(|value| value.to_str().ok());
        let subject = manifest.subject.as_ref().map(|subject| subject.digest.as_str());
        let one_link = manifest.links(own).len() == 1;
        let lists = self.upstream.native_support(&push.repository) == NativeSupport::Answers;
        noted.is_some() && noted == subject && one_link && lists
    }

    /// Once the links are durable: `OCI-Subject`, and what was learned.
    async fn acknowledge(&self, push: &Push, manifest: &Manifest, own: &Digest, reply: &mut RegistryResponse) {
        if let Some(subject) = stated_subject(manifest, own)
            && let Ok(value) = HeaderValue::try_from(subject.as_str())
        {
            reply.headers.insert(OCI_SUBJECT, value);
        }
        let raw = RawManifest {
            digest: own.clone(),
            media_type: manifest.media_type.clone(),
            bytes: push.bytes.clone(),
        };
        self.resolver.learn(&push.repository, raw).await;
    }
}
