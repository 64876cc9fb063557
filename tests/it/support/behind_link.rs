//! A registry with an image, refshim in front of it, and between them a link that counts.

use super::{CountingProxy, Program, Pushed, Refshim, Registry};

/// The image is `app:v1`; `environment` is refshim's.
pub async fn behind_link(program: Program, environment: &[(&str, &str)]) -> (Registry, CountingProxy, Refshim, Pushed) {
    let registry = Registry::start(program).await;
    let link = CountingProxy::in_front_of(&registry.url()).await;
    let mut builder = Refshim::builder(link.url());
    for (name, value) in environment {
        builder = builder.env(name, value);
    }
    let image = registry.endpoint().push_image("app", "v1", "image").await;
    let refshim = builder.start().await;
    (registry, link, refshim, image)
}
