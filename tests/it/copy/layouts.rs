//! To OCI image layouts and from them, for refshim and for the clients that people use.

use refshim::testing::oci::Digest;
use serde_json::{Value, json};

use super::{SignedImage, copy};
use crate::support::cli::refshim;
use crate::support::content::{IMAGE, INDEX};
use crate::support::{Registry, Tools};

/// `oci:` with a folder of the tools, which clients find as `name`.
fn layout(tools: &Tools, name: &str) -> String {
    format!("oci:{}", tools.folder().join(name).display())
}

#[tokio::test]
async fn an_image_goes_to_a_layout_and_on_to_a_registry() {
    let (source, destination, tools) = (Registry::v2().await, Registry::v3().await, Tools::new());
    let image = SignedImage::push(&source.endpoint(), "app", "v1").await;
    let layout = layout(&tools, "layout");
    copy(&[&format!("{}/app:v1", source.authority()), &layout]).await;
    let again = copy(&[&format!("{}/app:v1", source.authority()), &layout]).await;
    assert_eq!(again["images"][0]["outcome"], "unchanged", "{again}");

    let to = format!("{}/app", destination.authority());
    copy(&[&layout, &to]).await;
    image.is_at(&destination.endpoint(), "app", "v1").await;
    // And from layout to layout.
    let other = super::layouts::layout(&tools, "other");
    copy(&[&format!("{layout}:v1"), &format!("{other}:v2")]).await;
    let again = copy(&[&format!("{other}:v2"), &format!("{}/again", destination.authority())]).await;
    assert_eq!(again["images"][0]["tag"], "v2");
    image.is_at(&destination.endpoint(), "again", "v2").await;
}

#[tokio::test]
async fn other_clients_read_a_layout() {
    let (source, tools) = (Registry::v2().await, Tools::new());
    let image = SignedImage::push(&source.endpoint(), "app", "v1").await;
    copy(&[&format!("{}/app:v1", source.authority()), &layout(&tools, "layout")]).await;

    let oras = tools.oras(&["discover", "--oci-layout", "layout:v1"]).await.ok();
    assert!(
        oras.contains(&image.sbom.digest) && oras.contains(&image.signature_of_sbom.digest),
        "{oras}"
    );
    let tree = ["artifact", "tree", "ocidir://layout:v1", "--digest-tags"];
    let regctl = tools.regctl(&source.authority(), &tree).await.ok();
    for manifest in [&image.sbom, &image.cosign, &image.tagged, &image.scan_of_platform] {
        assert!(regctl.contains(&manifest.digest), "{}: {regctl}", manifest.digest);
    }
    let skopeo = tools.skopeo(&["inspect", "--raw", "oci:layout:v1"]).await.ok();
    assert_eq!(skopeo.as_bytes(), &image.index.bytes[..]);
}

#[tokio::test]
async fn layouts_of_others_are_read() {
    let (source, destination, tools) = (Registry::v2().await, Registry::v3().await, Tools::new());
    let endpoint = source.endpoint();
    let image = endpoint.push_image("app", "v1", "image").await;
    let sbom = endpoint.attach("app", &image, super::SPDX, "sbom").await;
    // oras finds referrers by the referrers tag.
    let index = crate::support::content::index([sbom.descriptor()]);
    endpoint
        .put_manifest("app", &image.referrers_tag(), super::INDEX, &index)
        .await;
    let from = format!("{}/app:v1", source.authority());
    for (client, arguments) in [
        (
            "oras",
            vec!["cp", "-r", "--from-plain-http", "--to-oci-layout", &from, "oras:v1"],
        ),
        (
            "regctl",
            vec!["image", "copy", "--referrers", &from, "ocidir://regctl:v1"],
        ),
    ] {
        match client {
            "oras" => tools.oras(&arguments).await.ok(),
            _ => tools.regctl(&source.authority(), &arguments).await.ok(),
        };
        let to = format!("{}/{client}", destination.authority());
        copy(&[&format!("{}:v1", layout(&tools, client)), &to]).await;
        let listed = refshim(&["referrers", "--output", "json", &format!("{to}:v1")])
            .await
            .json();
        assert_eq!(super::digests(&listed), std::slice::from_ref(&sbom.digest), "{client}");
    }
}

