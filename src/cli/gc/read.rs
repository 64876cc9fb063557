//! Reading a repository. Whatever cannot be read is a failure: what is not known to be dead is alive.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::cli::error::CliError;
use crate::cli::progress;
use crate::cli::session::Session;
use crate::config::{HIDDEN_TAGS, LimitsConfig};
use crate::oci::{Descriptor, Digest, Manifest, Reference, Tag};
use crate::registry::{Native, NativeAbsence, NativeSupport, RawManifest, UpstreamError};

use super::keep::Keep;
use super::snapshot::{EnvelopeContent, EnvelopedManifest, ReadManifest, Snapshot};

/// Reads under way at once (the upstream's own limit holds as well).
const PARALLEL: usize = 16;
/// How long a listing may be ahead of the manifests that it names.
const LAG: Duration = Duration::from_secs(1);
/// How long before a deletion everything that speaks for it was seen.
const SETTLES: Duration = Duration::from_secs(5);

/// A registry that hides tags cannot be tidied up through that veil.
pub(in crate::cli) async fn must_see_all_tags(session: &Session) -> Result<(), CliError> {
    match hides_tags(session).await? {
        false => Ok(()),
        true => Err(CliError::failed(format!(
            "{}: this is a refshim that hides link tags; name the registry behind it, or set its tags.hide to none",
            session.name()
        ))),
    }
}

/// Whether this is a refshim that leaves link tags out of its listings.
pub(in crate::cli) async fn hides_tags(session: &Session) -> Result<bool, CliError> {
    let path = format!("/v2/{}/tags/list?n=1", session.repository());
    let limit = LimitsConfig::default().tag_list_bytes;
    let reply = session.upstream().get(&path, session.caller(), limit).await;
    let reply = reply.map_err(|error| session.failed(&error))?;
    Ok(reply.headers.contains_key(HIDDEN_TAGS))
}

/// Every tag, and what it points at.
pub(super) async fn snapshot(session: &Session) -> Result<Snapshot, CliError> {
    let names = session.upstream().tags(session.repository(), session.caller()).await;
    let Some(names) = session.found(names)? else {
        return Err(session.no_repository());
    };
    let mut tags = Vec::new();
    for name in names.iter() {
        let tag = Tag::parse(name);
        tags.push(tag.map_err(|error| CliError::failed(format!("{}: its tag listing: {error}", session.name())))?);
    }
    let bar = progress::bar("reading tags", tags.len());
    let read: Vec<(Tag, Option<(Digest, ReadManifest)>)> = stream::iter(tags)
        .map(|tag| async {
            Ok::<_, CliError>(match listed(session, &tag).await? {
                Some(raw) => (tag, Some((raw.digest.clone(), held(session, &raw).await?))),
                None => (tag, None),
            })
        })
        .buffer_unordered(PARALLEL)
        .inspect(|_| bar.inc(1))
        .try_collect()
        .await?;
    let mut snapshot = Snapshot::default();
    for (tag, found) in read {
        snapshot
            .tags
            .insert(tag, found.as_ref().map(|(digest, _)| digest.clone()));
        snapshot.manifests.extend(found);
    }
    Ok(snapshot)
}

/// What a tag that was just listed points at. Registries lag: one without a manifest is asked for again after a moment.
pub(in crate::cli) async fn listed(session: &Session, tag: &Tag) -> Result<Option<RawManifest>, CliError> {
    let reference = Reference::Tag(tag.clone());
    let found = session.raw_manifest(&reference).await?;
    if found.is_some() {
        return Ok(found);
    }
    tokio::time::sleep(LAG).await;
    session.raw_manifest(&reference).await
}

