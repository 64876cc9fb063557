//! Parts of a blob, asked for as nobody would who wants them. The registry answers as it would without refshim, and never with more
//! than the blob a few times over.

use crate::support::content::ANY;
use crate::support::{Local, Program, Registry};

#[tokio::test]
async fn ranges_are_the_registrys_to_answer_and_cost_no_more_than_the_blob() {
    const BLOB: usize = 64 << 10;
    let many: Vec<String> = (0..300).map(|n| format!("{n}-{n}")).collect();
    let overlapping = vec![format!("0-{}", BLOB - 1); 300];
    for program in [Program::V2, Program::V3] {
        let registry = Registry::builder(program).start().await;
        // Nothing is remembered, so that every question is the registry's.
        let proxy = Local::configured(&registry.url(), |config| config.cache.small_blob = 0).await;
        let blob = registry.endpoint().push_blob("a", vec![1; BLOB]).await;
        let path = format!("/v2/a/blobs/{blob}");
        for range in [
            "bytes=0-0".to_owned(),
            format!("bytes={}", many.join(",")),
            format!("bytes={}", overlapping.join(",")),
            "bytes=0-18446744073709551615".to_owned(),
            "bytes=99999999999999999999-".to_owned(),
            "bytes=9-3".to_owned(),
            "bytes=-0".to_owned(),
            "bytes=-".to_owned(),
            "bytes=0-0,-1,5-".to_owned(),
            "lines=1-2".to_owned(),
            "bytes".to_owned(),
        ] {
            let headers = [("range", range.as_str())];
            let through = proxy.endpoint().get_with(&path, &headers).await;
            if through.status == 416 {
                // Distribution states the blob's length there and sends nothing.
                assert_eq!(through.error_code(), "SIZE_INVALID", "{range}");
                continue;
            }
            let straight = registry.endpoint().get_with(&path, &headers).await;
            assert_eq!(
                (through.status, through.body.len()),
                (straight.status, straight.body.len()),
                "{range}"
            );
            assert!(through.body.len() < 2 * BLOB, "{range}: {} bytes", through.body.len());
        }
    }
}

/// What refshim remembers it gives whole, as RFC 9110 (14.2) allows, or lets the registry cut: never a part under the whole's name.
#[tokio::test]
async fn parts_are_not_remembered_as_the_whole() {
    let registry = Registry::v2().await;
    let proxy = Local::in_front_of(&registry.url()).await;
    let content = b"a small blob that could be remembered".to_vec();
    let blob = registry.endpoint().push_blob("a", content.clone()).await;
    let path = format!("/v2/a/blobs/{blob}");
    for _ in 0..2 {
        let part = proxy
            .endpoint()
            .get_with(&path, &[("range", "bytes=2-6")])
            .await
            .expect_status(206);
        assert_eq!(part.body, content[2..=6]);
        let whole = proxy.endpoint().get(&path).await.expect_status(200);
        assert_eq!(whole.body, content);
    }
    let image = registry.endpoint().push_image("a", "v1", "image").await;
    let path = format!("/v2/a/manifests/{}", image.digest);
    for range in ["bytes=0-4", "bytes=5-1", "bytes=0-0,1-1"] {
        let whole = proxy
            .endpoint()
            .get_with(&path, &[("range", range), ("accept", ANY)])
            .await
            .expect_status(200);
        assert_eq!(whole.body, image.bytes, "{range}");
    }
}
