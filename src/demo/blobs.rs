//! Reading and deleting blobs.

use http::header::{ACCEPT_RANGES, CACHE_CONTROL, CONTENT_RANGE, CONTENT_TYPE, IF_NONE_MATCH, RANGE};
use http::{Response, StatusCode};

use super::error::RegistryError;
use super::registry::DemoRequest;
use super::response::DemoResponse;
use crate::http::body::Body;
use crate::oci::{Digest, RepositoryName};

/// GET and HEAD, with at most one range: servers may ignore a request for several.
pub fn get(asked: &DemoRequest<'_>, name: &RepositoryName, digest: &Digest) -> Result<Response<Body>, RegistryError> {
    let bytes = asked.registry.store().blob(name, digest).cloned();
    let bytes = bytes.ok_or_else(|| RegistryError::blob_unknown(digest))?;
    let reply = |status| {
        DemoResponse::new(status)
            .header(CACHE_CONTROL, "max-age=31536000")
            .digest(digest)
            .etag(digest)
    };
    if asked.header(IF_NONE_MATCH) == format!("\"{digest}\"") {
        return Ok(reply(StatusCode::NOT_MODIFIED).without_content());
    }
    let content = |status| {
        reply(status)
            .header(ACCEPT_RANGES, "bytes")
            .header(CONTENT_TYPE, "application/octet-stream")
    };
    let size = bytes.len();
    Ok(match wanted(asked.header(RANGE), size) {
        Wanted::All => content(StatusCode::OK).bytes(bytes),
        Wanted::Part(first, last) => content(StatusCode::PARTIAL_CONTENT)
            .header(CONTENT_RANGE, &format!("bytes {first}-{last}/{size}"))
            .bytes(bytes.slice(first..=last)),
        Wanted::Nothing => reply(StatusCode::RANGE_NOT_SATISFIABLE)
            .header(CONTENT_RANGE, &format!("bytes */{size}"))
            .empty(),
    })
}

pub fn delete(
    asked: &DemoRequest<'_>,
    name: &RepositoryName,
    digest: &Digest,
) -> Result<Response<Body>, RegistryError> {
    if !asked.registry.store().delete_blob(name, digest) {
        return Err(RegistryError::blob_unknown(digest));
    }
    Ok(DemoResponse::new(StatusCode::ACCEPTED).empty())
}

#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    All,
    /// First and last byte.
    Part(usize, usize),
    Nothing,
}

/// Parses a `Range` header (RFC 9110, section 14.2) for content of `size` bytes.
fn wanted(range: &str, size: usize) -> Wanted {
    let Some((first, last)) = range.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return Wanted::All;
    };
    let bounds = match (first.parse::<usize>(), last.parse::<usize>()) {
        (Ok(first), Ok(last)) if first <= last => (first, last.min(size.saturating_sub(1))),
        (Ok(first), Err(_)) if last.is_empty() => (first, size.saturating_sub(1)),
        (Err(_), Ok(0)) if first.is_empty() => return Wanted::Nothing,
        (Err(_), Ok(suffix)) if first.is_empty() => (size.saturating_sub(suffix), size.saturating_sub(1)),
        _ => return Wanted::All,
    };
    if bounds.0 < size {
        Wanted::Part(bounds.0, bounds.1)
    } else {
        Wanted::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_to_the_content() {
        assert_eq!(wanted("bytes=1-3", 10), Wanted::Part(1, 3));
        assert_eq!(wanted("bytes=8-99", 10), Wanted::Part(8, 9));
        assert_eq!(wanted("bytes=4-", 10), Wanted::Part(4, 9));
        assert_eq!(wanted("bytes=-3", 10), Wanted::Part(7, 9));
        assert_eq!(wanted("bytes=-99", 10), Wanted::Part(0, 9));
        for nothing in ["bytes=10-", "bytes=10-12", "bytes=-0"] {
            assert_eq!(wanted(nothing, 10), Wanted::Nothing, "{nothing}");
        }
        for ignored in ["", "bytes=3-1", "bytes=0-0,2-2", "lines=1-2", "bytes=x-y", "bytes=-"] {
            assert_eq!(wanted(ignored, 10), Wanted::All, "{ignored}");
        }
        assert_eq!(wanted("bytes=0-", 0), Wanted::Nothing);
    }
}
