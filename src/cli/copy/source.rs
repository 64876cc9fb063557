//! Where images are copied from: a registry, whose links are searched for in every dialect, or a layout.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::cli::error::CliError;
use crate::cli::session::{Purpose, Session};
use crate::cli::target::TargetReference;
use crate::config::{Depth, WithoutSubject};
use crate::oci::{Descriptor, Digest, Reference, Referrer, Tag};
use crate::registry::{BlobDownload, RawManifest};

use super::content::{self, BlobContent};
use super::layout::ImageLayout;
use super::layout_links::{LayoutLinks, raw_manifest};
use super::reference::CopyReference;

/// How long a registry may take for an answer: some move a large blob to its place before they say that they took it.
const LONGEST_ANSWER: Duration = Duration::from_secs(300);

pub(super) enum CopySource {
    Registry(Box<Session>),
    Layout {
        layout: ImageLayout,
        links: LayoutLinks,
        name: String,
    },
}

/// How a side of a copy is reached, where that is a registry.
#[derive(Clone, Copy)]
pub(super) struct RegistryAccess<'a> {
    /// Certificates to trust.
    pub(super) ca_file: Option<&'a PathBuf>,
    /// Hosts on private addresses to which redirects are followed.
    pub(super) redirect_hosts: &'a [String],
}

impl RegistryAccess<'_> {
    pub(super) async fn session(self, target: &TargetReference, depth: Depth) -> Result<Session, CliError> {
        let mut purpose = Purpose::whole(target.clone(), self.ca_file.cloned());
        purpose.settings.depth = depth;
        purpose.settings.first_byte_timeout = LONGEST_ANSWER;
        purpose.settings.redirect_hosts = self.redirect_hosts.iter().cloned().collect();
        // What the registry keeps is copied, not what refshim makes of it.
        purpose.settings.without_subject = WithoutSubject::List;
        Session::open(purpose).await
    }
}

impl CopySource {
    pub(super) async fn open(
        reference: &CopyReference,
        access: RegistryAccess<'_>,
        depth: Depth,
    ) -> Result<Self, CliError> {
        let layout = match reference {
            CopyReference::Registry(target) => {
                return Ok(Self::Registry(Box::new(access.session(target, depth).await?)));
            }
            CopyReference::Layout(layout) => layout,
        };
        let name = reference.place();
        let layout = ImageLayout::read(&layout.folder)?;
        let layout = layout.ok_or_else(|| CliError::failed(format!("{name}: there is no OCI image layout")))?;
        Ok(Self::Layout {
            links: LayoutLinks::read(&layout)?,
            layout,
            name,
        })
    }

