//! Where images are copied to: what is there already.

use std::collections::BTreeSet;

use crate::cli::error::CliError;
use crate::cli::session::Session;
use crate::config::Depth;
use crate::oci::{Descriptor, Digest, Reference, Tag};
use crate::referrers::ResolveError;
use crate::registry::{Answer, UpstreamError};

use super::CopyForm;
use super::compare::Moment;
use super::layout_destination::LayoutDestination;
use super::reference::CopyReference;
use super::registry_destination::RegistryDestination;
use super::source::{CopySource, RegistryAccess};

pub(super) enum CopyDestination {
    Registry(Box<RegistryDestination>),
    Layout(LayoutDestination),
}

impl CopyDestination {
    /// Nothing is written before the first image is complete in memory.
    pub(super) async fn open(
        reference: &CopyReference,
        access: RegistryAccess<'_>,
        form: Option<CopyForm>,
        source: &CopySource,
    ) -> Result<Self, CliError> {
        Ok(match reference {
            CopyReference::Registry(target) => {
                let session = access.session(target, Depth::Auto).await?;
                Self::Registry(Box::new(RegistryDestination::new(session, form, source)))
            }
            CopyReference::Layout(layout) => Self::Layout(LayoutDestination::open(&layout.folder, reference.place())?),
        })
    }

    /// What a tag points at, of an envelope what is in it.
    pub(super) async fn tag_holds(&self, tag: &Tag, moment: Moment) -> Result<Option<Digest>, CliError> {
        match self {
            Self::Registry(registry) => {
                let held = registry.manifest(&Reference::Tag(tag.clone())).await;
                Ok(seen(&registry.session, held, moment)?.map(|raw| raw.digest.clone()))
            }
            Self::Layout(layout) => Ok(layout.tag_holds(tag)),
        }
    }

    pub(super) async fn holds_manifest(&self, digest: &Digest, moment: Moment) -> Result<bool, CliError> {
        match self {
            Self::Registry(registry) => {
                let held = registry.manifest(&Reference::Digest(digest.clone())).await;
                Ok(seen(&registry.session, held, moment)?.is_some())
            }
            Self::Layout(layout) => layout.holds_manifest(digest),
        }
    }

    pub(super) async fn holds_blob(&self, blob: &Descriptor, moment: Moment) -> Result<bool, CliError> {
        match self {
            Self::Registry(registry) => {
                let session = &registry.session;
                let (upstream, repository, caller) = (session.upstream(), session.repository(), session.caller());
                match moment {
                    Moment::Before => {
                        let held = upstream.seems_to_hold_blob(repository, &blob.digest, caller).await;
                        Ok(seen(session, held.map(Answer::Found), moment)?.unwrap_or_default())
                    }
                    Moment::After => {
                        let held = upstream.holds_blob(repository, &blob.digest, caller).await;
                        Ok(seen(session, held, moment)?.is_some())
                    }
                }
            }
            Self::Layout(layout) => layout.holds_blob(blob, moment).await,
        }
    }

    /// What refers to `subject`.
    pub(super) async fn referrers(&self, subject: &Digest, moment: Moment) -> Result<BTreeSet<Digest>, CliError> {
        match self {
            Self::Registry(registry) => {
                let session = &registry.session;
                let listed = match session.resolved(subject).await {
                    Ok(listed) => Some(listed),
                    Err(ResolveError::Upstream(error)) => seen(session, Err(error), moment)?,
                    Err(ResolveError::Refused(refusal)) => seen(session, Ok(Answer::Refused(*refusal)), moment)?,
                };
                let referrers = listed.iter().flat_map(|listed| &listed.referrers);
                Ok(referrers.map(|referrer| referrer.descriptor.digest.clone()).collect())
            }
            Self::Layout(layout) => Ok(layout.referrers(subject)),
        }
    }
}

/// What the destination shows. Before a copy, one that refuses or cannot be understood is asked to write: many registries refuse to show a
/// repository that does not exist yet.
fn seen<T>(session: &Session, answer: Result<Answer<T>, UpstreamError>, moment: Moment) -> Result<Option<T>, CliError> {
    match (moment, answer) {
        (Moment::Before, Ok(Answer::Found(found))) => Ok(Some(found)),
        (Moment::Before, Ok(Answer::Absent | Answer::Refused(_))) => Ok(None),
        (Moment::Before, Err(error)) if !error.is_outage() => Ok(None),
        (Moment::Before | Moment::After, answer) => session.found(answer),
    }
}
