//! Tag listings: page by page, in every shape that registries give them.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, BufReader, Read};

use bytes::{Buf as _, Bytes};
use http::{Method, StatusCode, Uri};
use tokio::sync::mpsc;

use super::counts::RequestKind;
use super::link_header;
use super::origin::resolve;
use super::retry::{Failure, Retry};
use super::scan::{Ask, Redirects, sort};
use super::tag_names::TagNamesBuilder;
use super::timed::IdleBody;
use super::{Answer, Caller, TagNames, Upstream, UpstreamError, read, tag_page};
use crate::oci::RepositoryName;

/// Tags asked for at once: more is refused by ECR and Distribution 3.1.0.
pub(super) const PAGE_SIZE: usize = 1000;
/// Of a registry that gives a hundred at a time, two hundred thousand tags.
const MOST_PAGES: usize = 2_000;
/// Pages in a row that hold nothing and still name a next one.
const MOST_EMPTY_PAGES: usize = 8;
/// Up to this many bytes a page is parsed where it was read; above, on a thread for blocking work.
const SMALL_PAGE: usize = 256 << 10;

/// What was read of a listing so far.
#[derive(Default)]
pub(super) struct Listing {
    pub(super) names: TagNamesBuilder,
    bytes: usize,
    empty_pages: usize,
    /// Hashes of the pages asked for: links may be long, and many.
    seen: HashSet<u64>,
    hasher: RandomState,
}

impl Upstream {
    /// All tags of a repository.
    pub async fn tags(&self, repository: &RepositoryName, caller: &Caller) -> Result<Answer<TagNames>, UpstreamError> {
        let mut listing = Listing::default();
        let mut page = self.origin.uri(&format!("/v2/{repository}/tags/list?n={PAGE_SIZE}"))?;
        loop {
            match self.page(page, &mut listing, caller).await? {
                Answer::Found(Some(next)) => page = next,
                Answer::Found(None) => return Ok(Answer::Found(listing.names.finish())),
                Answer::Absent => return Ok(Answer::Absent),
                Answer::Refused(refusal) => return Ok(Answer::Refused(refusal)),
            }
        }
    }

    /// Adds one page to `listing`; which page comes next.
    pub(super) async fn page(
        &self,
        uri: Uri,
        listing: &mut Listing,
        caller: &Caller,
    ) -> Result<Answer<Option<Uri>>, UpstreamError> {
        let ask = Ask {
            kind: RequestKind::Tags,
            method: Method::GET,
            uri,
            accept: "application/json",
            redirects: Redirects::Elsewhere,
            caller,
        };
        let is_first = listing.seen.is_empty();
        let before = listing.names.len();
        listing.seen.insert(listing.hasher.hash_one(&ask.uri));
        let answer = self.read_page(&ask, listing).await?;
        match answer {
            Answer::Found(Some(next)) => {
                listing.check_next(&next, listing.names.len() == before)?;
                Ok(Answer::Found(Some(next)))
            }
            Answer::Absent if !is_first => Err(UpstreamError::Invalid("a page of a tag listing vanished".into())),
            other => Ok(other),
        }
    }

    async fn read_page(&self, ask: &Ask<'_>, listing: &mut Listing) -> Result<Answer<Option<Uri>>, UpstreamError> {
        let mut retry = Retry::new(self.retries);
        let (mark, bytes) = (listing.names.mark(), listing.bytes);
        loop {
            match self.read_page_once(ask, listing).await {
                Ok(answer) => {
                    self.went_well(ask);
                    return Ok(answer);
                }
                Err(failure) => self.again(&mut retry, ask, failure).await?,
            }
            listing.names.rewind(mark);
            listing.bytes = bytes;
        }
    }

    async fn read_page_once(&self, ask: &Ask<'_>, listing: &mut Listing) -> Result<Answer<Option<Uri>>, Failure> {
        let mut heard = self.attempt(ask).await?;
        if heard.response.status() != StatusCode::OK {
            let reply = read::refusal(heard.response).await?;
            return Ok(sort(reply, &ask.uri)?.try_map(|_| Ok(None))?);
        }
        let next = match link_header::next(heard.response.headers()) {
            Some(link) => Some(self.own_link(&heard.uri, link)?),
            None => None,
        };
        self.read_names(heard.response.body_mut(), listing).await?;
        Ok(Answer::Found(next))
    }

