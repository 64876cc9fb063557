//! Writing to an OCI image layout. A blob is written beside its place and moved there once it is whole and checked; `index.json` is replaced
//! in one step when an image is complete. So an ended copy leaves no broken file, and a repeated one goes on in the midst of a blob.

use std::collections::BTreeSet;
use std::fs::{self, File, Metadata, TryLockError};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use futures_util::TryStreamExt as _;
use indicatif::ProgressBar;
use tokio::io::AsyncWriteExt as _;

use crate::cli::error::CliError;
use crate::oci::media_type::OCI_IMAGE_INDEX;
use crate::oci::{Descriptor, Digest, DigestHasher, ReferrersTagIndex, SubjectKey, Tag, tag_scheme};
use crate::registry::RawManifest;

use super::compare::{ImageContent, Moment};
use super::content::{Checked, ContentError, from_file, hasher};
use super::graph::ImageGraph;
use super::layout::{INDEX, ImageLayout, MARKER, failed};
use super::layout_links::LayoutLinks;
use super::source::CopySource;

/// Of files that are not whole yet.
const UNFINISHED: &str = ".refshim";

pub(super) struct LayoutDestination {
    layout: ImageLayout,
    /// As they were when the layout was read.
    links: LayoutLinks,
    name: String,
    /// Held while this process writes.
    lock: Option<File>,
}

impl LayoutDestination {
    pub(super) fn open(folder: &Path, name: String) -> Result<Self, CliError> {
        let layout = ImageLayout::read(folder)?.unwrap_or_else(|| ImageLayout::empty(folder));
        Ok(Self {
            links: LayoutLinks::read(&layout)?,
            layout,
            name,
            lock: None,
        })
    }

    pub(super) fn tag_holds(&self, tag: &Tag) -> Option<Digest> {
        self.layout.tagged(tag).map(|descriptor| descriptor.digest)
    }

    /// Whether it has the manifest with the right bytes.
    pub(super) fn holds_manifest(&self, digest: &Digest) -> Result<bool, CliError> {
        Ok(self.layout.manifest(digest)?.is_some())
    }

    /// Whether it has the blob; before a copy, its bytes are checked. After it, they were checked when they were written.
    pub(super) async fn holds_blob(&self, blob: &Descriptor, moment: Moment) -> Result<bool, CliError> {
        let path = self.layout.blob_path(&blob.digest);
        match self.layout.blob_length(&blob.digest)? {
            None => Ok(false),
            Some(_) if moment == Moment::After => Ok(true),
            Some(_) => {
                let mut hasher = hasher(&blob.digest, &self.name)?;
                hash(&path, &mut hasher).await?;
                Ok(hasher.matches())
            }
        }
    }

    pub(super) fn referrers(&self, subject: &Digest) -> BTreeSet<Digest> {
        let found = self.links.referrers(subject);
        found.into_iter().map(|referrer| referrer.descriptor.digest).collect()
    }