    /// What messages call it.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Registry(session) => session.name(),
            Self::Layout { name, .. } => name,
        }
    }

    /// The manifest behind a tag, of an envelope the one in it. `None` where there is no such tag.
    pub(super) async fn tagged(&self, tag: &Tag) -> Result<Option<RawManifest>, CliError> {
        match self {
            Self::Registry(session) => read(session, &Reference::Tag(tag.clone())).await,
            Self::Layout { layout, .. } => match layout.tagged(tag) {
                Some(descriptor) => {
                    let raw = raw_manifest(layout, &descriptor)?;
                    match raw.as_ref().and_then(RawManifest::enveloped) {
                        Some(original) => raw_manifest(layout, &original),
                        None => Ok(raw),
                    }
                }
                None => Ok(None),
            },
        }
    }

    /// The manifest with this digest. `None` where it is not there.
    pub(super) async fn manifest(&self, digest: &Digest) -> Result<Option<RawManifest>, CliError> {
        match self {
            Self::Registry(session) => read(session, &Reference::Digest(digest.clone())).await,
            Self::Layout { layout, links, .. } => {
                let media_type = links.media_type(digest).unwrap_or_default();
                raw_manifest(layout, &Descriptor::new(media_type, digest.clone(), 0))
            }
        }
    }

    /// Everything that refers to `subject`. Never a list that may lack something.
    pub(super) async fn referrers(&self, subject: &Digest) -> Result<Vec<Referrer>, CliError> {
        match self {
            Self::Registry(session) => Ok(session.referrers(subject).await?.referrers.clone()),
            Self::Layout { links, .. } => Ok(links.referrers(subject)),
        }
    }

    /// The digest that a tag points at, of an envelope its own.
    pub(super) async fn tag_holds(&self, tag: &Tag) -> Result<Option<Digest>, CliError> {
        match self {
            Self::Registry(session) => session.digest_of(&Reference::Tag(tag.clone())).await,
            Self::Layout { layout, .. } => Ok(layout.tagged(tag).map(|descriptor| descriptor.digest)),
        }
    }

    /// All tags, link tags among them.
    pub(super) async fn tags(&self) -> Result<Vec<Tag>, CliError> {
        match self {
            Self::Registry(session) => {
                let names = session.resolver().tags(session.repository(), session.caller()).await;
                let names = session.found(names)?.ok_or_else(|| session.no_repository())?;
                let tags = names.iter().map(Tag::parse);
                tags.collect::<Result<_, _>>().map_err(|error| session.failed(&error))
            }
            Self::Layout { layout, .. } => Ok(layout.entries().filter_map(|entry| entry.tag).collect()),
        }
    }

    /// What a layout lists without a tag, but for what refers to something. A registry lists no such things.
    pub(super) fn listed_without_tag(&self) -> Vec<Digest> {
        match self {
            Self::Registry(_) => Vec::new(),
            Self::Layout { layout, links, .. } => {
                let listed = layout.entries().filter(|entry| entry.tag.is_none());
                let listed = listed.map(|entry| entry.descriptor.digest);
                listed.filter(|digest| !links.is_referrer(digest)).collect()
            }
        }
    }

    /// What images without a tag may be reached by: the subjects of links, and of a layout what it lists.
    pub(super) fn untagged(&self) -> Vec<Digest> {
        match self {
            Self::Registry(_) => Vec::new(),
            Self::Layout { links, .. } => self.listed_without_tag().into_iter().chain(links.subjects()).collect(),
        }
    }

    /// Opens a blob.
    pub(super) async fn open_whole(&self, blob: &Descriptor) -> Result<BlobContent, CliError> {
        self.open_from(blob, 0).await
    }

    /// Opens a blob behind its first `offset` bytes.
    pub(super) async fn open_from(&self, blob: &Descriptor, offset: u64) -> Result<BlobContent, CliError> {
        let opened = self.blob(blob, offset).await?;
        opened.ok_or_else(|| CliError::failed(format!("{}: there is no blob {}", self.name(), blob.digest)))
    }

    /// Opens a blob behind its first `offset` bytes. `None` where it is not there.
    pub(super) async fn blob(&self, blob: &Descriptor, offset: u64) -> Result<Option<BlobContent>, CliError> {
        let digest = &blob.digest;
        match self {
            Self::Registry(session) => {
                let upstream = Arc::clone(session.upstream());
                let opened = BlobDownload::open(upstream, session.repository(), digest, offset, session.caller());
                let download = session.found(opened.await)?;
                Ok(download.map(|download| BlobContent {
                    length: download.length().unwrap_or(blob.size),
                    pieces: content::downloaded(download, session.name().to_owned()),
                }))
            }
            Self::Layout { layout, .. } => match layout.blob_length(digest)? {
                Some(length) => Ok(Some(BlobContent {
                    pieces: content::from_file(&layout.blob_path(digest), offset).await?,
                    length,
                })),
                None => Ok(None),
            },
        }
    }
}

/// A manifest, envelopes opened.
pub(super) async fn read(session: &Session, reference: &Reference) -> Result<Option<RawManifest>, CliError> {
    let answer = session
        .resolver()
        .manifest(session.repository(), reference, session.caller());
    Ok(session.found(answer.await)?.map(|raw| RawManifest::clone(&raw)))
}
