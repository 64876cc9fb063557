//! Reading one page of `tags/list`: whole, or only its beginning where that tells enough.

use bytes::Bytes;
use http::{Method, StatusCode, Uri};
use tokio::sync::mpsc;

use super::Upstream;
use super::tag_page;
use crate::http::collect::next_chunk;
use crate::http::link_header;
use crate::registry::answer::Answer;
use crate::registry::caller::Caller;
use crate::registry::classify::classify;
use crate::registry::counts::RequestKind;
use crate::registry::error::UpstreamError;
use crate::registry::reader::request::{ReadRequest, Redirects};
use crate::registry::retry::ReadFailure;
use crate::registry::tag_names::TagNamesBuilder;
use crate::registry::transport::collect;
use crate::registry::transport::idle_timeout::IdleBody;

/// Up to this many bytes a page is parsed where it was read; above, on a thread for blocking work.
const SMALL_PAGE: usize = 256 << 10;

/// How much of a page is read.
#[derive(Clone, Copy)]
pub(in crate::registry) enum Extent<'a> {
    Whole,
    /// Until this many names are there: a registry that ignores `n` need not send its whole listing again.
    Names(usize),
    /// Whole, unless it begins amidst these. One that begins anew is read to see whether it holds the last of them.
    After(&'a TagNamesBuilder),
}

impl Extent<'_> {
    /// Whether these first names of a page are enough.
    fn is_reached(self, beginning: &TagNamesBuilder) -> bool {
        match self {
            Self::Whole => false,
            Self::Names(count) => beginning.len() >= count,
            Self::After(known) => !beginning.is_empty() && beginning_of(known, beginning.get(0)) == Beginning::Known,
        }
    }

    fn is_decided(self, beginning: &TagNamesBuilder) -> bool {
        match self {
            Self::Whole => true,
            Self::Names(count) => beginning.len() >= count,
            Self::After(_) => !beginning.is_empty(),
        }
    }
}

/// What a page begins with that was asked for after the last of the names that are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::registry) enum Beginning {
    New,
    /// That last name itself.
    Last,
    /// The first name, or one before it: the listing begins anew.
    Anew,
    /// A name somewhere among those that are known.
    Known,
}

pub(in crate::registry) fn beginning_of(known: &TagNamesBuilder, name: &str) -> Beginning {
    let Some(last) = known.last() else {
        return Beginning::New;
    };
    let (first, ascends) = (known.get(0), known.is_ascending());
    if name == first || ascends && name < first {
        Beginning::Anew
    } else if name == last {
        Beginning::Last
    } else if ascends && name < last || !ascends && (0..known.len()).any(|index| known.get(index) == name) {
        Beginning::Known
    } else {
        Beginning::New
    }
}

/// What a page was, besides its names.
#[derive(Debug)]
pub(in crate::registry) struct ReadTagPage {
    /// Where its `Link` leads.
    pub(in crate::registry) next: Option<Uri>,
    /// It has links, none of which leads to a next page.
    pub(in crate::registry) links_otherwise: bool,
    /// How many names it has, as far as it was read.
    pub(in crate::registry) count: usize,
}

/// Where names that are read go.
#[derive(Default)]
pub(in crate::registry) struct PageNames {
    pub(in crate::registry) names: TagNamesBuilder,
    /// Bytes read so far, of this page and those before it.
    pub(in crate::registry) bytes: usize,
}

impl Upstream {
    /// Reads one page, and once more where it broke off.
    pub(in crate::registry) async fn read_page(
        &self,
        uri: Uri,
        extent: Extent<'_>,
        into: &mut PageNames,
        caller: &Caller,
    ) -> Result<Answer<ReadTagPage>, UpstreamError> {
        let ask = ReadRequest {
            kind: RequestKind::Tags,
            method: Method::GET,
            uri,
            accept: "application/json",
            redirects: Redirects::Elsewhere,
            caller,
        };
        let mut retry = self.reader.retry();
        let (mark, bytes) = (into.names.mark(), into.bytes);
        loop {
            match self.read_page_once(&ask, extent, into).await {
                Ok(answer) => {
                    self.reader.went_well(&ask);
                    return Ok(answer);
                }
                Err(failure) => self.reader.again(&mut retry, &ask, failure).await?,
            }
            into.names.rewind(mark);
            into.bytes = bytes;
        }
    }

