//! Paging: the part of a list that a request asks for, and the tokens with which clients ask for the next part.
//!
//! A token contains the *position* of the last printed entry: its sort key, not its number. So entries that exist all the time are neither
//! skipped nor repeated when others are added or removed between two pages.

use std::cmp::Reverse;
use std::num::NonZeroUsize;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::entry::{RenderedEntry, append_json};
use super::filter::Filter;
use super::query::{Query, QueryError};
use crate::oci::referrer::Position;
use crate::oci::{Digest, Referrer, ReferrerList};

/// Largest body of a page, in bytes: oras-go reads no more than this.
pub const MAX_BODY: usize = 4 * 1024 * 1024;

/// The query parameter for a token (Proposal A's name for it).
pub const NEXT_TOKEN: &str = "nextToken";

/// Longest token, in characters, given that a digest has at most 256.
const MAX_TOKEN: usize = 512;
const VERSION: u8 = 1;
const CHECKSUM: usize = 8;
/// Bytes of a token's fixed part: version, whether there is a date, nanoseconds.
const FIXED: usize = 1 + 1 + 16;

/// The API that issued a token. Other APIs reject it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PagedApi {
    /// OCI 1.1.
    Oci11,
    /// Proposal A.
    ProposalA,
    /// ORAS.
    Oras,
    /// ORAS, older path.
    OrasV1,
}

/// The part of a list that a request asks for: at most `n` entries after a position.
#[derive(Clone, Debug)]
pub struct Window<'a> {
    n: Option<NonZeroUsize>,
    after: Option<Position>,
    /// The question that tokens are valid for.
    question: (PagedApi, &'a Digest, &'a Filter),
}

/// A printed page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenderedPage {
    /// The response's body.
    pub body: Bytes,
    /// The token of the next page; `None` on the last one.
    pub next: Option<String>,
}

impl<'a> Window<'a> {
    /// The beginning of a list, as much as fits in one page.
    pub fn first(api: PagedApi, subject: &'a Digest, filter: &'a Filter) -> Self {
        Self {
            n: None,
            after: None,
            question: (api, subject, filter),
        }
    }

    /// Parses `n` and `nextToken`.
    ///
    /// # Errors
    /// If `n` is not a positive number, or the token was not issued for this question.
    pub fn from_query(
        api: PagedApi,
        subject: &'a Digest,
        filter: &'a Filter,
        query: &Query,
    ) -> Result<Self, QueryError> {
        let mut window = Self::first(api, subject, filter);
        window.n = query.n()?;
        if let Some(token) = query.first(NEXT_TOKEN) {
            window.after = Some(window.open(token).ok_or(QueryError::InvalidToken)?);
        }
        Ok(window)
    }

    /// Whether the request has neither `n` nor a token, so that the answer is the same for every such caller.
    pub fn is_first(&self) -> bool {
        self.n.is_none() && self.after.is_none()
    }

    /// The token of the page after `position`.
    pub fn seal(&self, position: &Position) -> String {
        let mut bytes = vec![VERSION, u8::from(position.undated)];
        bytes.extend(position.newest.0.to_be_bytes());
        bytes.extend(position.digest.as_str().as_bytes());
        let checksum = self.checksum(&bytes);
        bytes.extend(checksum);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    pub(crate) fn open(&self, token: &str) -> Option<Position> {
        if token.len() > MAX_TOKEN {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (payload, checksum) = bytes.split_at_checked(bytes.len().checked_sub(CHECKSUM)?)?;
        if self.checksum(payload) != *checksum {
            return None;
        }
        let (fixed, digest) = payload.split_at_checked(FIXED)?;
        let [VERSION, undated @ (0 | 1), nanoseconds @ ..] = fixed else {
            return None;
        };
        Some(Position {
            undated: *undated == 1,
            newest: Reverse(i128::from_be_bytes(nanoseconds.try_into().ok()?)),
            digest: Digest::parse(std::str::from_utf8(digest).ok()?).ok()?,
        })
    }

    /// Tokens are not secret: a caller who forges one only reads from another position of a list that it may read.
    fn checksum(&self, payload: &[u8]) -> [u8; CHECKSUM] {
        let (api, subject, filter) = self.question;
        let hash = question(api, subject, filter).chain_update(payload).finalize();
        std::array::from_fn(|i| hash[i])
    }

    /// Prints the entries of this window, separated by commas, into at most `room` bytes, but at least one entry, so that paging ends. Returns the
    /// token of the next page too.
    pub(super) fn print_entries(
        &self,
        links: &ReferrerList,
        filter: &Filter,
        room: usize,
    ) -> (Vec<u8>, Option<String>) {
        let start = match &self.after {
            Some(after) => links.referrers.partition_point(|r| r.position() <= *after),
            None => 0,
        };
        let limit = self.n.map_or(usize::MAX, NonZeroUsize::get);
        let mut out = Vec::new();
        let mut last: Option<&Referrer> = None;
        for (index, referrer) in filter.select(&links.referrers[start..]).enumerate() {
            let before = out.len();
            if index < limit {
                if index > 0 {
                    out.push(b',');
                }
                append_json(&mut out, &RenderedEntry::from(&referrer.descriptor));
            }
            if index == limit || (index > 0 && out.len() > room) {
                out.truncate(before);
                return (out, last.map(|r| self.seal(&r.position())));
            }
            last = Some(referrer);
        }
        (out, None)
    }
}

fn question(api: PagedApi, subject: &Digest, filter: &Filter) -> Sha256 {
    let mut hash = Sha256::new();
    for part in std::iter::once(subject.as_str()).chain(filter.types()) {
        // Lengths are hashed too, so that different lists of texts have different hashes.
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.update([api as u8]);
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Question(PagedApi, Digest, Filter);

    impl Question {
        fn window(&self) -> Window<'_> {
            Window::first(self.0, &self.1, &self.2)
        }
    }

    fn question(api: PagedApi, subject: &[u8], types: &[&str]) -> Question {
        Question(api, Digest::sha256(subject), Filter::new(types.iter().copied()))
    }

    fn position() -> Position {
        Position {
            undated: false,
            newest: Reverse(-1),
            digest: Digest::sha256(b"own"),
        }
    }

    #[test]
    fn a_token_opens_only_for_its_own_question() {
        let own = question(PagedApi::Oci11, b"s", &["a", "b"]);
        let token = own.window().seal(&position());
        assert_eq!(own.window().open(&token), Some(position()));
        for other in [
            question(PagedApi::ProposalA, b"s", &["a", "b"]),
            question(PagedApi::Oci11, b"t", &["a", "b"]),
            question(PagedApi::Oci11, b"s", &["a"]),
            question(PagedApi::Oci11, b"s", &["ab"]),
            question(PagedApi::Oci11, b"s", &[]),
        ] {
            assert_eq!(other.window().open(&token), None);
        }
    }

    #[test]
    fn a_token_with_any_character_changed_is_refused() {
        let own = question(PagedApi::Oci11, b"s", &[]);
        let own = own.window();
        let token = own.seal(&position());
        for index in 0..token.len() {
            for with in ["A", "b", "-", "=", " ", ""] {
                let mut changed = token.clone();
                changed.replace_range(index..=index, with);
                assert!(changed == token || own.open(&changed).is_none(), "{changed}");
            }
        }
        for nonsense in ["", "AAAA", "é", &"A".repeat(600)] {
            assert_eq!(own.open(nonsense), None);
        }
    }
}
