//! Writing to a registry: blobs, manifests, links in its dialect, and tags.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use http::HeaderValue;
use http::header::{CONTENT_TYPE, USER_AGENT};
use indicatif::ProgressBar;

use crate::cli::error::CliError;
use crate::cli::put::put;
use crate::cli::session::Session;
use crate::config::{WritingConfig, WrittenLinks};
use crate::oci::media_type::OCI_IMAGE_INDEX;
use crate::oci::{
    Descriptor, Digest, Reference, Referrer, ReferrersTagIndex, RepositoryName, SubjectKey, Tag, reference_type,
    tag_scheme,
};
use crate::proxy::{Push, PushQuery, WriteError, Writer};
use crate::registry::{Answer, BlobWritten, Native, NativeSupport, RawManifest, Refusal, UpstreamError, WriteHeaders};

use super::CopyForm;
use super::content::{Checked, Pieces, hasher};
use super::graph::ImageGraph;
use super::node::GraphNode;
use super::source::CopySource;

const OWN_USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("refshim/", env!("CARGO_PKG_VERSION")));

pub(super) struct RegistryDestination {
    pub(super) session: Session,
    /// Writes as a push through refshim does.
    writer: Writer,
    /// The same without referrers tags, for a registry with an API of its own.
    writer_beside_api: Writer,
    /// `None`: the registry's API where it has one, otherwise as a push through refshim.
    form: Option<CopyForm>,
    /// The repository of the same registry that images come from.
    mount_from: Option<RepositoryName>,
}

impl RegistryDestination {
    pub(super) fn new(session: Session, form: Option<CopyForm>, source: &CopySource) -> Self {
        let mount_from = match source {
            CopySource::Registry(source) if source.target().registry == session.target().registry => {
                Some(source.repository().clone())
            }
            CopySource::Registry(_) | CopySource::Layout { .. } => None,
        };
        let resolver = session.resolver();
        Self {
            writer: Writer::new(resolver.clone(), &writing(form != Some(CopyForm::ProposalD))),
            writer_beside_api: Writer::new(resolver.clone(), &writing(false)),
            mount_from: mount_from.filter(|from| from != session.repository()),
            session,
            form,
        }
    }

    /// A manifest that the registry has, envelopes opened.
    pub(super) async fn manifest(&self, reference: &Reference) -> Result<Answer<Arc<RawManifest>>, UpstreamError> {
        let session = &self.session;
        let manifest = session
            .resolver()
            .manifest(session.repository(), reference, session.caller());
        manifest.await
    }

    /// Mounts a blob, or sends it from `source`.
    pub(super) async fn write_blob(
        &self,
        source: &CopySource,
        blob: &Descriptor,
        bar: &ProgressBar,
    ) -> Result<BlobWritten, CliError> {
        let content = async || -> Result<(Pieces, u64), String> {
            let content = source.open_whole(blob).await.map_err(|error| error.message())?;
            let hasher = hasher(&blob.digest, source.name()).map_err(|error| error.message())?;
            let pieces = Checked::pieces(content.pieces, &blob.digest, hasher, source.name(), bar);
            Ok((pieces, content.length))
        };
        let (session, from) = (&self.session, self.mount_from.as_ref());
        let (repository, caller) = (session.repository(), session.caller());
        let written = session
            .upstream()
            .write_blob(repository, &blob.digest, from, content, caller);
        match written.await {
            Err(UpstreamError::CallersBody(reason)) => Err(CliError::failed(reason)),
            written => session.found(written)?.ok_or_else(|| session.no_repository()),
        }
    }

    /// Stores a manifest; what it says that it refers to is linked in the registry's dialect.
    pub(super) async fn write_manifest(&self, node: &GraphNode, reference: Reference) -> Result<(), CliError> {
        let links = node.is_of_a_proposal() || !node.manifest.own_subjects().is_empty();
        match self.form {
            None | Some(CopyForm::ProposalD) if links => self.push(node.raw.clone(), reference).await,
            None | Some(CopyForm::Api | CopyForm::ReferrersTag | CopyForm::ProposalD) => {
                self.put(&node.raw, &reference).await
            }
        }
    }

    /// Finds out whether the registry has the referrers API, by a subject that it just took.
    pub(super) async fn probe(&self, subject: &Digest) -> Result<(), CliError> {
        let session = &self.session;
        let (upstream, repository) = (session.upstream(), session.repository());
        if self.has_api() {
            return Ok(());
        }
        let seen = match upstream.native_referrers(repository, subject, session.caller()).await {
            Ok(Native::Entries(_)) => {
                upstream.native().answered(repository);
                return Ok(());
            }
            Ok(Native::Nothing) => "it does not know an image that it just took".to_owned(),
            Ok(Native::Silence(seen) | Native::NoRoute(seen) | Native::Barred(seen)) => seen,
            Ok(Native::Refused(refusal)) => format!("HTTP {}", refusal.status.as_u16()),
            Err(error) => error.to_string(),
        };
        match self.form {
            Some(CopyForm::Api) => Err(CliError::failed(format!(
                "{}: the registry has no referrers API ({seen}): leave out --as api",
                session.name()
            ))),
            None | Some(CopyForm::ReferrersTag | CopyForm::ProposalD) => Ok(()),
        }
    }