    async fn read_page_once(
        &self,
        ask: &ReadRequest<'_>,
        extent: Extent<'_>,
        into: &mut PageNames,
    ) -> Result<Answer<ReadTagPage>, ReadFailure> {
        let mut heard = self.reader.attempt(ask).await?;
        if heard.response.status() != StatusCode::OK {
            let reply = collect::refusal(heard.response).await?;
            // Only 200 is ever found, and this is something else.
            let nothing = |_| Err(UpstreamError::Invalid("a page without content".into()));
            return Ok(classify(reply, &ask.uri)?.try_map(nothing)?);
        }
        let headers = heard.response.headers();
        let invalid = |error: link_header::NotUnderstood| UpstreamError::Invalid(error.to_string());
        let link = link_header::next(headers).map_err(invalid)?;
        let links_otherwise = link.is_none() && link_header::has_links(headers);
        let next = match link {
            Some(link) => Some(self.page_link(&heard.uri, &link)?),
            None => None,
        };
        let before = into.names.len();
        self.read_names(heard.response.body_mut(), extent, into).await?;
        Ok(Answer::Found(ReadTagPage {
            next,
            links_otherwise,
            count: into.names.len() - before,
        }))
    }

    async fn read_names(
        &self,
        body: &mut IdleBody,
        extent: Extent<'_>,
        into: &mut PageNames,
    ) -> Result<(), UpstreamError> {
        let mut chunks = Vec::new();
        let (mut size, mut tried) = (0, 0);
        let mut decided = extent.is_decided(&TagNamesBuilder::default());
        while size <= SMALL_PAGE {
            let Some(chunk) = self.next_chunk(body, into).await? else {
                return parse(chunks.into_iter(), &mut into.names);
            };
            size += chunk.len();
            chunks.push(chunk);
            if decided || size < 2 * tried {
                continue;
            }
            tried = size;
            let beginning = beginning(&chunks);
            if extent.is_reached(&beginning) {
                return append(&beginning, 0, &mut into.names);
            }
            decided = extent.is_decided(&beginning);
        }
        self.read_large(chunks, body, into).await
    }

    /// Parses on another thread while the body still arrives.
    async fn read_large(
        &self,
        begun: Vec<Bytes>,
        body: &mut IdleBody,
        into: &mut PageNames,
    ) -> Result<(), UpstreamError> {
        let (sender, mut receiver) = mpsc::channel(4);
        let mut names = std::mem::take(&mut into.names);
        let parsing = tokio::task::spawn_blocking(move || {
            let arriving = std::iter::from_fn(|| receiver.blocking_recv());
            let result = parse(begun.into_iter().chain(arriving), &mut names);
            (names, result)
        });
        let fed = self.feed(sender, body, into).await;
        let (names, parsed) = parsing
            .await
            .map_err(|error| UpstreamError::Invalid(error.to_string()))?;
        into.names = names;
        // A body that broke off parses badly too; why it did is what matters.
        fed.and(parsed)
    }

    /// Passes the body on until it ends, or until the parser has seen enough.
    async fn feed(
        &self,
        parser: mpsc::Sender<Bytes>,
        body: &mut IdleBody,
        into: &mut PageNames,
    ) -> Result<(), UpstreamError> {
        while let Some(chunk) = self.next_chunk(body, into).await? {
            if parser.send(chunk).await.is_err() {
                break;
            }
        }
        Ok(())
    }

    async fn next_chunk(&self, body: &mut IdleBody, into: &mut PageNames) -> Result<Option<Bytes>, UpstreamError> {
        let chunk = next_chunk(body).await?;
        into.bytes += chunk.as_ref().map_or(0, Bytes::len);
        self.check_bytes(into)?;
        Ok(chunk)
    }

    /// Fails where more was read than may be.
    pub(in crate::registry) fn check_bytes(&self, read: &PageNames) -> Result<(), UpstreamError> {
        match read.bytes > self.tag_list_bytes {
            true => Err(UpstreamError::Invalid(format!(
                "its tag listing is larger than {} bytes",
                self.tag_list_bytes
            ))),
            false => Ok(()),
        }
    }
}

/// The names that the beginning of a page holds.
fn beginning(chunks: &[Bytes]) -> TagNamesBuilder {
    let mut names = TagNamesBuilder::default();
    // It breaks off, so that parsing fails at its end.
    let _ = parse(chunks.iter().cloned(), &mut names);
    names
}

/// Adds the names of `page` but the first `known`.
pub(in crate::registry) fn append(
    page: &TagNamesBuilder,
    known: usize,
    names: &mut TagNamesBuilder,
) -> Result<(), UpstreamError> {
    for index in known..page.len() {
        let pushed = names.push(page.get(index));
        pushed.map_err(|error| UpstreamError::Invalid(error.to_string()))?;
    }
    Ok(())
}

fn parse(chunks: impl Iterator<Item = Bytes>, names: &mut TagNamesBuilder) -> Result<(), UpstreamError> {
    tag_page::parse_chunks(chunks, names)
        .map_err(|error| UpstreamError::Invalid(format!("a page of tags that cannot be read: {error}")))
}