    /// A link must lead to the upstream itself: credentials go with it. Artifactory and Nexus write paths of their inside; what
    /// tells a page from the next is the query.
    pub(super) fn own_link(&self, asked: &Uri, link: &str) -> Result<Uri, UpstreamError> {
        let target = resolve(asked, link).and_then(|target| self.origin.own(&target));
        let next = match target {
            Some(target) if !self.origin.is_api(&target) => {
                self.origin.same_path(asked, target.query().unwrap_or_default())
            }
            target => target,
        };
        next.ok_or_else(|| UpstreamError::Invalid("a Link to somewhere else".into()))
    }

    async fn read_names(&self, body: &mut IdleBody, listing: &mut Listing) -> Result<(), UpstreamError> {
        let mut chunks = Vec::new();
        let mut size = 0;
        while size <= SMALL_PAGE {
            let Some(chunk) = self.next_chunk(body, listing).await? else {
                return parse(chunks.into_iter(), &mut listing.names);
            };
            size += chunk.len();
            chunks.push(chunk);
        }
        self.read_large(chunks, body, listing).await
    }

    /// Parses on another thread while the body still arrives.
    async fn read_large(
        &self,
        begun: Vec<Bytes>,
        body: &mut IdleBody,
        listing: &mut Listing,
    ) -> Result<(), UpstreamError> {
        let (sender, mut receiver) = mpsc::channel(4);
        let mut names = std::mem::take(&mut listing.names);
        let parsing = tokio::task::spawn_blocking(move || {
            let arriving = std::iter::from_fn(|| receiver.blocking_recv());
            let result = parse(begun.into_iter().chain(arriving), &mut names);
            (names, result)
        });
        let fed = self.feed(sender, body, listing).await;
        let (names, parsed) = parsing
            .await
            .map_err(|error| UpstreamError::Invalid(error.to_string()))?;
        listing.names = names;
        // A body that broke off parses badly too; why it did is what matters.
        fed.and(parsed)
    }

    /// Passes the body on until it ends, or until the parser has seen enough.
    async fn feed(
        &self,
        parser: mpsc::Sender<Bytes>,
        body: &mut IdleBody,
        listing: &mut Listing,
    ) -> Result<(), UpstreamError> {
        while let Some(chunk) = self.next_chunk(body, listing).await? {
            if parser.send(chunk).await.is_err() {
                break;
            }
        }
        Ok(())
    }

    async fn next_chunk(&self, body: &mut IdleBody, listing: &mut Listing) -> Result<Option<Bytes>, UpstreamError> {
        let chunk = read::next_chunk(body).await?;
        listing.bytes += chunk.as_ref().map_or(0, Bytes::len);
        if listing.bytes > self.tag_list_bytes {
            let reason = format!("its tag listing is larger than {} bytes", self.tag_list_bytes);
            return Err(UpstreamError::Invalid(reason));
        }
        Ok(chunk)
    }
}

impl Listing {
    fn check_next(&mut self, next: &Uri, was_empty: bool) -> Result<(), UpstreamError> {
        self.empty_pages = if was_empty { self.empty_pages + 1 } else { 0 };
        let reason = if self.seen.contains(&self.hasher.hash_one(next)) {
            "its tag listing goes round in circles"
        } else if self.seen.len() >= MOST_PAGES || self.empty_pages > MOST_EMPTY_PAGES {
            "its tag listing does not end"
        } else {
            return Ok(());
        };
        Err(UpstreamError::Invalid(reason.into()))
    }
}

fn parse(chunks: impl Iterator<Item = Bytes>, names: &mut TagNamesBuilder) -> Result<(), UpstreamError> {
    let reader = ChunkReader {
        chunks,
        current: Bytes::new(),
    };
    tag_page::parse(BufReader::new(reader), names)
        .map_err(|error| UpstreamError::Invalid(format!("a tag listing that is none: {error}")))
}

/// Reads pieces as one text.
struct ChunkReader<I> {
    chunks: I,
    current: Bytes,
}

impl<I: Iterator<Item = Bytes>> Read for ChunkReader<I> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.chunks.next() {
                Some(chunk) => self.current = chunk,
                None => return Ok(0),
            }
        }
        let length = self.current.len().min(buffer.len());
        self.current.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}