    /// Makes the layout, where there is none, and keeps others from writing to it.
    pub(super) fn begin(&mut self) -> Result<(), CliError> {
        if self.lock.is_some() {
            return Ok(());
        }
        let folder = &self.layout.folder;
        let unfinished = folder.join(UNFINISHED);
        fs::create_dir_all(&unfinished).map_err(|error| failed(&unfinished, &error))?;
        let is_folder = fs::symlink_metadata(&unfinished).is_ok_and(|metadata| metadata.is_dir());
        if !is_folder {
            let problem = "this leads out of the layout: remove it";
            return Err(CliError::failed(format!("{}: {problem}", unfinished.display())));
        }
        let path = folder.join(MARKER);
        if !path.exists() {
            self.replace(MARKER, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        }
        let lock = File::open(&path).map_err(|error| failed(&path, &error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let problem = "another copy writes to this layout: run it again when that one has ended";
                return Err(CliError::failed(format!("{}: {problem}", self.name)));
            }
            // File systems without locks.
            Err(TryLockError::Error(_)) => {}
        }
        self.lock = Some(lock);
        // Somebody may have written since it was read.
        if let Some(layout) = ImageLayout::read(folder)? {
            self.layout = layout;
        }
        Ok(())
    }

    /// Writes a blob, behind what an earlier copy wrote of it.
    pub(super) async fn write_blob(
        &self,
        source: &CopySource,
        blob: &Descriptor,
        bar: &ProgressBar,
    ) -> Result<(), CliError> {
        let path = self.unfinished(&blob.digest);
        let begun = fs::symlink_metadata(&path).ok().filter(Metadata::is_file);
        let begun = begun.map_or(0, |metadata| metadata.len());
        if begun > 0 && begun < blob.size {
            match self.append(source, blob, &path, begun, bar).await? {
                Ok(()) => return self.finish(&path, &blob.digest),
                // What was there was perhaps something else.
                Err(ContentError::Wrong { .. }) => {}
                Err(error) => return Err(CliError::failed(error.to_string())),
            }
        }
        match self.append(source, blob, &path, 0, bar).await? {
            Ok(()) => self.finish(&path, &blob.digest),
            Err(error) => {
                if matches!(error, ContentError::Wrong { .. }) {
                    let _ = fs::remove_file(&path);
                }
                Err(CliError::failed(error.to_string()))
            }
        }
    }

    /// Writes what follows the first `begun` bytes of a blob, which are in the file already.
    async fn append(
        &self,
        source: &CopySource,
        blob: &Descriptor,
        path: &Path,
        begun: u64,
        bar: &ProgressBar,
    ) -> Result<Result<(), ContentError>, CliError> {
        let mut hasher = hasher(&blob.digest, source.name())?;
        if begun > 0 {
            hash(path, &mut hasher).await?;
        }
        let content = match begun {
            0 => source.open_whole(blob).await?,
            _ => source.open_from(blob, begun).await?,
        };
        let file = match begun {
            0 => new_file(path),
            _ => File::options().append(true).open(path),
        };
        let mut file = tokio::fs::File::from_std(file.map_err(|error| failed(path, &error))?);
        let mut pieces = Checked::pieces(content.pieces, &blob.digest, hasher, source.name(), bar);
        let ended = loop {
            match pieces.try_next().await {
                Ok(Some(piece)) => file.write_all(&piece).await.map_err(|error| failed(path, &error))?,
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        file.flush().await.map_err(|error| failed(path, &error))?;
        // After a power cut, a file with the right length would be taken for the blob.
        file.sync_all().await.map_err(|error| failed(path, &error))?;
        Ok(ended)
    }

    pub(super) fn write_manifest(&self, raw: &RawManifest) -> Result<(), CliError> {
        let path = self.unfinished(&raw.digest);
        write_synced(&path, &raw.bytes)?;
        self.finish(&path, &raw.digest)
    }

    /// Moves a whole file to its place.
    fn finish(&self, path: &Path, digest: &Digest) -> Result<(), CliError> {
        let place = self.layout.blob_path(digest);
        let folder = place.parent().unwrap_or(&place);
        fs::create_dir_all(folder).map_err(|error| failed(folder, &error))?;
        fs::rename(path, &place).map_err(|error| failed(&place, &error))
    }

    /// Lists an image whose manifests are all there, with its links and tags.
    pub(super) fn list(&mut self, graph: &ImageGraph, missing: &ImageContent) -> Result<(), CliError> {
        let descriptor = |digest: &Digest| graph.nodes.get(digest).map(|node| node.descriptor());
        for (tag, digest) in &missing.tags {
            if let Some(descriptor) = descriptor(digest) {
                self.layout.tag(tag, &descriptor);
            }
        }
        if let Some(root) = descriptor(&graph.root) {
            self.layout.list(&root);
        }
        for (subject, referrers) in &missing.links {
            for referrer in referrers.iter().filter_map(descriptor) {
                self.layout.list(&referrer);
            }
            let known = graph.links.get(subject);
            let listed = referrers
                .iter()
                .filter_map(|referrer| Some(&known?.get(referrer)?.descriptor));
            self.write_referrers_tag(subject, listed)?;
        }
        self.replace(INDEX, &self.layout.print())
    }

    /// Adds to the list of referrers that other clients read. What has its name and is no such list is left alone.
    fn write_referrers_tag<'a>(
        &mut self,
        subject: &Digest,
        referrers: impl Iterator<Item = &'a Descriptor>,
    ) -> Result<(), CliError> {
        let Some(tag) = tag_scheme::referrers_tag(subject) else {
            return Ok(());
        };
        let held = match self.layout.tagged(&tag) {
            Some(held) => {
                let bytes = self.layout.manifest(&held.digest)?.unwrap_or_default();
                ReferrersTagIndex::of_tag(&SubjectKey::of(subject), &held.media_type, &bytes)
            }
            None => Some(ReferrersTagIndex::default()),
        };
        let Some(mut index) = held else { return Ok(()) };
        referrers.for_each(|referrer| index.add(referrer));
        let bytes = index.print();
        let list = RawManifest {
            digest: Digest::sha256(&bytes),
            media_type: OCI_IMAGE_INDEX.to_owned(),
            bytes,
        };
        self.write_manifest(&list)?;
        let descriptor = Descriptor::new(list.media_type, list.digest, list.bytes.len() as u64);
        self.layout.tag(&tag, &descriptor);
        Ok(())
    }

    /// Removes the folder of unfinished files, unless there are some.
    pub(super) fn end(&self) {
        let _ = fs::remove_dir(self.layout.folder.join(UNFINISHED));
    }

    /// Replaces a file of the layout in one step.
    fn replace(&self, file: &str, bytes: &[u8]) -> Result<(), CliError> {
        let path = self.layout.folder.join(UNFINISHED).join(file);
        write_synced(&path, bytes)?;
        let place = self.layout.folder.join(file);
        fs::rename(&path, &place).map_err(|error| failed(&place, &error))
    }

    fn unfinished(&self, digest: &Digest) -> PathBuf {
        let name = format!("{}-{}", digest.algorithm(), digest.encoded());
        self.layout.folder.join(UNFINISHED).join(name)
    }
}

fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    let written = new_file(path).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.map_err(|error| failed(path, &error))
}

/// A new file, in place of what has its name. A link there may lead to any file of the user's.
fn new_file(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    File::options().write(true).create_new(true).open(path)
}

/// Hashes what a file holds.
async fn hash(path: &Path, hasher: &mut DigestHasher) -> Result<(), CliError> {
    let mut pieces = from_file(path, 0).await?;
    loop {
        match pieces.try_next().await {
            Ok(Some(piece)) => hasher.update(&piece),
            Ok(None) => return Ok(()),
            Err(error) => return Err(CliError::failed(error.to_string())),
        }
    }
}
