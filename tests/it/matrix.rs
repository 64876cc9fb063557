//! Promise: however a link was written down, it is read in every dialect. All on the real 2.8.2, which knows none of them.

use crate::support::content::{
    ATTESTATION, BUILDKIT, IMAGE, INDEX, SIGNATURE, artifact, bare_image, empty_descriptor, index,
};
use crate::support::{CountingProxy, Endpoint, Fault, Pushed, Refshim, Registry};
use refshim::testing::oci::media_type::{OCI_ARTIFACT_MANIFEST, OCI_NODE, ORAS_ARTIFACT_MANIFEST};
use serde_json::{Value, json};

const TYPE: &str = "application/vnd.acme.sbom.v1+json";

/// Every way in which links are written down (one name per row of the protocol's table, two where a row has two places).
const ROWS: [&str; 16] = [
    "proposal-d-tag",
    "proposal-d-tag-on-an-index",
    "proposal-d-annotation",
    "proposal-d-manifest-annotation",
    "proposal-f-annotation",
    "cosign-tag",
    "cosign-tag-on-an-index",
    "referrers-tag",
    "subject",
    "refers",
    "proposal-a",
    "oras",
    "proposal-b",
    "proposal-b-on-a-layer",
    "proposal-c",
    "buildkit",
];

/// Where a row is written: a repository of its own, with an image in it.
struct Place<'a> {
    row: &'static str,
    /// Straight to the registry.
    straight: &'a Endpoint,
    /// For what it refuses.
    through: &'a Endpoint,
    image: &'a Pushed,
}

impl Place<'_> {
    async fn put(&self, tag: &str, media_type: &str, manifest: &Value) -> Pushed {
        self.straight.put_manifest(self.row, tag, media_type, manifest).await
    }

    /// A manifest that names no subject.
    async fn plain(&self) -> Pushed {
        self.put("", IMAGE, &bare_image(self.row)).await
    }

    /// What the registry refuses.
    async fn sealed(&self, media_type: &str, manifest: &Value) -> Pushed {
        self.through.put_manifest(self.row, "", media_type, manifest).await
    }

    /// A manifest in an index under an ordinary tag, with these annotations.
    async fn annotated(&self, annotations: Value) -> Pushed {
        let listed = self.plain().await;
        let holder = index([self.image.descriptor(), listed.annotated(annotations)]);
        self.put("multi", INDEX, &holder).await;
        listed
    }

    /// Writes the row's link; the referrer.
    async fn write(&self) -> Pushed {
        let (image, subject) = (self.image, self.image.descriptor());
        let with = |member: &str| {
            let mut manifest = bare_image(self.row);
            manifest[member] = subject.clone();
            manifest
        };
        let artifact_manifest = |media_type: &str| json!({"mediaType": media_type, "artifactType": TYPE, "blobs": [empty_descriptor()], "subject": subject});
        match self.row {
            "proposal-d-tag" => {
                let pushed = self.plain().await;
                self.straight
                    .put_tag(self.row, &pushed.proposal_d_tag(image, "x"), &pushed)
                    .await;
                pushed
            }
            "proposal-d-tag-on-an-index" => {
                let pushed = self.plain().await;
                let entry = pushed.annotated(json!({"org.opencontainers.reference": image.digest}));
                let holder = Pushed::of(INDEX, &index([entry]));
                self.straight
                    .put_tag(self.row, &holder.proposal_d_tag(image, "x"), &holder)
                    .await;
                pushed
            }
            "proposal-d-annotation" => {
                self.annotated(json!({"org.opencontainers.reference": image.digest}))
                    .await
            }
            "proposal-d-manifest-annotation" => {
                let mut manifest = bare_image(self.row);
                manifest["annotations"]["org.opencontainers.reference"] = image.digest.as_str().into();
                self.put("sbom", IMAGE, &manifest).await
            }
            "proposal-f-annotation" => {
                self.annotated(json!({"org.opencontainers.reference.digest": image.digest}))
                    .await
            }
            "cosign-tag" => {
                let tag = format!("sha256-{}.sig", image.hex());
                self.put(&tag, IMAGE, &bare_image(self.row)).await
            }
            "cosign-tag-on-an-index" => {
                let pushed = self.plain().await;
                let tag = format!("sha256-{}.att", image.hex());
                self.put(&tag, INDEX, &index([pushed.descriptor()])).await;
                pushed
            }
            "referrers-tag" => {
                let pushed = self.put("", IMAGE, &artifact(image, TYPE, self.row)).await;
                self.put(&image.referrers_tag(), INDEX, &index([pushed.descriptor()]))
                    .await;
                pushed
            }
            "subject" => self.put("sbom", IMAGE, &with("subject")).await,
            "refers" => self.put("sbom", IMAGE, &with("refers")).await,
            "proposal-a" => {
                self.sealed(OCI_ARTIFACT_MANIFEST, &artifact_manifest(OCI_ARTIFACT_MANIFEST))
                    .await
            }
            "oras" => {
                self.sealed(ORAS_ARTIFACT_MANIFEST, &artifact_manifest(ORAS_ARTIFACT_MANIFEST))
                    .await
            }
            "proposal-b" => self.put("sbom", IMAGE, &with("reference")).await,
            "proposal-b-on-a-layer" => {
                let blob = Pushed::of("application/vnd.acme.signature", &json!({"signed": "yes"}));
                self.straight.push_blob(self.row, blob.bytes.clone()).await;
                let mut layer = blob.descriptor();
                layer["reference"] = subject;
                let mut manifest = bare_image(self.row);
                manifest["layers"] = json!([layer]);
                self.put("signatures", IMAGE, &manifest).await;
                blob
            }
            "proposal-c" => {
                let node = json!({
                    "schemaVersion": 3, "mediaType": OCI_NODE, "description": "an sbom", "objects": [empty_descriptor()],
                    "reference": subject,
                });
                self.sealed(OCI_NODE, &node).await
            }
            "buildkit" => {
                let annotations = json!({
                    "vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": image.digest,
                });
                self.annotated(annotations).await
            }
            other => panic!("nobody knows how to write {other}"),
        }
    }
}

