//! Promise: Proposal D in full, on registries as they are.

use crate::support::content::{IMAGE, INDEX, artifact, bare_image, index};
use crate::support::{CountingProxy, Program, Pushed, Refshim, Registry};
use base64::Engine as _;
use http::Method;
use serde_json::{Value, json};

const TYPE: &str = "application/vnd.acme.sbom.v1+json";

fn sorted<'a>(pushed: impl IntoIterator<Item = &'a Pushed>) -> Vec<String> {
    let mut digests: Vec<String> = pushed.into_iter().map(|p| p.digest.clone()).collect();
    digests.sort();
    digests
}

/// One multi-platform index with all images and their signatures, under a tag of each image and one of its own.
#[tokio::test]
async fn the_originators_pattern() {
    for program in Program::ALL {
        let registry = Registry::start(program).await;
        let refshim = Refshim::in_front_of(&registry.url()).await;
        let straight = registry.endpoint();
        straight.push_blob("app", "{}").await;
        let (mut entries, mut expected) = (Vec::new(), Vec::new());
        for system in ["linux", "windows", "darwin"] {
            let image = straight.put_manifest("app", "", IMAGE, &bare_image(system)).await;
            let signature = format!("signature of {system}");
            let signature = straight.put_manifest("app", "", IMAGE, &bare_image(&signature)).await;
            let mut runs = image.descriptor();
            runs["platform"] = json!({"os": system, "architecture": "amd64"});
            let mut signs = signature.annotated(json!({
                "org.opencontainers.reference": image.digest, "org.opencontainers.reference.type": "sig",
            }));
            signs["platform"] = json!({"os": "unknown", "architecture": "unknown"});
            entries.extend([runs, signs]);
            expected.push((image, signature));
        }
        let all = straight.put_manifest("app", "v1", INDEX, &index(entries)).await;
        for (image, _) in &expected {
            straight.put_tag("app", &all.proposal_d_tag(image, "sig"), &all).await;
        }
        for depth in ["names", "manifests"] {
            let builder = Refshim::builder(&registry.url()).env("REFSHIM_LINKS__DEPTH", depth);
            let refshim = builder.start().await;
            for (image, signature) in &expected {
                let listed = refshim.endpoint().referrer_digests("app", &image.digest).await;
                let adopted = signature.adopted(image, None);
                assert_eq!(listed, sorted([&adopted]), "{program:?} {depth}");
            }
        }
        // Nothing refers to the index itself, and the many tags do not show.
        let through = refshim.endpoint();
        assert_eq!(through.referrers("app", &all.digest).await, [] as [Value; 0]);
        let tags = through.get("/v2/app/tags/list").await.expect_status(200).json();
        assert_eq!(tags["tags"], json!(["v1"]), "{program:?}");
    }
}

/// What an index inlines need not be fetched: a HEAD tells whether the registry still has it.
#[tokio::test]
async fn inlined_manifests_are_asked_for_and_not_fetched() {
    let registry = Registry::v2().await;
    let link = CountingProxy::in_front_of(&registry.url()).await;
    let builder = Refshim::builder(link.url()).env("REFSHIM_LINKS__DEPTH", "names");
    let refshim = builder.start().await;
    let straight = registry.endpoint();
    let image = straight.push_image("app", "v1", "image").await;
    let sbom = straight
        .put_manifest("app", "", IMAGE, &artifact(&image, TYPE, "sbom"))
        .await;
    let forged = straight
        .put_manifest("app", "", IMAGE, &artifact(&image, TYPE, "real"))
        .await;
    let inline = |entry: &Pushed, bytes: &[u8]| {
        let mut entry = entry.annotated(json!({"org.opencontainers.reference": image.digest}));
        entry["data"] = base64::engine::general_purpose::STANDARD.encode(bytes).into();
        entry
    };
    // The second inlines something else than its digest says: then it is fetched.
    let holder = Pushed::of(
        INDEX,
        &index([inline(&sbom, &sbom.bytes), inline(&forged, &sbom.bytes)]),
    );
    straight
        .put_tag("app", &holder.proposal_d_tag(&image, "sbom"), &holder)
        .await;
    let listed = refshim.endpoint().referrers("app", &image.digest).await;
    let titles: Vec<&Value> = listed
        .iter()
        .map(|d| &d["annotations"]["org.opencontainers.image.title"])
        .collect();
    assert!(
        titles.contains(&&json!("sbom")) && titles.contains(&&json!("real")),
        "{listed:?}"
    );
    let asked = |method: Method, manifest: &Pushed| {
        let path = format!("/v2/app/manifests/{}", manifest.digest);
        link.count(|seen| seen.method == method && seen.path == path)
    };
    assert_eq!((asked(Method::HEAD, &sbom), asked(Method::GET, &sbom)), (1, 0));
    assert_eq!(asked(Method::GET, &forged), 1);
}

