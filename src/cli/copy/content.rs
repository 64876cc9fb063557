//! The bytes of a blob on their way: read piece by piece, and checked against their digest before the last piece is let go.

use std::io::SeekFrom;
use std::path::Path;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt as _, TryStreamExt as _};
use indicatif::ProgressBar;
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use crate::cli::error::CliError;
use crate::oci::{Digest, DigestHasher};
use crate::registry::BlobDownload;

use super::layout::failed;

/// Of a file, read at once.
const PIECE: usize = 64 << 10;

/// Pieces of a blob, or why there are no more.
pub(super) type Pieces = BoxStream<'static, Result<Bytes, ContentError>>;

/// Why a blob does not arrive whole.
#[derive(Debug, thiserror::Error)]
pub(super) enum ContentError {
    /// The side that it comes from fails: another attempt may go on from there.
    #[error("{0}")]
    Unreadable(String),
    /// It is not what its digest says.
    #[error("{name}: other bytes than those of the blob {digest}")]
    Wrong {
        /// What messages call the side that it comes from.
        name: String,
        digest: Digest,
    },
}

/// A blob, or the rest of one.
pub(super) struct BlobContent {
    pub(super) pieces: Pieces,
    /// Of the whole blob, in bytes.
    pub(super) length: u64,
}

/// What a registry sends. `name` is what messages call its side.
pub(super) fn downloaded(download: BlobDownload, name: String) -> Pieces {
    let next = |(mut download, name): (BlobDownload, String)| async move {
        match download.next().await {
            Ok(piece) => Ok(piece.map(|piece| (piece, (download, name)))),
            Err(error) => Err(ContentError::Unreadable(format!("{name}: {error}"))),
        }
    };
    stream::try_unfold((download, name), next).boxed()
}

/// What a file holds behind its first `offset` bytes.
pub(super) async fn from_file(path: &Path, offset: u64) -> Result<Pieces, CliError> {
    let mut file = File::open(path).await.map_err(|error| failed(path, &error))?;
    file.seek(SeekFrom::Start(offset))
        .await
        .map_err(|error| failed(path, &error))?;
    let path = path.display().to_string();
    let next = |(mut file, path): (File, String)| async move {
        let mut piece = BytesMut::with_capacity(PIECE);
        match file.read_buf(&mut piece).await {
            Ok(0) => Ok(None),
            Ok(_) => Ok(Some((piece.freeze(), (file, path)))),
            Err(error) => Err(ContentError::Unreadable(format!("{path}: {error}"))),
        }
    };
    Ok(stream::try_unfold((file, path), next).boxed())
}

/// A check of a blob's bytes on their way.
pub(super) struct Checked {
    pieces: Pieces,
    digest: Digest,
    /// `None` once the check is made.
    hasher: Option<DigestHasher>,
    /// The last piece that came. It goes on when another one comes or the check is passed: nobody takes wrong bytes for a whole blob.
    held: Option<Bytes>,
    /// What messages call the side that the bytes come from.
    name: String,
    bar: ProgressBar,
}

impl Checked {
    /// The pieces of `content`, and in the place of the last one an error where all of them are not what `digest` says. `hasher` knows the
    /// bytes before them.
    pub(super) fn pieces(
        pieces: Pieces,
        digest: &Digest,
        hasher: DigestHasher,
        name: &str,
        bar: &ProgressBar,
    ) -> Pieces {
        let checked = Self {
            pieces: pieces.fuse().boxed(),
            digest: digest.clone(),
            hasher: Some(hasher),
            held: None,
            name: name.to_owned(),
            bar: bar.clone(),
        };
        stream::try_unfold(checked, Self::next).boxed()
    }

    async fn next(mut self) -> Result<Option<(Bytes, Self)>, ContentError> {
        while let Some(piece) = self.pieces.try_next().await? {
            if let Some(hasher) = &mut self.hasher {
                hasher.update(&piece);
            }
            self.bar.inc(piece.len() as u64);
            if let Some(before) = self.held.replace(piece) {
                return Ok(Some((before, self)));
            }
        }
        if self.hasher.take().is_some_and(|hasher| !hasher.matches()) {
            return Err(ContentError::Wrong {
                name: self.name,
                digest: self.digest,
            });
        }
        Ok(self.held.take().map(|last| (last, self)))
    }
}

/// A hasher for a blob.
///
/// # Errors
/// If the algorithm is not supported, so that nobody can tell whether the bytes are the right ones.
pub(super) fn hasher(digest: &Digest, name: &str) -> Result<DigestHasher, CliError> {
    DigestHasher::new(digest).ok_or_else(|| {
        let problem = format!("the digest algorithm '{}' is not supported", digest.algorithm());
        CliError::failed(format!("{name}: the blob {digest} cannot be checked: {problem}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_piece_waits_for_the_check() {
        let run = |content: &'static [&'static str], expected: &'static str| async move {
            let digest = Digest::sha256(expected.as_bytes());
            let pieces = stream::iter(content.iter().map(|piece| Ok(Bytes::from_static(piece.as_bytes())))).boxed();
            let hasher = hasher(&digest, "src").unwrap();
            let checked = Checked::pieces(pieces, &digest, hasher, "src", &ProgressBar::hidden());
            let passed: Vec<Result<Bytes, ContentError>> = checked.collect().await;
            let problems = passed.iter().filter(|piece| piece.is_err()).count();
            (
                passed.into_iter().flatten().map(|piece| piece.len()).sum::<usize>(),
                problems,
            )
        };
        assert_eq!(run(&["ab", "cd", "e"], "abcde").await, (5, 0));
        assert_eq!(run(&["ab", "cd", "x"], "abcde").await, (4, 1));
        assert_eq!(run(&["ab"], "abcde").await, (0, 1));
        assert_eq!(run(&[], "").await, (0, 0));
        assert_eq!(run(&[], "a").await, (0, 1));
    }
}