/// How one dialect is asked, and where its answer has the list.
struct Reader {
    name: &'static str,
    path: fn(&str, &Pushed) -> String,
    list: &'static str,
}

const READERS: [Reader; 8] = [
    Reader {
        name: "OCI 1.1",
        path: |name, image| format!("/v2/{name}/referrers/{}", image.digest),
        list: "manifests",
    },
    Reader {
        name: "Proposal A",
        path: |name, image| format!("/v2/{name}/_oci/artifacts/referrers?digest={}", image.digest),
        list: "referrers",
    },
    Reader {
        name: "ORAS",
        path: |name, image| format!("/v2/{name}/_oras/artifacts/referrers?digest={}", image.digest),
        list: "referrers",
    },
    Reader {
        name: "ORAS, older",
        path: |name, image| format!("/oras/artifacts/v1/{name}/manifests/{}/referrers", image.digest),
        list: "references",
    },
    Reader {
        name: "Proposal B, by digest",
        path: |name, image| format!("/v2/{name}/manifests/{}/references", image.digest),
        list: "manifests",
    },
    Reader {
        name: "Proposal B, by tag",
        path: |name, _| format!("/v2/{name}/manifests/v1/references"),
        list: "manifests",
    },
    Reader {
        name: "Proposal C, by digest",
        path: |name, image| format!("/v3/{name}/referrers/{}", image.digest),
        list: "referrers",
    },
    Reader {
        name: "Proposal C, by tag",
        path: |name, _| format!("/v3/{name}/referrers/v1"),
        list: "referrers",
    },
];

/// What every dialect says of an entry.
fn essentials(descriptor: &Value) -> Value {
    json!([descriptor["mediaType"], descriptor["digest"], descriptor["size"]])
}

#[tokio::test]
async fn every_way_of_writing_is_read_in_every_way() {
    let registry = Registry::v2().await;
    let mut refshim = Refshim::in_front_of(&registry.url()).await;
    let (straight, through) = (registry.endpoint(), refshim.endpoint());
    let mut written = Vec::new();
    for row in ROWS {
        let image = straight.push_image(row, "v1", "image").await;
        let place = Place {
            row,
            straight: &straight,
            through: &through,
            image: &image,
        };
        let referrer = place.write().await;
        written.push((row, image, referrer));
    }
    // Nothing is remembered from the writing.
    refshim.restart().await;
    for (row, image, referrer) in written {
        is_read_in_every_way(&through, row, &image, &referrer).await;
    }
}

/// The registry's own list, which says what nothing else does.
#[tokio::test]
async fn the_registrys_own_list_is_read_in_every_way() {
    let registry = Registry::v2().await;
    let link = CountingProxy::in_front_of(&registry.url()).await;
    let refshim = Refshim::in_front_of(link.url()).await;
    let straight = registry.endpoint();
    let image = straight.push_image("app", "v1", "image").await;
    let referrer = straight.push_artifact("app", &image, TYPE, "sbom").await;
    let list = index([referrer.descriptor()]).to_string();
    link.fail(Fault::answer(200, &[("content-type", INDEX)], &list), |seen| {
        seen.path.contains("/referrers/")
    });
    is_read_in_every_way(&refshim.endpoint(), "app", &image, &referrer).await;
}

/// The artifact type that a row's link gives to what does not name its own.
fn given_type(row: &str) -> Option<&'static str> {
    match row {
        "cosign-tag" => Some(SIGNATURE),
        "cosign-tag-on-an-index" => Some(ATTESTATION),
        "buildkit" => Some(BUILDKIT),
        _ => None,
    }
}

async fn is_read_in_every_way(through: &Endpoint, row: &str, image: &Pushed, referrer: &Pushed) {
    for Reader { name, path, list } in READERS {
        let reply = through.get(&path(row, image)).await.expect_status(200).json();
        let listed = reply[list]
            .as_array()
            .unwrap_or_else(|| panic!("{row} by {name}: {reply}"));
        let listed: Vec<Value> = listed.iter().map(essentials).collect();
        // Proposal C lists what a node holds in the node's place.
        let expected = match (row, name.starts_with("Proposal C")) {
            ("proposal-c", true) => empty_descriptor(),
            _ => referrer.listed(image, given_type(row)).descriptor(),
        };
        assert_eq!(listed, [essentials(&expected)], "{row} by {name}");
    }
    // Proposal C's other direction, where the referrer itself says what it refers to.
    let stated = [
        "app",
        "referrers-tag",
        "subject",
        "refers",
        "proposal-a",
        "oras",
        "proposal-b",
        "proposal-c",
    ];
    if stated.contains(&row) {
        let path = format!("/v3/{row}/reference/{}", referrer.digest);
        let parent = through.get(&path).await.expect_status(200).json();
        assert_eq!(parent["digest"], image.digest, "{row}");
    }
}
