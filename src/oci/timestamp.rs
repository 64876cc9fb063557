//! Creation dates in annotations (RFC 3339).

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::descriptor::Annotations;

/// The annotations that may hold a creation date: Proposal A's two spellings, ORAS, images.
const CREATED: [&str; 4] = [
    "org.opencontainers.artifact.created",
    "org.oci.artifact.created",
    "io.cncf.oras.artifact.created",
    "org.opencontainers.image.created",
];

/// The date in the first valid creation annotation, in nanoseconds since 1970.
pub fn created(annotations: &Annotations) -> Option<i128> {
    CREATED.iter().find_map(|key| parse(annotations.get(*key)?))
}

/// A date in RFC 3339, in nanoseconds since 1970.
pub fn parse(text: &str) -> Option<i128> {
    let date = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    Some(date.unix_timestamp_nanos())
}

/// Formats `nanoseconds` since 1970 as RFC 3339. `None` outside the years 0 to 9999.
pub fn to_rfc3339(nanoseconds: i128) -> Option<String> {
    OffsetDateTime::from_unix_timestamp_nanos(nanoseconds)
        .ok()?
        .format(&Rfc3339)
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(key: &str, text: &str) -> Option<i128> {
        created(&[(key.to_owned(), text.to_owned())].into())
    }

    #[test]
    fn reads_every_spelling_of_the_key_and_of_the_date() {
        for key in CREATED {
            assert_eq!(at(key, "1970-01-01T00:00:01Z"), Some(1_000_000_000), "{key}");
        }
        let key = CREATED[0];
        for same in [
            "1970-01-01T00:00:00.5Z",
            "1970-01-01t00:00:00.500z",
            "1970-01-01T02:00:00.5+02:00",
            "1970-01-01T00:00:00.500000000-00:00",
        ] {
            assert_eq!(at(key, same), Some(500_000_000), "{same}");
        }
        for none in [
            "",
            "<createdDate>",
            "1970-01-01",
            "1970-13-01T00:00:00Z",
            "1970-01-01T00:00:00",
        ] {
            assert_eq!(at(key, none), None, "{none}");
        }
        assert!(at(key, "2016-12-31T23:59:60Z").is_some(), "a leap second is a second");
    }

    #[test]
    fn an_unreadable_date_does_not_hide_a_readable_one() {
        let both = [(CREATED[0], "soon"), (CREATED[3], "1970-01-01T00:00:00Z")];
        let annotations = both.map(|(key, text)| (key.to_owned(), text.to_owned())).into();
        assert_eq!(created(&annotations), Some(0));
    }
}
