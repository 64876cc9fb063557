//! Reading one page of `tags/list` while it arrives: names go straight from the JSON text into the listing.

use std::fmt;
use std::io::{self, BufReader, Read};

use bytes::{Buf as _, Bytes};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::oci::error_body;
use crate::registry::tag_names::TagNamesBuilder;

/// Appends the names of the page that `reader` holds. What follows the JSON object is an error, and so is a page without
/// `tags`; `"tags": null` is an empty page (Distribution prints it). After an error `names` may hold a part of the page.
pub(crate) fn parse(reader: impl Read, names: &mut TagNamesBuilder) -> Result<(), serde_json::Error> {
    let mut json = serde_json::Deserializer::from_reader(reader);
    TagPageSeed(names).deserialize(&mut json)?;
    json.end()
}

/// The same for a page that arrives in pieces.
pub(super) fn parse_chunks(
    chunks: impl Iterator<Item = Bytes>,
    names: &mut TagNamesBuilder,
) -> Result<(), serde_json::Error> {
    let reader = ChunkReader {
        chunks,
        current: Bytes::new(),
    };
    parse(BufReader::new(reader), names)
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

struct TagPageSeed<'a>(&'a mut TagNamesBuilder);

impl<'de> DeserializeSeed<'de> for TagPageSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for TagPageSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a page of tags")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut found = false;
        while let Some(member) = map.next_key_seed(WhichMember)? {
            match member {
                Member::Tags if std::mem::replace(&mut found, true) => return Err(A::Error::duplicate_field("tags")),
                Member::Tags => map.next_value_seed(TagArraySeed(self.0))?,
                Member::Errors => {
                    if !error_body::tells_nothing(&map.next_value()?) {
                        return Err(A::Error::custom("it tells of errors"));
                    }
                }
                Member::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        if found {
            Ok(())
        } else {
            Err(A::Error::missing_field("tags"))
        }
    }
}

enum Member {
    Tags,
    /// An error that came with 200: whatever tags there are beside it, they are not all.
    Errors,
    Other,
}

struct WhichMember;

impl<'de> DeserializeSeed<'de> for WhichMember {
    type Value = Member;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Member, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for WhichMember {
    type Value = Member;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Member, E> {
        Ok(match key {
            "tags" => Member::Tags,
            key if error_body::MEMBERS.contains(&key) => Member::Errors,
            _ => Member::Other,
        })
    }
}

struct TagArraySeed<'a>(&'a mut TagNamesBuilder);

impl<'de> DeserializeSeed<'de> for TagArraySeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for TagArraySeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of tags, or null")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut names: A) -> Result<(), A::Error> {
        while names.next_element_seed(TagNameSeed(&mut *self.0))?.is_some() {}
        Ok(())
    }
}

struct TagNameSeed<'a>(&'a mut TagNamesBuilder);

impl<'de> DeserializeSeed<'de> for TagNameSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for TagNameSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a tag")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<(), E> {
        self.0.push(name).map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(page: &str) -> Option<Vec<String>> {
        let mut names = TagNamesBuilder::default();
        parse(page.as_bytes(), &mut names).ok()?;
        Some((0..names.len()).map(|index| names.get(index).to_owned()).collect())
    }

    #[test]
    fn reads_names_in_their_order_and_ignores_the_rest() {
        let page = r#" {"name":"a","x":{"tags":["no"]},"tags":["b","a","\u0063"],"manifest":[1]} "#;
        assert_eq!(names(page).unwrap(), ["b", "a", "c"]);
        assert_eq!(names(r#"{"tags":null}"#).unwrap(), [""; 0]);
        assert_eq!(names(r#"{"tags":[]}"#).unwrap(), [""; 0]);
        for nothing in ["null", "[]", "{}", "\"\"", "false"] {
            let page = |key| format!(r#"{{"{key}":{nothing},"tags":["a"]}}"#);
            assert_eq!(names(&page("errors")).unwrap(), ["a"], "{nothing}");
            assert_eq!(names(&page("error")).unwrap(), ["a"], "{nothing}");
        }
    }

    #[test]
    fn other_shapes_are_errors() {
        for page in [
            "",
            "null",
            "[]",
            "{}",
            r#"{"name":"a"}"#,
            r#"{"tags":{}}"#,
            r#"{"tags":"a"}"#,
            r#"{"tags":[1]}"#,
            r#"{"tags":["a"]"#,
            r#"{"tags":["a"]}x"#,
            r#"{"tags":["a"],"tags":["b"]}"#,
            r#"{"errors":[{"code":"UNKNOWN"}]}"#,
            r#"{"errors":[{"code":"UNAVAILABLE"}],"tags":[]}"#,
            r#"{"error":"the database is away","tags":[]}"#,
            r#"{"tags":[],"error":{"code":500}}"#,
            "<html>",
        ] {
            assert_eq!(names(page), None, "{page}");
        }
        assert_eq!(names(&format!(r#"{{"x":{}"tags":[]}}"#, "[".repeat(100_000))), None);
    }
}