/// A descriptor's media type is a hint: what it describes links all the same.
#[tokio::test]
async fn descriptors_that_say_nothing_of_the_type_lose_no_signature() {
    let (source, destination, tools) = (Registry::v2().await, Registry::v3().await, Tools::new());
    let endpoint = source.endpoint();
    let image = endpoint.push_image("app", "v1", "image").await;
    let sbom = endpoint.attach("app", &image, super::SPDX, "sbom").await;
    for (number, media_type) in [None, Some("application/json"), Some("application/octet-stream")]
        .into_iter()
        .enumerate()
    {
        let layout = layout(&tools, &format!("layout{number}"));
        copy(&[&format!("{}/app:v1", source.authority()), &layout]).await;
        let path = tools.folder().join(format!("layout{number}/index.json"));
        let mut index: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let entries = index["manifests"].as_array_mut().unwrap();
        // Nothing but the manifest itself says what it refers to.
        entries.retain(|entry| entry["digest"] == *sbom.digest || entry["digest"] == *image.digest);
        let entry = entries
            .iter_mut()
            .find(|entry| entry["digest"] == *sbom.digest)
            .unwrap();
        entry["mediaType"] = media_type.into();
        std::fs::write(&path, index.to_string()).unwrap();

        let to = format!("{}/app{number}", destination.authority());
        copy(&[&format!("{layout}:v1"), &to]).await;
        let listed = refshim(&["referrers", "--output", "json", &format!("{to}:v1")])
            .await
            .json();
        assert_eq!(
            super::digests(&listed),
            std::slice::from_ref(&sbom.digest),
            "{media_type:?}"
        );
    }
}

