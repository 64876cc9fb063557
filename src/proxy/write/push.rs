//! `PUT /v2/<name>/manifests/<reference>`.

use http::{HeaderValue, StatusCode};

use crate::events::{ChangedLinks, KeptLinks};
use crate::oci::{Digest, Reference, RepositoryName, Tag, tag_scheme};
use crate::registry::{NativeSupport, RawManifest, RegistryResponse};

use super::error::WriteError;
use super::link_events::LinkedByPush;
use super::link_tags::{LinkedManifest, stated_subject};
use super::pushed_manifest::PushedManifest;
use super::{Push, Writer, enveloped};

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
    fn of(pushed: &Result<RegistryResponse, WriteError>, is_conditional: bool) -> Self {
        match pushed {
            Ok(reply) if is_conditional && reply.status == StatusCode::PRECONDITION_FAILED => Self::Nothing,
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
        match self.upstream.sibling(&push.repository, &push.caller)? {
            None => self.push_here(push).await,
            Some(sibling) => Box::pin(self.push_beside(push, sibling)).await,
        }
    }

    /// The push into its own repository, with links where those of that repository are kept.
    pub(super) async fn push_here(&self, push: Push) -> Result<RegistryResponse, WriteError> {
        let pushed = PushedManifest::read(&push, self.links.referrers_tag)?;
        // Links that are kept beside are told of when they are there.
        let events = self
            .events
            .as_ref()
            .filter(|_| !self.keeps_links_beside(&push.repository));
        let told_as = self.known_as(&push.repository);
        let mut linked = LinkedByPush::new(events, &told_as);
        let replied = match &pushed {
            Some(pushed) => self.store(&push, pushed, &mut linked).await,
            None => self.store_unread(&push).await,
        };
        if let (Ok(reply), Reference::Tag(tag)) = (&replied, &push.reference)
            && reply.status.is_success()
        {
            let own = pushed.map_or_else(|| Digest::sha256(&push.bytes), |pushed| pushed.own);
            self.resolver.tag_written(&push.repository, tag, Some(&own)).await;
        }
        // Whoever may not write, or cannot, takes nothing from those who read: during an outage, what is remembered is all that
        // they have.
        match Effect::of(&replied, push.headers.is_conditional()) {
            Effect::Nothing => {}
            Effect::Unknown => self.resolver.wrote_perhaps(&push.repository),
            Effect::Written => self.wrote(&push).await,
        }
        drop(linked);
        replied
    }

    async fn wrote(&self, push: &Push) {
        let moved = Some(&push.reference).filter(|reference| matches!(reference, Reference::Tag(_)));
        self.resolver.wrote(&push.repository, moved).await;
        for tag in &push.query.tags {
            let moved = Reference::Tag(tag.clone());
            self.resolver.wrote(&push.repository, Some(&moved)).await;
        }
    }

    /// Stores what is no manifest that refshim knows, and so links nothing.
    async fn store_unread(&self, push: &Push) -> Result<RegistryResponse, WriteError> {
        let mut reply = self.put(push, &push.reference).await?;
        if let (true, Reference::Digest(digest)) = (reply.status.is_success(), &push.reference) {
            let stored = LinkedManifest {
                repository: &push.repository,
                media_type: &push.media_type,
                bytes: &push.bytes,
                digest,
                caller: &push.caller,
            };
            self.write_asked_tags(push, &stored, &mut reply).await?;
        }
        Ok(reply)
    }

    async fn store(
        &self,
        push: &Push,
        pushed: &PushedManifest,
        linked: &mut LinkedByPush<'_>,
    ) -> Result<RegistryResponse, WriteError> {
        if let Some(merged) = self.merged_list_push(push, pushed).await? {
            return Ok(merged);
        }
        let key = (push.repository.clone(), pushed.own.clone());
        let _pushing = self.manifests.shared(key).await;
        let reply = self.put(push, &push.reference).await?;
        let is_to_be_sealed =
            self.seals && self.links.proposal_d && enveloped::is_not_understood(&pushed.manifest, &pushed.own, &reply);
        let mut reply = if is_to_be_sealed {
            if push.headers.is_conditional() {
                return Err(WriteError::envelope_has_no_conditions());
            }
            match self.seal(push, pushed).await {
                Ok(created) => {
                    let kept = KeptLinks {
                        link_tags: !pushed.link_tags.is_empty(),
                        ..KeptLinks::default()
                    };
                    linked.note(|| links(push, pushed, kept));
                    created
                }
                // What takes neither blobs nor the envelope's tags is no registry that lacks a media type.
                Err(WriteError::Refused(refusal)) => {
                    self.resolver.wrote_perhaps(&push.repository);
                    return Ok((*refusal).into());
                }
                Err(error) => return Err(error),
            }
        } else {
            let mut reply = match reply.status.is_success() {
                true => reply,
                false if self.is_same(push, pushed, &reply).await? => enveloped::created(push, &pushed.own),
                false => return Ok(reply),
            };
            let mut kept = match self.is_kept_by_registry(push, pushed, &reply) {
                true => KeptLinks::default(),
                false => self.write_links(push, pushed).await?,
            };
            kept.native = is_noted(pushed, &reply);
            linked.note(|| links(push, pushed, kept));
            self.write_asked_tags(push, &pushed.linked(push), &mut reply).await?;
            reply
        };
        self.acknowledge(push, pushed, &mut reply).await;
        Ok(reply)
    }

    /// The first write of a push, under its own reference or another, to which its query does not belong.
    pub(super) async fn put(&self, push: &Push, reference: &Reference) -> Result<RegistryResponse, WriteError> {
        let put = self.upstream.push_manifest(
            &push.repository,
            (
                reference,
                push.query.passed_on().filter(|_| *reference == push.reference),
            ),
            push.bytes.clone(),
            &push.headers,
            &push.caller,
        );
        put.await.map_err(|error| match error.is_unsent() {
            true => WriteError::from(error).untouched(),
            false => error.into(),
        })
    }

    /// Whether the upstream refused because the (immutable) tag already has this very content. A caller who makes conditions wants
    /// to know that they failed.
    async fn is_same(
        &self,
        push: &Push,
        pushed: &PushedManifest,
        refused: &RegistryResponse,
    ) -> Result<bool, WriteError> {
        let may_be = matches!(push.reference, Reference::Tag(_)) && !push.headers.is_conditional();
        Ok(may_be && self.is_already(&pushed.linked(push), &push.reference, refused).await?)
    }

    /// Whether links of this repository are kept in a sibling, and so are written there.
    pub(super) fn keeps_links_beside(&self, repository: &RepositoryName) -> bool {
        self.upstream.siblings().is_some() && !self.upstream.is_sibling(repository)
    }

    /// The repository whose links these are, by the name that callers use, where `repository` is a sibling.
    pub(super) fn known_as(&self, repository: &RepositoryName) -> RepositoryName {
        self.upstream.base_of(repository).unwrap_or_else(|| repository.clone())
    }

    /// Makes the links durable in every form of `writing.links`; returns those in which they are.
    async fn write_links(&self, push: &Push, pushed: &PushedManifest) -> Result<KeptLinks, WriteError> {
        if self.keeps_links_beside(&push.repository) {
            return Ok(KeptLinks::default());
        }
        if self.links.proposal_d {
            let is_pushed =
                |tag: &Tag| matches!(&push.reference, Reference::Tag(asked) if tag_scheme::is_same_link(asked, tag));
            let missing = pushed.link_tags.iter().filter(|tag| !is_pushed(tag));
            self.write_link_tags(&pushed.linked(push), missing.cloned().collect())
                .await?;
        }
        Ok(KeptLinks {
            link_tags: self.links.proposal_d && !pushed.link_tags.is_empty(),
            referrers_tag: self.list_in_referrers_tag(push, pushed).await?,
            native: false,
        })
    }

    /// Whether the link is findable without being written down: the upstream took note of the subject, and its own list is known to
    /// work in this repository.
    fn is_kept_by_registry(&self, push: &Push, pushed: &PushedManifest, reply: &RegistryResponse) -> bool {
        let one_link = pushed.manifest.links(&pushed.own).len() == 1;
        let lists = self.upstream.native().support(&push.repository, &push.caller) == NativeSupport::Answers;
        // Without its subject beside it, a registry's garbage collection takes what no tag names.
        let has_subject_beside = !self.upstream.is_sibling(&push.repository);
        has_subject_beside && is_noted(pushed, reply) && one_link && lists
    }

    /// Once the links are durable: `OCI-Subject`, and what was learned.
    async fn acknowledge(&self, push: &Push, pushed: &PushedManifest, reply: &mut RegistryResponse) {
        let manifest = &pushed.manifest;
        // Another form of link than the `subject` field has no place in a referrers tag.
        let subject = match (self.links.proposal_d, self.links.referrers_tag) {
            (true, _) => stated_subject(manifest, &pushed.own),
            (false, true) => manifest.subject.as_ref().map(|subject| subject.digest.clone()),
            (false, false) => None,
        };
        if let Some(subject) = subject
            && let Ok(value) = HeaderValue::try_from(subject.as_str())
        {
            reply.headers.insert(OCI_SUBJECT, value);
        }
        let raw = RawManifest {
            digest: pushed.own.clone(),
            media_type: manifest.media_type.clone(),
            bytes: push.bytes.clone(),
        };
        self.resolver.learn(&push.repository, raw, manifest).await;
    }
}

/// Whether the upstream states that it took note of the subject.
fn is_noted(pushed: &PushedManifest, reply: &RegistryResponse) -> bool {
    let noted = reply.headers.get(OCI_SUBJECT).and_then(|value| value.to_str().ok());
    let subject = pushed.manifest.subject.as_ref().map(|subject| subject.digest.as_str());
    noted.is_some() && noted == subject
}

/// The links of a push, those included that the names of its tags state.
fn links(push: &Push, pushed: &PushedManifest, kept: KeptLinks) -> ChangedLinks {
    let (manifest, own, size) = (&pushed.manifest, &pushed.own, push.bytes.len());
    let mut links = ChangedLinks::of_push(manifest, own, size, kept);
    if let Reference::Tag(tag) = &push.reference {
        links.add_tag(tag, manifest, own, size);
    }
    links
}
