//! Where in its file a key stands, for messages. The merged configuration does not know it any more.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The line, from 1, of the deepest part of `key` (such as `upstream[0].url`) that `text` has. `None` where it has no part of it.
pub(super) fn line_of(text: &str, key: &str) -> Option<usize> {
    let document = DeTable::parse(text).ok()?;
    let mut table = document.get_ref();
    let mut found = None;
    'parts: for part in key.split('.') {
        let (name, indices) = part.split_once('[').unwrap_or((part, ""));
        let Some((key, value)) = table.iter().find(|(key, _)| key.get_ref() == name) else {
            break;
        };
        found = Some(key.span().start);
        let mut value: &Spanned<DeValue<'_>> = value;
        for index in indices
            .split('[')
            .filter_map(|index| index.trim_end_matches(']').parse::<usize>().ok())
        {
            let DeValue::Array(items) = value.get_ref() else {
                break 'parts;
            };
            let Some(item) = items.get(index) else {
                break 'parts;
            };
            found = Some(item.span().start);
            value = item;
        }
        match value.get_ref() {
            DeValue::Table(inner) => table = inner,
            _ => break,
        }
    }
    let before = text.get(..found?)?;
    Some(before.matches('\n').count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
[server]
listen = '127.0.0.1:1'
tls.min_version = '1.2'

[[upstream]]
url = 'https://a'
[[upstream]]
name = 'b'
url = 'https://b'
[upstream.credentials]
kind = 'static'
";

    #[test]
    fn keys_are_found_by_the_names_that_messages_give_them() {
        for (key, line) in [
            ("server.listen", Some(2)),
            ("server.tls.min_version", Some(3)),
            ("upstream[0].url", Some(6)),
            ("upstream[1].url", Some(9)),
            ("upstream[1].credentials.kind", Some(11)),
            ("upstream[1].credentials.username", Some(10)),
            ("cache.fresh_for", None),
        ] {
            assert_eq!(line_of(TEXT, key), line, "{key}");
        }
        assert_eq!(
            line_of(TEXT, "upstream[0].name"),
            Some(5),
            "what is missing, by the table that lacks it"
        );
        assert_eq!(line_of("not TOML", "server"), None);
    }
}