/// A list of referrers says what refers to its subject, whatever types it states, and though what it lists does not name the subject.
#[tokio::test]
async fn a_list_that_alone_links_loses_no_signature() {
    let (source, destination, tools) = (Registry::v2().await, Registry::v3().await, Tools::new());
    let image = source.endpoint().push_image("app", "v1", "image").await;
    let unknown = "application/vnd.example.signature";
    let media_types = [
        Some(IMAGE),
        None,
        Some(""),
        Some("application/octet-stream"),
        Some(unknown),
    ];
    for (number, media_type) in media_types.into_iter().enumerate() {
        let layout = layout(&tools, &format!("list{number}"));
        copy(&[&format!("{}/app:v1", source.authority()), &layout]).await;
        let folder = tools.folder().join(format!("list{number}"));
        let put = |content: &Value| {
            let bytes = content.to_string();
            let digest = Digest::sha256(bytes.as_bytes());
            std::fs::write(folder.join("blobs/sha256").join(digest.encoded()), &bytes).unwrap();
            json!({"digest": digest.as_str(), "size": bytes.len()})
        };
        let with = |mut entry: Value, member: &str, value: Value| {
            entry[member] = value;
            entry
        };
        let empty = with(put(&json!({})), "mediaType", "application/vnd.oci.empty.v1+json".into());
        let artifact = json!({"schemaVersion": 2, "mediaType": IMAGE, "artifactType": "x/signature", "config": empty, "layers": [empty]});
        let listed = put(&artifact);
        let entry = media_type.map_or(listed.clone(), |stated| with(listed, "mediaType", stated.into()));
        let list = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]});
        let list = with(put(&list), "mediaType", INDEX.into());
        let name = json!({"org.opencontainers.image.ref.name": image.digest.replace(':', "-")});
        let path = folder.join("index.json");
        let mut index: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        index["manifests"]
            .as_array_mut()
            .unwrap()
            .push(with(list, "annotations", name));
        std::fs::write(&path, index.to_string()).unwrap();

        let to = format!("{}/list{number}:v1", destination.authority());
        copy(&[&format!("{layout}:v1"), &to]).await;
        let listed = refshim(&["referrers", "--output", "json", &to]).await.json();
        assert_eq!(super::digests(&listed).len(), 1, "{media_type:?}: {listed}");
        assert_eq!(
            listed["referrers"][0]["artifactType"], "x/signature",
            "{media_type:?}: {listed}"
        );
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_layout_of_a_stranger_leads_to_no_other_file() {
    use std::os::unix::fs::symlink;

    let (source, tools) = (Registry::v2().await, Tools::new());
    let image = source.endpoint().push_image("app", "v1", "image").await;
    let from = format!("{}/app:v1", source.authority());
    // Written is nothing outside it.
    for (number, link) in ["index.json", &format!("sha256-{}", image.hex())].iter().enumerate() {
        let name = format!("written{number}");
        let layout = layout(&tools, &name);
        let mine = tools.folder().join(format!("mine{number}"));
        std::fs::write(&mine, "precious").unwrap();
        std::fs::create_dir_all(tools.folder().join(&name).join(".refshim")).unwrap();
        tools.file(&format!("{name}/oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#);
        symlink(&mine, tools.folder().join(&name).join(".refshim").join(link)).unwrap();
        copy(&[&from, &layout]).await;
        assert_eq!(std::fs::read_to_string(&mine).unwrap(), "precious", "{link}");
        let again = copy(&[&from, &layout]).await;
        assert_eq!(again["images"][0]["outcome"], "unchanged", "{again}");
    }
    let outside = tools.folder().join("outside");
    std::fs::create_dir_all(&outside).unwrap();
    std::fs::create_dir(tools.folder().join("led")).unwrap();
    tools.file("led/oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#);
    symlink(&outside, tools.folder().join("led/.refshim")).unwrap();
    let error = refshim(&["copy", &from, &layout(&tools, "led")]).await.refused(1);
    assert!(error.contains("leads out of the layout"), "{error}");
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
    // What has no end is not read.
    let blob = tools.folder().join("written0/blobs/sha256").join(image.hex());
    std::fs::remove_file(&blob).unwrap();
    symlink("/dev/zero", &blob).unwrap();
    let to = format!("{}/again", source.authority());
    let error = refshim(&["copy", &layout(&tools, "written0"), &to]).await.refused(1);
    assert!(error.contains("this is no file"), "{error}");
}

#[tokio::test]
async fn a_layout_with_wrong_bytes_is_refused_and_mended() {
    let (source, destination, tools) = (Registry::v2().await, Registry::v3().await, Tools::new());
    let image = SignedImage::push(&source.endpoint(), "app", "v1").await;
    let (from, layout) = (format!("{}/app:v1", source.authority()), layout(&tools, "layout"));
    copy(&[&from, &layout]).await;
    let report: Value = serde_json::from_slice(&image.platform.bytes).unwrap();
    let layer = report["layers"][0]["digest"]
        .as_str()
        .unwrap()
        .trim_start_matches("sha256:");
    let file = tools.folder().join("layout/blobs/sha256").join(layer);
    let right = std::fs::read(&file).unwrap();
    std::fs::write(&file, vec![b'x'; right.len()]).unwrap();

    let to = format!("{}/app", destination.authority());
    let error = refshim(&["copy", &layout, &to]).await.refused(1);
    assert!(error.contains("other bytes") && error.contains(layer), "{error}");
    destination.endpoint().manifest("app", "v1").await.expect_status(404);
    let report = copy(&[&from, &layout]).await;
    assert_eq!(report["images"][0]["blobs"]["written"], 1, "{report}");
    assert_eq!(std::fs::read(&file).unwrap(), right);
    // A manifest that is gone may have held links.
    let sbom = tools.folder().join("layout/blobs/sha256").join(image.sbom.hex());
    std::fs::remove_file(sbom).unwrap();
    let error = refshim(&["copy", &layout, &to]).await.refused(1);
    assert!(error.contains(image.sbom.hex()), "{error}");
}

#[tokio::test]
async fn what_is_no_layout_is_left_alone() {
    let (source, tools) = (Registry::v2().await, Tools::new());
    source.endpoint().push_image("app", "v1", "image").await;
    std::fs::create_dir(tools.folder().join("mine")).unwrap();
    tools.file("mine/notes", "mine");
    let from = format!("{}/app:v1", source.authority());
    let error = refshim(&["copy", &from, &layout(&tools, "mine")]).await.refused(1);
    assert!(error.contains("is no OCI image layout"), "{error}");
    assert_eq!(std::fs::read_dir(tools.folder().join("mine")).unwrap().count(), 1);
    let error = refshim(&["copy", &layout(&tools, "none"), &from]).await.refused(1);
    assert!(error.contains("there is no OCI image layout"), "{error}");
}
