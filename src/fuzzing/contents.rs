//! What the pages read from artifacts: bundles, payloads, statements, SBOMs, certificates.

use crate::oci::{Descriptor, Digest};
use crate::ui::{ContentFormat, ImageConfig, platform_names, read_claims};

/// Any content in any format, also as the certificate beside it.
pub(super) fn contents(bytes: &[u8]) {
    let digest = Digest::sha256(bytes);
    let mut part = Descriptor::new("application/octet-stream", digest, bytes.len() as u64);
    for key in ["dev.sigstore.cosign/certificate", "dev.sigstore.cosign/bundle"] {
        let text = String::from_utf8_lossy(bytes).into_owned();
        part.annotations.insert(key.to_owned(), text);
    }
    for format in ContentFormat::ALL {
        let Ok(claims) = read_claims(format, &part, bytes) else {
            continue;
        };
        assert!(claims.subjects.len() <= claims.all_subjects, "{claims:?}");
        if let Some(list) = &claims.packages {
            assert!(list.packages.len() <= list.total, "more packages than there are");
        }
    }
    ImageConfig::parse(bytes);
    platform_names(bytes);
}
