//! A registry that seeks is never walked: a question costs what is asked, from the first on.

use super::{TYPE, lists};
use crate::support::fake::Fake;
use crate::support::fake::knobs::{Knobs, Referrers, TagPages};
use crate::support::{Pushed, Refshim, Seen};

/// Lists a subject's tags alone.
fn seeks(seen: &Seen) -> bool {
    lists(seen) && seen.path.contains("last=sha256-")
}

/// A registry with 2,000 tags on pages of `page`, and three artifacts of the first of its images.
async fn registry(page: usize) -> (Fake, Vec<Pushed>) {
    let pages = TagPages {
        page: Some(page),
        greatest_n: Some(page),
        ..TagPages::default()
    };
    let fake = Fake::start(Knobs {
        tags: Some(pages),
        ..Knobs::default()
    })
    .await;
    // Its name comes after those of all link tags, where a seek for them ends.
    let mut images = vec![fake.image("app", "v0", "image")];
    images.extend((1..2000).map(|number| fake.image("app", &format!("a{number:04}"), &format!("image {number}"))));
    for name in ["one", "two", "three"] {
        fake.tagged_artifact("app", &images[0], TYPE, name);
    }
    (fake, images)
}

/// The first pages, which tell that there are more than 200 ordinary tags, whether the registry seeks, and the subject's tags.
#[tokio::test]
async fn the_first_question_asks_for_the_first_pages_whether_it_seeks_and_for_the_subject() {
    for (page, first_pages) in [(1000, 1), (100, 3)] {
        let (fake, images) = registry(page).await;
        let refshim = Refshim::in_front_of(&fake.url()).await;
        let endpoint = refshim.endpoint();
        assert_eq!(endpoint.referrers("app", &images[0].digest).await.len(), 3);
        assert_eq!(fake.count(lists), first_pages + 2, "{:#?}", fake.take());
        assert_eq!(fake.count(seeks), 1);
        assert!(endpoint.referrers("app", &images[1].digest).await.is_empty());
        assert_eq!((fake.count(lists), fake.count(seeks)), (first_pages + 3, 2));
    }
}

/// Beside the three for the listing and one for each artifact: the registry's own list, twice because it says that there is none, the
/// subject, and its two tags that can be computed. Whether it seeks is known for the next subjects.
#[tokio::test]
async fn a_registry_whose_own_list_says_that_there_is_none_costs_no_more_than_five_requests_beside() {
    let (fake, images) = registry(1000).await;
    fake.turn(|knobs| knobs.referrers = Referrers::ManifestUnknown);
    let refshim = Refshim::in_front_of(&fake.url()).await;
    let endpoint = refshim.endpoint();
    fake.take();
    assert_eq!(endpoint.referrers("app", &images[0].digest).await.len(), 3);
    let asked = fake.take();
    assert!(asked.len() <= 3 + 3 + 2 + 3, "{asked:#?}");
    for image in &images[1..3] {
        assert!(endpoint.referrers("app", &image.digest).await.is_empty());
        let asked = fake.take();
        let listed = asked.iter().filter(|line| line.contains("/tags/list"));
        assert_eq!(listed.count(), 1, "{asked:#?}");
    }
}
