//! Formats foreign text, digests and sizes for the pages.

use maud::{Markup, html};

use crate::oci::Digest;

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
