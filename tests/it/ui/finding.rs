//! People find an image by what they have of it, and a tag among many.

use super::fixture::{APP, Contents};
use super::{page, with_ui};
use crate::support::{CountingProxy, Endpoint, Local, Refshim, Registry};

/// Where a typed text leads.
async fn led_to(at: &Endpoint, typed: &str) -> String {
    let typed = percent_encoding::utf8_percent_encode(typed, percent_encoding::NON_ALPHANUMERIC);
    let reply = at.get(&format!("/ui/?repository={typed}")).await.expect_status(303);
    reply.header("location").unwrap().to_owned()
}

#[tokio::test]
async fn a_reference_is_found_as_it_was_pasted_and_by_half_a_name() {
    let registry = Registry::v2().await;
    let at = registry.endpoint();
    let image = at.push_image(APP, "v1", "one").await;
    at.push_image("o/application", "v1", "two").await;
    at.push_image("tools/checker", "v1", "three").await;
    let link = CountingProxy::in_front_of(&registry.url()).await;
    let refshim = with_ui(link.url()).await;
    let at = refshim.endpoint();
    let by_digest = format!("/ui/r/o/app@{}", image.digest);
    link.take();
    for (typed, target) in [
        ("o/app:v1", "/ui/r/o/app:v1"),
        (
            &format!("docker pull {}/o/app:v1", refshim.authority()),
            "/ui/r/o/app:v1",
        ),
        (&format!("{}/ui/r/o/app:v1", refshim.url()), "/ui/r/o/app:v1"),
        (
            &format!(
                "oci://{}/o/app:v1@{}",
                link.url().trim_start_matches("http://"),
                image.digest
            ),
            &*by_digest,
        ),
    ] {
        assert_eq!(led_to(&at, typed).await, target, "{typed}");
    }
    let asked = link.take();
    assert!(
        asked.iter().all(|line| line.ends_with("/v2/")),
        "a whole reference needs no search: {asked:?}"
    );
    for (typed, target) in [
        ("o/app", "/ui/r/o/app"),
        ("Checker:v1", "/ui/r/tools/checker:v1"),
        ("TOOLS", "/ui/r/tools/checker"),
    ] {
        assert_eq!(led_to(&at, typed).await, target, "{typed}");
    }
    assert_eq!(link.take().len(), 3, "one page of the catalog for each");
    let html = page(&at, "/ui/?repository=App:v1").await;
    for shown in ["href=\"/ui/r/o/app:v1\"", "href=\"/ui/r/o/application:v1\""] {
        assert!(html.contains(shown), "{shown}: {html}");
    }
    assert!(page(&at, "/ui/?repository=nowhere").await.contains("None."));
    let html = page(&at, &format!("/ui/?repository={}", image.digest)).await;
    assert!(html.contains("A digest alone does not say where it is"), "{html}");
}

#[tokio::test]
async fn every_registry_can_be_reached() {
    let (one, two) = (Registry::v2().await, Registry::v2().await);
    two.endpoint().push_image(APP, "v2", "two").await;
    let config = format!(
        "[server]\nui = true\n[[upstream]]\nurl = '{}'\n[[upstream]]\nname = 'two'\nurl = '{}'\nprefix = 'two'\nns = ['two.example']\n",
        one.url(),
        two.url()
    );
    let refshim = Refshim::bare().config(&config).start().await;
    let at = refshim.endpoint();
    let html = page(&at, "/ui/r/two/o/app").await;
    assert!(html.contains("href=\"/ui/r/two/o/app:v2\""), "{html}");
    assert!(html.contains("href=\"/ui/?ns=two.example\""), "{html}");
    let html = page(&at, "/ui/r/two/o/app:v2").await;
    let client = format!("docker pull {}/two/o/app@", at.authority());
    assert!(html.contains(&client), "{html}");
    let html = page(&at, "/ui/r/o/app?ns=two.example").await;
    assert!(html.contains("href=\"/ui/r/o/app:v2?ns=two.example\""), "{html}");
    // Clients cannot send the parameter; the prefix leads them there.
    assert!(page(&at, "/ui/r/o/app:v2?ns=two.example").await.contains(&client));
    let found = at.get("/ui/?repository=o/app&ns=two.example").await.expect_status(303);
    assert_eq!(found.header("location"), Some("/ui/r/o/app?ns=two.example"));
    let html = page(&at, "/ui/").await;
    assert!(
        html.contains("Registries") && html.contains("href=\"/ui/?ns=two.example\""),
        "{html}"
    );
    for typed in [
        "two.example/o/app:v2".to_owned(),
        format!("{}/two/o/app:v2", at.authority()),
    ] {
        assert_eq!(led_to(&at, &typed).await, "/ui/r/o/app:v2?ns=two.example", "{typed}");
    }
}

async fn tags(refshim: &Local, query: &str) -> Vec<String> {
    let html = page(&refshim.endpoint(), &format!("/ui/r/o/app{query}")).await;
    let links = html.split("href=\"/ui/r/o/app:").skip(1);
    links.map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn tags_are_in_the_order_of_versions_and_can_be_filtered() {
    let registry = Registry::v2().await;
    let at = registry.endpoint();
    Contents::push(&at).await;
    for tag in ["1.9", "1.10-rc1", "1.11", "Latest"] {
        at.push_image(APP, tag, tag).await;
    }
    let refshim = with_ui(&registry.url()).await;
    assert_eq!(tags(&refshim, "").await, ["1.9", "1.10-rc1", "1.10", "1.11", "Latest"]);
    let newest = tags(&refshim, "?order=newest").await;
    assert_eq!(newest, ["Latest", "1.11", "1.10", "1.10-rc1", "1.9"]);
    assert_eq!(tags(&refshim, "?q=LATEST").await, ["Latest"]);
    assert_eq!(tags(&refshim, "?kind=sbom").await, ["1.10"]);
    assert_eq!(tags(&refshim, "?kind=Signature&q=1.1").await, ["1.10"]);
    assert_eq!(tags(&refshim, "?kind=nothing&q=1.1").await, ["1.10-rc1", "1.11"]);

    let html = page(&refshim.endpoint(), "/ui/r/o/app:1.10?kind=Signature").await;
    assert!(html.contains("and 1 of other kinds"), "{html}");
    assert!(html.contains("aria-current=\"true\">Signature 1</a>"), "{html}");
}
