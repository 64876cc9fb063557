//! Registries for clients, and refshim in front of them that keeps links beside the images or in a registry of their own.

use std::process::Command;

use super::stage::{APP, REFS};
use crate::support::{Endpoint, Program, Refshim, Registry, Tools};

/// Where links are kept: beside the images, or in a registry of their own, where each of the two asks for another password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinksPlace {
    Beside,
    Elsewhere,
}

pub const STAGES: [(Program, LinksPlace); 3] = [
    (Program::V2, LinksPlace::Beside),
    (Program::V3, LinksPlace::Beside),
    (Program::V2, LinksPlace::Elsewhere),
];

pub struct ClientStage {
    images: Registry,
    /// `None`: the same.
    links: Option<Registry>,
    pub refshim: Refshim,
    pub tools: Tools,
    pub through: Endpoint,
    pub digest: String,
}

impl ClientStage {
    pub async fn new((program, place): (Program, LinksPlace)) -> Self {
        let tools = Tools::new();
        let (images, links, refshim) = match place {
            LinksPlace::Beside => {
                let images = Registry::start(program).await;
                let refshim = Refshim::builder(&images.url()).env("REFSHIM_LINKS__REPOSITORY", "{name}.refs");
                (images, None, refshim.start().await)
            }
            LinksPlace::Elsewhere => two_registries(program, &tools).await,
        };
        let mut through = refshim.endpoint();
        if links.is_some() {
            through = through.basic("images", "i");
        }
        tools.file("layer", "the content of a layer\n");
        let tar = Command::new("tar")
            .args(["-cf", "layer.tar", "layer"])
            .current_dir(tools.folder())
            .status();
        assert!(tar.is_ok_and(|status| status.success()));
        tools.file("sbom.json", "{}");
        let target = through.image(APP, "v1");
        tools
            .crane(&["append", "--oci-empty-base", "-f", "layer.tar", "-t", &target])
            .await
            .ok();
        let digest = tools.crane(&["digest", &target]).await.ok().trim().to_owned();
        Self {
            images,
            links,
            refshim,
            tools,
            through,
            digest,
        }
    }

    /// The registry that has the links.
    fn links(&self) -> &Registry {
        self.links.as_ref().unwrap_or(&self.images)
    }

    /// Names by which clients address the repository of the links: through refshim, and past it.
    pub fn names_of_links(&self) -> [String; 2] {
        let through = match &self.links {
            Some(_) => self.through.authority().replace("127.0.0.1", "localhost"),
            None => self.through.authority().to_owned(),
        };
        [through, self.links().authority()].map(|authority| format!("{authority}/{REFS}"))
    }

    pub fn image(&self) -> String {
        self.through.image(APP, &self.digest)
    }

    async fn tags(registry: &Registry, repository: &str) -> Vec<String> {
        let reply = registry.endpoint().get(&format!("/v2/{repository}/tags/list")).await;
        let tags = reply.expect_status(200).json();
        tags["tags"]
            .as_array()
            .unwrap()
            .iter()
            .map(|tag| tag.as_str().unwrap().to_owned())
            .collect()
    }

    /// The image's repository holds the one tag that its owner gave, and something links beside.
    pub async fn is_tidy(&self, what: &str) {
        assert_eq!(Self::tags(&self.images, APP).await, ["v1"], "{what}");
        assert!(!Self::tags(self.links(), REFS).await.is_empty(), "{what}");
    }

    pub async fn verify(&self, repository: Option<&str>, layout: &[&str]) {
        let image = self.image();
        let arguments = ["verify", "--key", "cosign.pub", "--insecure-ignore-tlog=true"];
        let arguments = [&arguments[..], layout, &[&image]].concat();
        let environment: Vec<_> = repository.map(|name| ("COSIGN_REPOSITORY", name)).into_iter().collect();
        self.tools.run_with("cosign", &arguments, &environment).await.ok();
    }

    pub async fn sign_in(&self, repository: &str, layout: &[&str]) {
        self.tools.cosign_key().await;
        let image = self.image();
        let offline = [
            "sign",
            "--key",
            "cosign.key",
            "--yes",
            "--tlog-upload=false",
            "--use-signing-config=false",
        ];
        let arguments = [&offline[..], layout, &[&image]].concat();
        let environment = [("COSIGN_REPOSITORY", repository)];
        self.tools.run_with("cosign", &arguments, &environment).await.ok();
    }
}

async fn two_registries(program: Program, tools: &Tools) -> (Registry, Option<Registry>, Refshim) {
    let images = Registry::builder(program).users(&[("images", "i")]).start().await;
    let links = Registry::builder(program).users(&[("links", "l")]).start().await;
    let config = format!(
        "[[upstream]]\nname = 'images'\nurl = '{}'\n[[upstream]]\nname = 'links'\nurl = '{}'\nhosts = ['localhost']\n\
         [links]\nrepository = '{{name}}.refs'\nupstream = 'links'\n\
         [links.credentials.links]\nkind = 'static'\nusername = 'links'\npassword = 'l'\n",
        images.url(),
        links.url()
    );
    let refshim = Refshim::bare().config(&config).start().await;
    let through = refshim.endpoint().authority().to_owned();
    tools.log_in_at(&[
        (&through, "images", "i"),
        (&through.replace("127.0.0.1", "localhost"), "links", "l"),
        (&images.authority(), "images", "i"),
        (&links.authority(), "links", "l"),
    ]);
    (images, Some(links), refshim)
}