/// What the registry holds, envelopes opened.
pub(in crate::cli) async fn held(session: &Session, raw: &RawManifest) -> Result<ReadManifest, CliError> {
    let mut held = ReadManifest::of(raw);
    if let Some(original) = held.seals() {
        let limit = LimitsConfig::default().manifest_bytes;
        let blob = session
            .upstream()
            .blob(session.repository(), &original.digest, limit, session.caller());
        let original_bytes = session.found(blob.await)?;
        held.sealed = Some(EnvelopeContent {
            digest: original.digest,
            original: original_bytes.map(|bytes| EnvelopedManifest {
                manifest: Manifest::parse(&bytes, &original.media_type).ok(),
            }),
        });
    }
    Ok(held)
}

/// Lets a registry that lags catch up, before anything is deleted for being gone.
pub(super) async fn settle() {
    tokio::time::sleep(SETTLES).await;
}

/// Those of `digests` that the registry holds. Those that it does not hold are asked for again after a moment.
pub(in crate::cli) async fn existing(
    session: &Session,
    digests: BTreeSet<Digest>,
) -> Result<BTreeSet<Digest>, CliError> {
    let mut found = existing_now(session, digests.clone()).await?;
    let missing: BTreeSet<Digest> = digests.difference(&found).cloned().collect();
    if !missing.is_empty() {
        tokio::time::sleep(LAG).await;
        found.extend(existing_now(session, missing).await?);
    }
    Ok(found)
}

/// Those of `digests` that the registry holds at this moment.
pub(super) async fn existing_now(session: &Session, digests: BTreeSet<Digest>) -> Result<BTreeSet<Digest>, CliError> {
    let bar = progress::bar("looking for subjects", digests.len());
    stream::iter(digests)
        .map(|digest| async {
            let is_there = session.is_anywhere(&digest).await?;
            Ok(is_there.then_some(digest))
        })
        .buffer_unordered(PARALLEL)
        .inspect(|_| bar.inc(1))
        .try_filter_map(async |digest| Ok(digest))
        .try_collect()
        .await
}

/// What live images need.
pub(super) struct Needed {
    pub(super) digests: BTreeSet<Digest>,
    /// What tagged indexes list beside, and the registry states that it does not hold.
    pub(super) absent: BTreeSet<Digest>,
}

/// What was found at a digest: the manifest, `None` where the registry states that it holds none, and what the registry itself lists as
/// referring to it.
type KeptManifest = (Option<ReadManifest>, Vec<Digest>);

/// Everything that live images need. Fails where a listed tag has no manifest, or a tagged index lists an index that is not there:
/// whatever that needs would be missing, and is deleted by whoever keeps only what is listed here.
pub(super) async fn needed(session: &Session, snapshot: &Snapshot) -> Result<Needed, CliError> {
    if let Some((tag, _)) = snapshot.tags.iter().find(|(_, target)| target.is_none()) {
        return Err(CliError::failed(format!(
            "{}: the registry lists the tag {tag} and has no manifest for it, so what it needs is not known; delete the tag (or, where \
             it is a link tag, let gc --delete do so), or run this again",
            session.name()
        )));
    }
    let mut keep = Keep::new(snapshot);
    loop {
        let unread = keep.unread();
        if unread.is_empty() {
            break;
        }
        let mut read = read_kept(session, snapshot, &keep, unread).await?;
        let missing = read
            .iter()
            .filter(|(digest, (held, _))| held.is_none() && keep.must_be_there(digest));
        let missing: BTreeSet<Digest> = missing.map(|(digest, _)| digest.clone()).collect();
        if !missing.is_empty() {
            // Registries lag.
            tokio::time::sleep(LAG).await;
            read.extend(read_kept(session, snapshot, &keep, missing).await?);
        }
        for (digest, (held, native)) in read {
            keep.read(&digest, held.as_ref(), native);
        }
    }
    match keep.absent_index() {
        Some(digest) => Err(CliError::failed(format!(
            "{}: a tagged index lists the index {digest} and the registry does not hold that, so what it needs is not known; push it, or \
             delete the tag, or run this again",
            session.name()
        ))),
        None => Ok(Needed {
            absent: keep.absent(),
            digests: keep.needed(),
        }),
    }
}

