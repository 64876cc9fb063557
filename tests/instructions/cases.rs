//! What is counted: each case warms up, then runs so many times between two checkpoints.

use std::hint::black_box;

use refshim::testing::oci::{Descriptor, Digest, Manifest, Referrer, ReferrerList, media_type, tag_scheme};
use refshim::testing::proxy::route;
use refshim::testing::render::oci11;
use serde_json::json;

/// callgrind dumps its counts, and begins anew, whenever this is called.
#[inline(never)]
pub fn checkpoint() {
    black_box(());
}

pub fn begin(name: &str, times: u32) {
    // Below the test harness' own words on the same line.
    println!("\ncase: {name} x {times}");
    checkpoint();
}

fn measure<T>(name: &str, times: u32, mut work: impl FnMut() -> T) {
    black_box(work());
    begin(name, times);
    for _ in 0..times {
        black_box(work());
    }
    checkpoint();
}

pub fn run() {
    let (subject, other) = (Digest::sha256(b"subject"), Digest::sha256(b"other"));
    let key = format!("sha256-{}", subject.encoded());
    let tags = [
        tag_scheme::proposal_d_tag(&subject, &other, "sbom")
            .expect("a tag")
            .to_string(),
        format!("{key}.sig"),
        format!("{key}.0123456789abcdef.in-toto.v1"),
        key,
        "latest".to_owned(),
        "v1.23.4".to_owned(),
    ];
    measure("read six tags", 100, || {
        tags.iter()
            .filter(|tag| tag_scheme::parse(black_box(tag)).is_some())
            .count()
    });

    let manifest = signature(&subject);
    let own = Digest::sha256(&manifest);
    measure("read a signature's manifest", 50, || {
        let read = Manifest::parse(black_box(&manifest), media_type::OCI_IMAGE_MANIFEST).expect("a manifest");
        (read.links(&own), read.descriptor(own.clone(), manifest.len() as u64))
    });

    let links = links(&subject, 10);
    measure("print ten referrers", 20, || oci11::print_whole(black_box(&links)));

    let target = format!("/v2/library/app/referrers/{subject}")
        .parse()
        .expect("a target");
    measure("read a request's target", 100, || {
        route(&http::Method::GET, black_box(&target))
    });
}

fn signature(subject: &Digest) -> Vec<u8> {
    const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
    json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_IMAGE_MANIFEST, "artifactType": BUNDLE,
        "config": {"mediaType": media_type::OCI_EMPTY, "digest": Digest::sha256(b"{}"), "size": 2},
        "layers": [{"mediaType": BUNDLE, "digest": Digest::sha256(b"bundle"), "size": 5000}],
        "subject": {"mediaType": media_type::OCI_IMAGE_MANIFEST, "digest": subject, "size": 700},
        "annotations": {"org.opencontainers.image.created": "2025-01-01T00:00:00Z",
            "dev.sigstore.bundle.content": "dsse-envelope"},
    })
    .to_string()
    .into_bytes()
}

fn links(subject: &Digest, count: u64) -> ReferrerList {
    let referrer = |n: u64| Referrer {
        descriptor: Descriptor {
            artifact_type: Some("application/spdx+json".to_owned()),
            ..Descriptor::new(media_type::OCI_IMAGE_MANIFEST, Digest::sha256(&n.to_be_bytes()), 1234)
        },
        created: Some(n.into()),
        sources: Default::default(),
        objects: None,
        adopted: None,
    };
    ReferrerList::new(subject.clone(), (0..count).map(referrer).collect())
}
