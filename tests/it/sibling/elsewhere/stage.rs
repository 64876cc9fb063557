//! Two registries with rights, one of images and one of links, and refshim in front of both.

use std::io::Write as _;

use refshim::testing::config::{Config, Overrides, load_with};
use tempfile::NamedTempFile;

use super::super::stage::{basic, guard, password};
use crate::support::fake::{Fake, Knobs};
use crate::support::{Endpoint, Local, Pushed};

/// `writer` and `reader` have their rights in `o/app` of the registry of images; `keeper` is refshim's account at that of links.
pub struct TwoRegistries {
    pub images: Fake,
    pub links: Fake,
    pub refshim: Local,
    _password: NamedTempFile,
}

impl TwoRegistries {
    pub async fn new() -> Self {
        Self::configured(Knobs::default(), |_| ()).await
    }

    pub async fn configured(links: Knobs, change: impl FnOnce(&mut Config)) -> Self {
        let (images, links) = (Fake::start(Knobs::default()).await, Fake::start(links).await);
        guard(&images);
        guard(&links);
        let password = password();
        let mut config = config(&images.url(), &links.url(), &password);
        change(&mut config);
        Self {
            images,
            links,
            refshim: Local::of(config).await,
            _password: password,
        }
    }

    pub fn as_user(&self, user: &str) -> Endpoint {
        self.refshim.endpoint().basic(user, "x")
    }

    /// An image in `o/app`.
    pub fn image(&self) -> Pushed {
        self.images.image(super::super::stage::APP, "v1", "image")
    }

    /// No registry got credentials of the other's.
    #[track_caller]
    pub fn nothing_leaked(&self) {
        for seen in self.links.requests() {
            let shown = seen.authorization();
            assert!(shown.is_none_or(|shown| shown == basic("keeper")), "{seen:?}");
            for name in ["cookie", "x-api-key", "x-remote-user", "forwarded", "x-forwarded-for"] {
                assert!(!seen.headers.contains_key(name), "{seen:?}");
            }
        }
        for seen in self.images.requests() {
            assert_ne!(seen.authorization(), Some(&*basic("keeper")), "{seen:?}");
        }
    }
}

fn config(images: &str, links: &str, password: &NamedTempFile) -> Config {
    let mut file = NamedTempFile::new().unwrap();
    let password = password.path().display();
    let text = format!(
        "[[upstream]]\nname = 'images'\nurl = '{images}'\nretries = 0\n\
         [[upstream]]\nname = 'links'\nurl = '{links}'\nretries = 0\nhosts = ['links.example']\n\
         [links]\nrepository = '{{name}}.refs'\nupstream = 'links'\n\
         [links.credentials.links]\nkind = 'static'\nusername = 'keeper'\npassword_file = '{password}'\n"
    );
    file.write_all(text.as_bytes()).unwrap();
    load_with(Some(file.path()), [], &Overrides::default()).unwrap_or_else(|errors| panic!("{errors:?}"))
}
