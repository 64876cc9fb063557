//! The two formats of `/metrics`: OpenMetrics, and the older text format of Prometheus for whoever prefers it or says nothing.

use http::HeaderMap;
use http::header::ACCEPT;

/// A format of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exposition {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus' text format 0.0.4.
    Text,
}

impl Exposition {
    /// What a request prefers, by its `Accept` (RFC 9110, 12.5.1).
    pub(super) fn of(request: &HeaderMap) -> Self {
        let accepted = request.get_all(ACCEPT).iter().filter_map(|line| line.to_str().ok());
        let ranges: Vec<MediaRange> = accepted
            .flat_map(|line| line.split(','))
            .map(MediaRange::parse)
            .collect();
        let open_metrics = best(&ranges, "application/openmetrics-text", "1.0.0");
        let text = best(&ranges, "text/plain", "0.0.4");
        // Of two that are as good, the one that was named.
        match (open_metrics.quality, open_metrics.is_named) > (text.quality, text.is_named) {
            true => Self::OpenMetrics,
            false => Self::Text,
        }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// `open_metrics` in this format.
    pub(super) fn print(self, open_metrics: String) -> String {
        match self {
            Self::OpenMetrics => open_metrics,
            Self::Text => as_text(&open_metrics),
        }
    }
}

/// One media range of an `Accept`.
#[derive(Debug)]
struct MediaRange<'a> {
    media_type: &'a str,
    version: Option<&'a str>,
    /// In thousandths.
    quality: u16,
}

impl<'a> MediaRange<'a> {
    fn parse(text: &'a str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let mut range = Self {
            media_type: parts.next().unwrap_or_default(),
            version: None,
            quality: 1000,
        };
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            match name.trim().to_ascii_lowercase().as_str() {
                "q" => range.quality = thousandths(value.trim()),
                "version" => range.version = Some(value.trim().trim_matches('"')),
                // "charset" and "escaping": both formats are UTF-8, and no name needs escaping.
                _ => {}
            }
        }
        range
    }
}

/// What cannot be read is not wanted.
fn thousandths(quality: &str) -> u16 {
    match quality.parse::<f32>() {
        Ok(quality) if (0.0..=1.0).contains(&quality) => (quality * 1000.0).round() as u16,
        Ok(_) | Err(_) => 0,
    }
}

struct Acceptance {
    /// In thousandths.
    quality: u16,
    /// By itself, not by a wildcard.
    is_named: bool,
}

/// How much a media type is wanted: the most specific range that it is in says so.
fn best(ranges: &[MediaRange<'_>], media_type: &str, version: &str) -> Acceptance {
    let is = |range: &&MediaRange<'_>, name: &str| range.media_type.eq_ignore_ascii_case(name);
    let has_version = |range: &&MediaRange<'_>| range.version.is_none_or(|wanted| wanted == version);
    let named = ranges
        .iter()
        .filter(|range| is(range, media_type) && has_version(range));
    if let Some(quality) = named.map(|range| range.quality).max() {
        let is_named = quality > 0;
        return Acceptance { quality, is_named };
    }
    let kind = media_type.split('/').next().unwrap_or_default();
    let of_kind = ranges.iter().find(|range| is(range, &format!("{kind}/*")));
    let any = || ranges.iter().find(|range| is(range, "*/*"));
    let quality = of_kind.or_else(any).map_or(0, |range| range.quality);
    Acceptance {
        quality,
        is_named: false,
    }
}

/// OpenMetrics in the older format: names stand as their series are called, units and the end are not marked, and `info` is not known.
fn as_text(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    let mut help = "";
    for line in open_metrics.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("HELP"), Some(_), told) => help = told.unwrap_or_default(),
            (Some("#"), Some("TYPE"), Some(name), Some(kind)) => {
                let (suffix, kind) = match kind {
                    "counter" => ("_total", kind),
                    "info" => ("_info", "gauge"),
                    _ => ("", kind),
                };
                text.push_str(&format!("# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}\n"));
            }
            // Units, and the end.
            (Some("#"), ..) => {}
            _ => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(accept: &[&str]) -> Exposition {
        let mut headers = HeaderMap::new();
        for line in accept {
            headers.append(ACCEPT, line.parse().unwrap());
        }
        Exposition::of(&headers)
    }

    #[test]
    fn the_format_is_the_scrapers_choice() {
        for accept in [
            // Prometheus 2.4 and 3.
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            "application/openmetrics-text",
            "application/openmetrics-text, */*",
            "text/plain;q=0.2, application/*;q=0.3",
            "Application/OpenMetrics-Text; Version=\"1.0.0\"; Q=0.9, text/plain; q=0.8",
        ] {
            assert_eq!(chosen(&[accept]), Exposition::OpenMetrics, "{accept}");
        }
        for accept in [
            "*/*",
            "text/plain",
            "text/plain;version=0.0.4",
            "text/plain, application/openmetrics-text",
            "application/openmetrics-text;q=0, */*",
            "application/openmetrics-text;version=2.0.0, text/plain;q=0.1",
            "application/openmetrics-text;q=nonsense, text/plain;q=0.1",
            "text/html",
            "",
        ] {
            assert_eq!(chosen(&[accept]), Exposition::Text, "{accept}");
        }
        assert_eq!(chosen(&[]), Exposition::Text);
        let lines = ["text/plain;q=0.5", "application/openmetrics-text"];
        assert_eq!(chosen(&lines), Exposition::OpenMetrics);
    }

    #[test]
    fn the_older_format_has_the_same_series() {
        let open_metrics = "\
# HELP a_build What is running.
# TYPE a_build info
a_build_info{version=\"1\"} 1
# HELP a_bytes Bytes.
# TYPE a_bytes counter
# UNIT a_bytes bytes
a_bytes_total{x=\"y z\"} 7
# HELP a_open Open.
# TYPE a_open gauge
a_open 1
# EOF
";
        let text = "\
# HELP a_build_info What is running.
# TYPE a_build_info gauge
a_build_info{version=\"1\"} 1
# HELP a_bytes_total Bytes.
# TYPE a_bytes_total counter
a_bytes_total{x=\"y z\"} 7
# HELP a_open Open.
# TYPE a_open gauge
a_open 1
";
        assert_eq!(Exposition::Text.print(open_metrics.to_owned()), text);
    }
}
