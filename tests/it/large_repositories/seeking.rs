//! A registry that seeks is never walked: a question costs what is asked, from the first on.

use super::{TYPE, lists};
use crate::support::fake::Fake;
use crate::support::fake::knobs::{Knobs, TagPages};
use crate::support::{Refshim, Seen};

/// Lists a subject's tags alone.
fn seeks(seen: &Seen) -> bool {
    lists(seen) && seen.path.contains("last=sha256-")
}

/// The first pages, which tell that there are more than 200 ordinary tags, whether the registry seeks, and the subject's tags.
#[tokio::test]
async fn the_first_question_asks_for_the_first_pages_whether_it_seeks_and_for_the_subject() {
    for (page, first_pages) in [(1000, 1), (100, 3)] {
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
        let image = fake.image("app", "v0", "image");
        let images: Vec<_> = (1..2000)
            .map(|number| fake.image("app", &format!("a{number:04}"), &format!("image {number}")))
            .collect();
        for name in ["one", "two", "three"] {
            fake.tagged_artifact("app", &image, TYPE, name);
        }
        let refshim = Refshim::in_front_of(&fake.url()).await;
        let endpoint = refshim.endpoint();
        assert_eq!(endpoint.referrers("app", &image.digest).await.len(), 3);
        assert_eq!(fake.count(lists), first_pages + 2, "{:#?}", fake.take());
        assert_eq!(fake.count(seeks), 1);
        assert!(endpoint.referrers("app", &images[0].digest).await.is_empty());
        assert_eq!((fake.count(lists), fake.count(seeks)), (first_pages + 3, 2));
    }
}