/// Tags hold half of a sha512 digest; the linked manifest says which of those that begin alike it means.
#[tokio::test]
async fn sha512_subjects_that_begin_alike() {
    for program in Program::ALL {
        let registry = Registry::start(program).await;
        let mut refshim = Refshim::in_front_of(&registry.url()).await;
        let through = refshim.endpoint();
        through.push_image("app", "v1", "image").await;
        let alike = |end: &str| format!("sha512:{}{}", "0123456789abcdef".repeat(4), end.repeat(64));
        let mut expected = Vec::new();
        for end in ["a", "b"] {
            let mut manifest = bare_image(end);
            manifest["artifactType"] = TYPE.into();
            manifest["subject"] = json!({"mediaType": IMAGE, "digest": alike(end), "size": 2});
            let reply = Pushed::of(IMAGE, &manifest);
            let pushed = through.put_bytes("app", "", &reply).await.expect_status(201);
            assert_eq!(pushed.header("oci-subject"), Some(&*alike(end)), "{program:?}");
            expected.push((alike(end), reply));
        }
        for cold in [false, true] {
            if cold {
                refshim.restart().await;
            }
            for (subject, referrer) in &expected {
                let listed = through.referrer_digests("app", subject).await;
                assert_eq!(listed, sorted([referrer]), "{program:?}, cold: {cold}");
            }
            assert_eq!(through.referrers("app", &alike("c")).await, [] as [Value; 0]);
        }
    }
}

/// Types that their author chose: as they are where a tag can hold them, made to fit where not; never another grammar.
#[tokio::test]
async fn types_of_every_shape() {
    for program in Program::ALL {
        let registry = Registry::start(program).await;
        let mut refshim = Refshim::in_front_of(&registry.url()).await;
        let through = refshim.endpoint();
        let image = through.push_image("app", "v1", "image").await;
        let mut pushed = Vec::new();
        for kind in [
            "sig",
            "x.y-z.v1_2",
            "a type / with + what: no tag holds",
            "...",
            "envelope",
            "ünïcode",
            "",
            &"long".repeat(100),
        ] {
            let mut manifest = artifact(&image, TYPE, kind);
            manifest["annotations"]["org.opencontainers.reference.type"] = kind.into();
            let own = through.put_manifest("app", "", IMAGE, &manifest).await;
            pushed.push(own);
        }
        refshim.restart().await;
        assert_eq!(
            through.referrer_digests("app", &image.digest).await,
            sorted(&pushed),
            "{program:?}"
        );
        let tags = registry
            .endpoint()
            .get("/v2/app/tags/list")
            .await
            .expect_status(200)
            .json();
        let tags: Vec<&str> = tags["tags"]
            .as_array()
            .unwrap()
            .iter()
            .map(|tag| tag.as_str().unwrap())
            .collect();
        // The image's own, its referrers tag, and a link tag each.
        assert_eq!(tags.len(), 2 + pushed.len(), "{tags:?}");
        assert!(
            tags.contains(&&*pushed[1].proposal_d_tag(&image, "x.y-z.v1_2")),
            "{tags:?}"
        );
        assert!(tags.iter().any(|tag| tag.len() == 128), "{tags:?}");
    }
}
