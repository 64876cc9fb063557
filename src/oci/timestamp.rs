//! Creation dates in annotations (RFC 3339).

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::descriptor::Annotations;

/// Where a creation date may stand: Proposal A's two spellings, ORAS, images.
const CREATED: [&str; 4] = [
    "org.opencontainers.artifact.created",
    "org.oci.artifact.created",
    "io.cncf.oras.artifact.created",
    "org.opencontainers.image.created",
];

/// Nanoseconds since 1970 of the first readable creation annotation.
pub fn created(annotations: &Annotations) -> Option<i128> {
    CREATED.iter().find_map(|key| {
        OffsetDateTime::parse(annotations.get(*key)?, &Rfc3339)
            .ok()
            .map(OffsetDateTime::unix_timestamp_nanos)
    })
}

/// RFC 3339 text of `nanoseconds` since 1970. `None` outside the years 0 to 9999.
pub fn to_rfc3339(nanoseconds: i128) -> Option<String> {
    OffsetDateTime::from_unix_timestamp_nanos(nanoseconds)
        .ok()?
        .format(&Rfc3339)
        .ok()
}
