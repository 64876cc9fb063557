//! Formats foreign text, digests and sizes for the pages.

use maud::{Markup, html};

use crate::oci::{Digest, Tag, timestamp};

/// Number of characters of a foreign text that are shown.
const MAX_SHOWN: usize = 300;
/// Number of digits of a digest that are shown.
const SHORT: usize = 12;

/// Foreign text, cut if it is long, and isolated so that its writing direction does not affect the text after it.
pub(super) fn foreign(text: &str) -> Markup {
    let mut characters = text.chars();
    let shown: String = characters.by_ref().take(MAX_SHOWN).map(visible).collect();
    let cut = characters.next().is_some();
    html! { bdi { (shown) @if cut { "…" } } }
}

fn visible(c: char) -> char {
    if c.is_control() && !matches!(c, '\n' | '\t') {
        '\u{fffd}'
    } else {
        c
    }
}

/// The algorithm and the first digits.
pub(super) fn short(digest: &Digest) -> String {
    let digits: String = digest.encoded().chars().take(SHORT).collect();
    format!("{}:{digits}", digest.algorithm())
}

/// The same, which may break before the digits.
pub(super) fn short_name(digest: &Digest) -> Markup {
    let digits: String = digest.encoded().chars().take(SHORT).collect();
    html! { (digest.algorithm()) ":" wbr; (digits) }
}

/// A tag, which may break after a separator that browsers do not break after, and nowhere within a word.
pub(super) fn tag_name(tag: &Tag) -> Markup {
    let pieces = tag.as_str().split_inclusive('_');
    html! { @for (place, piece) in pieces.enumerate() { @if place > 0 { wbr; } (piece) } }
}

/// `2 tags`
pub(super) fn counted(number: usize, one: &str, several: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { several })
}

/// A date to the second, in UTC.
pub(super) fn date(created: i128) -> Markup {
    let text = timestamp::to_rfc3339(created).unwrap_or_default();
    let shown = match (text.get(..10), text.get(11..19)) {
        (Some(day), Some(time)) => format!("{day} {time} UTC"),
        _ => text.clone(),
    };
    html! { time datetime=(text) { (shown) } }
}

/// The same of seconds since 1970.
pub(super) fn date_of_seconds(seconds: i64) -> Markup {
    date(i128::from(seconds) * 1_000_000_000)
}

/// `532 B`, `1.5 KiB`, `20.0 MiB`
pub fn size(bytes: u64) -> String {
    let mut amount = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if amount < 1024.0 {
            let digits = usize::from(unit != "B");
            return format!("{amount:.digits$} {unit}");
        }
        amount /= 1024.0;
    }
    format!("{amount:.1} TiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_is_text() {
        assert_eq!(
            foreign("<script>alert(1)</script>\"\u{1b}").into_string(),
            "<bdi>&lt;script&gt;alert(1)&lt;/script&gt;&quot;\u{fffd}</bdi>"
        );
        let long = foreign(&"é".repeat(MAX_SHOWN + 1)).into_string();
        assert!(long.ends_with("é…</bdi>"));
    }

    #[test]
    fn sizes() {
        let texts = [0, 1023, 1536, 20 << 20, 1 << 42].map(size);
        assert_eq!(texts, ["0 B", "1023 B", "1.5 KiB", "20.0 MiB", "4.0 TiB"]);
    }
}