async fn read_kept(
    session: &Session,
    snapshot: &Snapshot,
    keep: &Keep,
    digests: BTreeSet<Digest>,
) -> Result<BTreeMap<Digest, KeptManifest>, CliError> {
    stream::iter(digests)
        .map(|digest| async {
            let held = one(session, snapshot, &digest, keep.may_be_blob(&digest)).await?;
            let native = native(session, &digest, held.is_some()).await?;
            Ok((digest, (held, native)))
        })
        .buffer_unordered(PARALLEL)
        .try_collect()
        .await
}

/// `may_be_blob`: it is kept whether or not it can be read as a manifest. Distribution 2.8 fails (500) where it is asked for a
/// blob as a manifest.
async fn one(
    session: &Session,
    snapshot: &Snapshot,
    digest: &Digest,
    may_be_blob: bool,
) -> Result<Option<ReadManifest>, CliError> {
    if let Some(held) = snapshot.held(digest) {
        return Ok(Some(held));
    }
    let reference = Reference::Digest(digest.clone());
    let answer = session
        .upstream()
        .manifest(session.repository(), &reference, session.caller())
        .await;
    let raw = match answer {
        Err(UpstreamError::Failed(_) | UpstreamError::Content(_)) if may_be_blob => None,
        answer => session.found(answer)?,
    };
    match raw {
        Some(raw) => Ok(Some(held(session, &raw).await?)),
        None => Ok(None),
    }
}

/// What the registry itself lists, where it can. `is_held`: it just gave the subject. That it cannot is proven before it is believed:
/// what seems to be needed by nothing is deleted.
async fn native(session: &Session, subject: &Digest, is_held: bool) -> Result<Vec<Digest>, CliError> {
    let (upstream, repository) = (session.upstream(), session.repository());
    let support = || upstream.native().support(repository, session.caller());
    let known = support();
    if known.is_missing() {
        return Ok(Vec::new());
    }
    match own_list(session, subject).await? {
        Native::Entries(listed) => return Ok(answered(session, listed)),
        Native::Nothing if known == NativeSupport::Answers || !is_held => return Ok(Vec::new()),
        Native::Silence(seen) | Native::NoRoute(seen) | Native::Barred(seen) if known == NativeSupport::Answers => {
            return Err(session.failed(&UpstreamError::Invalid(seen)));
        }
        Native::Refused(refusal) => return Err(CliError::refused(session.name(), &refusal)),
        Native::Silence(_) if !is_held => return Ok(Vec::new()),
        Native::Nothing | Native::Silence(_) | Native::NoRoute(_) | Native::Barred(_) => {}
    }
    let _proof = upstream.native().proof(repository).await;
    if support().is_missing() {
        return Ok(Vec::new());
    }
    session.found(upstream.tags(repository, session.caller()).await)?;
    match own_list(session, subject).await? {
        Native::Entries(listed) => Ok(answered(session, listed)),
        Native::Refused(refusal) => Err(CliError::refused(session.name(), &refusal)),
        Native::Silence(seen) | Native::NoRoute(seen) | Native::Barred(seen) if support() == NativeSupport::Answers => {
            Err(session.failed(&UpstreamError::Invalid(seen)))
        }
        answer @ (Native::Nothing | Native::Silence(_) | Native::NoRoute(_) | Native::Barred(_)) => {
            let absence = match answer {
                Native::NoRoute(_) => NativeAbsence::NoRoute,
                Native::Barred(_) => NativeAbsence::Barred,
                _ => NativeAbsence::NothingOf(subject),
            };
            if is_held {
                upstream.native().missing(repository, session.caller(), absence);
            }
            Ok(Vec::new())
        }
    }
}

async fn own_list(session: &Session, subject: &Digest) -> Result<Native, CliError> {
    let listed = session
        .upstream()
        .native_referrers(session.repository(), subject, session.caller())
        .await;
    listed.map_err(|error| session.failed(&error))
}

fn answered(session: &Session, listed: Vec<Descriptor>) -> Vec<Digest> {
    session.upstream().native().answered(session.repository());
    listed.into_iter().map(|descriptor| descriptor.digest).collect()
}
