//! Content codings (RFC 9110, 12.5.3): whether a caller asks for gzip, and making it.

use std::io::Write as _;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::HeaderMap;
use http::header::ACCEPT_ENCODING;

/// Bytes from which a body is worth compressing.
pub(super) const COMPRESSED_FROM: usize = 16 << 10;

/// Whether a caller with these headers asks for gzip, and not rather for a body as it is. Without `Accept-Encoding` anything would be
/// allowed, but nothing is asked for.
pub(super) fn wants_gzip(headers: &HeaderMap) -> bool {
    let (mut gzip, mut identity, mut any) = (None, None, None);
    let lines = headers.get_all(ACCEPT_ENCODING).iter();
    for item in lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
    {
        let (coding, parameters) = item.split_once(';').unwrap_or((item, "q=1"));
        let weight = Some(weight(parameters));
        match &*coding.trim().to_ascii_lowercase() {
            "gzip" | "x-gzip" => gzip = weight,
            "identity" => identity = weight,
            "*" => any = weight,
            _ => {}
        }
    }
    let gzip = gzip.or(any).unwrap_or_default();
    gzip > 0.0 && identity.is_none_or(|identity| gzip >= identity)
}

/// The weight in `q=0.5`; what is none counts as a refusal.
fn weight(parameters: &str) -> f32 {
    let value = parameters.trim().strip_prefix(['q', 'Q']);
    let value = value.and_then(|value| value.trim_start().strip_prefix('='));
    let weight = value.and_then(|value| value.trim().parse().ok());
    weight.filter(|weight| (0.0..=1.0).contains(weight)).unwrap_or_default()
}

/// `bytes` as gzip, the same for the same bytes. `None` where that fails, which only a runtime that ends does.
pub(super) async fn gzip(bytes: Bytes) -> Option<Bytes> {
    // Megabytes take tens of milliseconds, for which other requests need not wait.
    let made = tokio::task::spawn_blocking(move || {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&bytes)?;
        encoder.finish()
    });
    made.await.ok()?.ok().map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn asks(lines: &[&'static str]) -> bool {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(ACCEPT_ENCODING, HeaderValue::from_static(line));
        }
        wants_gzip(&headers)
    }

    #[test]
    fn gzip_is_for_those_who_ask_for_it() {
        for lines in [
            &["gzip"][..],
            &["br", "deflate, GZip"],
            &["x-gzip;q=0.001"],
            &["gzip; q=0.5 , identity;q=0.5"],
            &["gzip , *;q=0"],
            &["*"],
            &["identity;q=0, *;Q = 0.1"],
        ] {
            assert!(asks(lines), "{lines:?}");
        }
        for lines in [
            &[][..],
            &[""],
            &["identity"],
            &["br"],
            &["gzip;q=0"],
            &["gzip;q=0.000, *"],
            &["gzip;q=0.4, identity;q=0.5"],
            &["gzip, identity", "gzip;q=0.9"],
            &["*;q=0"],
            &["gzip;q=x"],
            &["gzip;q=2"],
            &["gzip;q=NaN"],
            &["gzip;level=9"],
        ] {
            assert!(!asks(lines), "{lines:?}");
        }
    }
}
