//! Manifests whose type is not stated, and kinds of manifests that refshim does not know: the registry holds them, clients that ask it find them.

use serde_json::{Value, json};

use super::{REPOSITORY, SPDX};
use crate::support::content::{INDEX, artifact, index};
use crate::support::fake::knobs::Knobs;
use crate::support::fake::{Fake, Trouble};
use crate::support::{Pushed, Refshim};

/// No kind of today.
const OF_TOMORROW: &str = "application/vnd.example.manifest.v9+json";

/// How a link is written down.
#[derive(Clone, Copy, Debug)]
enum WrittenAs {
    ProposalD,
    ReferrersTag,
    OwnApi,
    /// By nothing but the manifest, which has an ordinary tag.
    Subject,
}

const FORMS: [WrittenAs; 4] = [
    WrittenAs::ProposalD,
    WrittenAs::ReferrersTag,
    WrittenAs::OwnApi,
    WrittenAs::Subject,
];

/// What is listed of an image whose only referrer is `manifest`, which the registry serves as `media_type`.
async fn listed(form: WrittenAs, media_type: &str, manifest: impl Fn(&Pushed) -> Value) -> (Pushed, Vec<Value>) {
    let fake = Fake::start(Knobs::default()).await;
    let image = fake.image(REPOSITORY, "v1", "image");
    let referrer = Pushed::of(media_type, &manifest(&image));
    let list = index([referrer.descriptor()]);
    let tag = match form {
        WrittenAs::ProposalD => referrer.proposal_d_tag(&image, "sbom"),
        WrittenAs::ReferrersTag | WrittenAs::OwnApi => String::new(),
        WrittenAs::Subject => "sbom".to_owned(),
    };
    fake.put_pushed(REPOSITORY, &tag, &referrer);
    match form {
        WrittenAs::ProposalD | WrittenAs::Subject => {}
        WrittenAs::ReferrersTag => {
            fake.put(REPOSITORY, &image.referrers_tag(), INDEX, &list);
        }
        WrittenAs::OwnApi => {
            let answer = Trouble::answer(200, &[("content-type", INDEX)], list.to_string());
            fake.trouble(answer, |seen| seen.path.contains("/referrers/"));
        }
    }
    let refshim = Refshim::in_front_of(&fake.url()).await;
    let reply = refshim.endpoint().referrers_reply(REPOSITORY, &image.digest).await;
    assert_eq!(reply.status, 200, "{form:?}: {reply:?}");
    let entries = reply.json()["manifests"].as_array().cloned();
    (referrer, entries.expect("a list"))
}

/// The image-spec lets a manifest leave `mediaType` out, and some servers know no types of content.
#[tokio::test]
async fn a_manifest_that_states_no_type_is_read_as_what_it_is() {
    for form in FORMS {
        for media_type in ["application/json", "application/octet-stream", "text/plain"] {
            let (sbom, entries) = listed(form, media_type, |image| {
                let mut manifest = artifact(image, SPDX, "sbom");
                manifest.as_object_mut().expect("a manifest").remove("mediaType");
                manifest
            })
            .await;
            assert_eq!(entries.len(), 1, "{form:?}, {media_type}: {entries:?}");
            assert_eq!(entries[0]["digest"], json!(sbom.digest), "{form:?}, {media_type}");
            assert_eq!(entries[0]["artifactType"], SPDX, "{form:?}, {media_type}");
        }
    }
}

#[tokio::test]
async fn a_kind_of_manifest_that_is_not_known_is_listed_as_the_registry_has_it() {
    for form in FORMS {
        let of =
            |subject: &Pushed| json!({"mediaType": OF_TOMORROW, "artifactType": SPDX, "subject": subject.descriptor()});
        let (sbom, entries) = listed(form, OF_TOMORROW, of).await;
        assert_eq!(entries.len(), 1, "{form:?}: {entries:?}");
        assert_eq!(entries[0]["digest"], json!(sbom.digest), "{form:?}");
        assert_eq!(entries[0]["mediaType"], OF_TOMORROW, "{form:?}");
        assert_eq!(entries[0]["artifactType"], SPDX, "{form:?}");
    }
    // Nor does it refer to anything but its subject.
    let other = Pushed::of(OF_TOMORROW, &json!({}));
    for form in [WrittenAs::ProposalD, WrittenAs::ReferrersTag] {
        let of_another = |_: &Pushed| json!({"mediaType": OF_TOMORROW, "subject": other.descriptor()});
        let (_, entries) = listed(form, OF_TOMORROW, of_another).await;
        assert!(entries.is_empty(), "{form:?}: {entries:?}");
    }
}