    fn has_api(&self) -> bool {
        let session = &self.session;
        let support = session
            .upstream()
            .native()
            .support(session.repository(), session.caller());
        support == NativeSupport::Answers
    }

    /// Writes down links that the referrers themselves do not state, or that are to be written in another dialect than the registry's own.
    pub(super) async fn write_links(
        &self,
        graph: &ImageGraph,
        links: &BTreeMap<Digest, BTreeSet<Digest>>,
    ) -> Result<(), CliError> {
        for (subject, referrers) in links {
            let known = graph.links.get(subject);
            let referrers = referrers.iter().filter_map(|referrer| known?.get(referrer));
            if self.form == Some(CopyForm::ReferrersTag) {
                self.list(subject, referrers).await?;
                continue;
            }
            for referrer in referrers {
                let digest = &referrer.descriptor.digest;
                let Some(node) = graph.nodes.get(digest) else { continue };
                // A registry with an API of its own gets other links only where somebody asks for them.
                let is_left_to_api = self.form != Some(CopyForm::ProposalD) || !self.has_api();
                let is_linked = is_left_to_api && node.states(subject);
                if !is_linked && !has_cosign_tag(graph, subject, digest) {
                    self.tag_link(subject, referrer, node).await?;
                }
            }
        }
        Ok(())
    }

    /// Proposal D: the referrer's own bytes under a tag that names both.
    async fn tag_link(&self, subject: &Digest, referrer: &Referrer, node: &GraphNode) -> Result<(), CliError> {
        let mut manifest = node.manifest.clone();
        // What is listed knows better: a cosign signature's manifest claims to be an image.
        manifest.artifact_type.clone_from(&referrer.descriptor.artifact_type);
        let kind = reference_type::reference_type_of(&manifest);
        match tag_scheme::proposal_d_tag(subject, &referrer.descriptor.digest, &kind) {
            Some(tag) => self.put(&node.raw, &Reference::Tag(tag)).await,
            None => Ok(()),
        }
    }

    /// Adds to the referrers tag of `subject`, which keeps what others wrote there.
    async fn list<'a>(&self, subject: &Digest, referrers: impl Iterator<Item = &'a Referrer>) -> Result<(), CliError> {
        let Some(tag) = tag_scheme::referrers_tag(subject) else {
            return Ok(());
        };
        let mut index = ReferrersTagIndex::default();
        for referrer in referrers {
            index.add(&referrer.descriptor);
        }
        let bytes = index.print();
        let list = RawManifest {
            digest: Digest::sha256(&bytes),
            media_type: OCI_IMAGE_INDEX.to_owned(),
            bytes,
        };
        self.push(list, Reference::Tag(tag)).await
    }

    /// Writes as a push through refshim does.
    async fn push(&self, raw: RawManifest, reference: Reference) -> Result<(), CliError> {
        let (session, digest) = (&self.session, raw.digest);
        let writer = match self.form.is_none() && self.has_api() {
            true => &self.writer_beside_api,
            false => &self.writer,
        };
        let mut headers = http::HeaderMap::from_iter([(USER_AGENT, OWN_USER_AGENT)]);
        let media_type = HeaderValue::try_from(raw.media_type.as_str()).map_err(|error| session.failed(&error))?;
        headers.insert(CONTENT_TYPE, media_type);
        let pushed = writer.push(Push {
            repository: session.repository().clone(),
            reference,
            query: PushQuery::default(),
            media_type: raw.media_type,
            bytes: raw.bytes,
            headers: WriteHeaders::of(headers),
            caller: session.caller().clone(),
        });
        match pushed.await {
            Ok(reply) if reply.status.is_success() => Ok(()),
            Ok(reply) => Err(self.refused(&digest, &reply.into())),
            Err(WriteError::Refused(refusal)) => Err(self.refused(&digest, &refusal)),
            Err(error) => Err(CliError::failed(format!("{}: {digest}: {error}", session.name()))),
        }
    }

    /// Looks once more for entries of referrers tags that others may have overwritten.
    pub(super) async fn end(&self) {
        self.writer.finish().await;
        self.writer_beside_api.finish().await;
    }

    /// Writes nothing but this.
    async fn put(&self, raw: &RawManifest, reference: &Reference) -> Result<(), CliError> {
        let session = &self.session;
        let written = put(session, reference, raw.clone(), None).await?;
        written.map_err(|problem| CliError::failed(format!("{}: {}: {problem}", session.name(), raw.digest)))?;
        session.resolver().wrote(session.repository(), None).await;
        Ok(())
    }

    fn refused(&self, digest: &Digest, refusal: &Refusal) -> CliError {
        CliError::refused(&format!("{}: {digest}", self.session.name()), refusal)
    }
}

/// Which links a push writes besides the registry's own.
fn writing(referrers_tag: bool) -> WritingConfig {
    WritingConfig {
        links: WrittenLinks {
            proposal_d: true,
            referrers_tag,
        },
        ..WritingConfig::default()
    }
}

/// Whether one of cosign's tags links it, which goes along.
fn has_cosign_tag(graph: &ImageGraph, subject: &Digest, referrer: &Digest) -> bool {
    let key = SubjectKey::of(subject);
    let links = |tag: &Tag| tag_scheme::parse(tag.as_str()).is_some_and(|link| link.subject == key);
    graph
        .cosign_tags
        .iter()
        .any(|(tag, holds)| holds == referrer && links(tag))
}
