//! Where the body of a response ends, as its head says: in one way only (RFC 9112, section 6.3).
//!
//! hyper reads a body by what counts most of what the head says. Whoever is handed the rest of it would go by another word.

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

/// Characters of a header that are shown.
const SHOWN: usize = 60;

/// What the head of a response says, and cannot be gone by.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FramingError {
    #[error("it comes in the transfer coding `{0}`, and not in `chunked` alone")]
    Coding(String),
    #[error("it states its length as `{0}`")]
    Length(String),
    #[error("it switches to another protocol (HTTP 101), for which nobody asked")]
    Protocol,
}

/// Leaves one word on where the body ends. A body in a coding that is not undone would be taken for content.
pub(super) fn settle(status: StatusCode, headers: &mut HeaderMap) -> Result<(), FramingError> {
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(FramingError::Protocol);
    }
    if headers.contains_key(TRANSFER_ENCODING) {
        if !is_chunked(headers) {
            return Err(FramingError::Coding(shown(headers, &TRANSFER_ENCODING)));
        }
        headers.remove(CONTENT_LENGTH);
    }
    if headers.contains_key(CONTENT_LENGTH) && !is_one_length(headers) {
        let length = stated_length(headers).ok_or_else(|| FramingError::Length(shown(headers, &CONTENT_LENGTH)))?;
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    Ok(())
}

fn is_chunked(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let is_first = codings
        .next()
        .is_some_and(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
    is_first && codings.next().is_none()
}

/// Whether there is nothing to settle, as in nearly all responses.
fn is_one_length(headers: &HeaderMap) -> bool {
    let mut lines = headers.get_all(CONTENT_LENGTH).iter();
    let only = lines.next().and_then(|line| parsed_length(line.as_bytes()));
    only.is_some() && lines.next().is_none()
}

/// The one length that all lines state, each of which may be a list.
fn stated_length(headers: &HeaderMap) -> Option<u64> {
    let lines = headers.get_all(CONTENT_LENGTH).iter();
    let mut lengths = lines
        .flat_map(|line| line.as_bytes().split(|&byte| byte == b','))
        .map(parsed_length);
    let first = lengths.next()??;
    lengths.all(|other| other == Some(first)).then_some(first)
}

fn parsed_length(text: &[u8]) -> Option<u64> {
    let text = text.trim_ascii();
    let is_number = text.iter().all(u8::is_ascii_digit);
    let text = str::from_utf8(text).ok().filter(|_| is_number)?;
    text.parse().ok()
}

/// The beginning of what a header says on all its lines.
fn shown(headers: &HeaderMap, name: &HeaderName) -> String {
    let lines: Vec<_> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    String::from_utf8_lossy(&lines.join(&b", "[..]))
        .chars()
        .take(SHOWN)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The length that is left, for lines of the form `name: value`.
    fn settled(lines: &[&str]) -> Result<Option<String>, String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            let (name, value) = line.split_once(": ").unwrap();
            headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        settle(StatusCode::OK, &mut headers).map_err(|error| error.to_string())?;
        let left: Vec<_> = headers
            .get_all(CONTENT_LENGTH)
            .iter()
            .map(|length| length.to_str().unwrap())
            .collect();
        assert!(left.len() <= 1);
        Ok(left.first().map(|length| (*length).to_owned()))
    }

    #[test]
    fn a_length_is_left_where_it_counts_and_once() {
        let ten = Ok(Some("10".to_owned()));
        assert_eq!(settled(&["content-length: 10"]), ten);
        assert_eq!(settled(&["content-length: 10", "content-length: 10"]), ten);
        assert_eq!(settled(&["content-length: 10, 10"]), ten);
        assert_eq!(settled(&[]), Ok(None));
        assert_eq!(settled(&["transfer-encoding: Chunked"]), Ok(None));
        assert_eq!(settled(&["content-length: 4", "transfer-encoding: chunked"]), Ok(None));
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        for length in ["", "ten", "+10", "-10", "4, 10", "10,", "99999999999999999999"] {
            let error = settled(&[&format!("content-length: {length}")]).unwrap_err();
            assert!(error.contains(&format!("`{length}`")), "{error}");
        }
        settled(&["content-length: 4", "content-length: 10"]).unwrap_err();
        for coding in ["gzip", "gzip, chunked", "chunked, gzip", "xchunked", "identity", ""] {
            let error = settled(&[&format!("transfer-encoding: {coding}")]).unwrap_err();
            assert!(error.contains(&format!("`{coding}`")), "{error}");
        }
        settled(&["transfer-encoding: chunked", "transfer-encoding: chunked"]).unwrap_err();
        settle(StatusCode::SWITCHING_PROTOCOLS, &mut HeaderMap::new()).unwrap_err();
    }
}
