//! `refshim tree REF`: what refers to an image, what refers to that, and so on; the platforms of an index included.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::oci::media_type::ManifestKind;
use crate::oci::{Descriptor, Digest, Referrer};
use crate::ui::platform_names;

use super::error::CliError;
use super::output::{self, Format, printable};
use super::referrers::{ReferrerRow, is_wanted};
use super::session::{Options, Session};

/// Show an image and everything that refers to it, recursively.
///
/// Shows each manifest of a multi-platform image with its own referrers. A manifest that appears twice is followed once.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  refshim tree ghcr.io/sigstore/cosign/cosign:v2.4.1
  refshim tree --levels 1 127.0.0.1:5000/app:v1
  refshim tree --output json http://127.0.0.1:5100/app:v1")]
pub(super) struct TreeArgs {
    #[command(flatten)]
    options: Options,
    /// Show whole digests, however wide the terminal is.
    #[arg(long)]
    long: bool,
    /// Show only branches that end in this artifact type; may be given more than once.
    #[arg(long, value_name = "TYPE")]
    artifact_type: Vec<String>,
    /// Number of levels of referrers to follow.
    #[arg(long, value_name = "N", default_value_t = 8)]
    levels: usize,
    #[arg(short, long, value_enum, default_value = "table")]
    output: Format,
}

/// What `--output json` prints.
#[derive(Serialize)]
struct TreeReport {
    /// As it was asked for.
    reference: String,
    subject: Digest,
    #[serde(flatten)]
    branches: Branches,
}

/// What hangs below a manifest.
#[derive(Default, Serialize)]
struct Branches {
    /// Of an index: what it lists.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    manifests: Vec<ListedManifest>,
    referrers: Vec<Node>,
}

/// A manifest that an index lists.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ListedManifest {
    digest: Digest,
    /// Such as `linux/arm/v7`, where the index says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<String>,
    media_type: String,
    #[serde(flatten)]
    branches: Branches,
}

/// A referrer and what hangs below it; in JSON, the fields of `refshim referrers` and `referrers`.
struct Node {
    referrer: Referrer,
    branches: Branches,
}

impl Serialize for Node {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Flat<'a> {
            #[serde(flatten)]
            entry: ReferrerRow<'a>,
            #[serde(flatten)]
            branches: &'a Branches,
        }
        let flat = Flat {
            entry: ReferrerRow::from(&self.referrer),
            branches: &self.branches,
        };
        flat.serialize(serializer)
    }
}

pub(super) async fn run(args: TreeArgs) -> Result<(), CliError> {
    let session = Session::open(args.options).await?;
    let subject = session.subject().await?;
    let mut walk = Walk {
        session: &session,
        artifact_types: &args.artifact_type,
        seen: BTreeSet::new(),
    };
    let tree = TreeReport {
        reference: session.target().to_string(),
        branches: walk.below(&subject, args.levels).await?,
        subject,
    };
    match args.output {
        Format::Json => output::print_json(&tree),
        Format::Table => {
            let mut text = format!("{} ({})\n", printable(&tree.reference), tree.subject);
            let width = output::terminal_width().filter(|_| !args.long);
            draw(&tree.branches, "", &Digests::that_fit(&tree.branches, width), &mut text);
            output::print(&text)
        }
    }
}

/// One descent, which goes nowhere twice: links may form circles.
struct Walk<'a> {
    session: &'a Session,
    artifact_types: &'a [String],
    seen: BTreeSet<Digest>,
}

impl Walk<'_> {
    async fn below(&mut self, digest: &Digest, levels: usize) -> Result<Branches, CliError> {
        let mut branches = Branches::default();
        if !self.seen.insert(digest.clone()) || levels == 0 {
            return Ok(branches);
        }
        let links = self.session.referrers(digest).await?;
        let raw = self.session.made(digest).await?;
        let platforms = raw.as_ref().map(|raw| platform_names(&raw.bytes)).unwrap_or_default();
        for referrer in &links.referrers {
            // An index may list what is shown here as a referrer.
            self.seen
                .extend(referrer.adopted.iter().map(|original| original.digest.clone()));
            // An async function that calls itself needs a box.
            let below = Box::pin(self.below(&referrer.descriptor.digest, levels - 1)).await?;
            if is_wanted(referrer, self.artifact_types) || !below.is_empty() {
                branches.referrers.push(Node {
                    referrer: referrer.clone(),
                    branches: below,
                });
            }
        }
        let manifest = raw.and_then(|raw| raw.parse().ok());
        let listed = manifest.map(|manifest| manifest.manifests).unwrap_or_default();
        for descriptor in listed.iter().filter(|listed| is_manifest(listed)) {
            // Listed as a referrer already, as BuildKit's attestations are.
            if self.seen.contains(&descriptor.digest) {
                continue;
            }
            let below = Box::pin(self.below(&descriptor.digest, levels)).await?;
            if self.artifact_types.is_empty() || !below.is_empty() {
                branches.manifests.push(ListedManifest {
                    platform: platforms
                        .get(&descriptor.digest)
                        .filter(|name| !name.is_empty())
                        .cloned(),
                    digest: descriptor.digest.clone(),
                    media_type: descriptor.media_type.clone(),
                    branches: below,
                });
            }
        }
        Ok(branches)
    }
}

fn is_manifest(descriptor: &Descriptor) -> bool {
    ManifestKind::of(&descriptor.media_type).is_some()
}

impl Branches {
    fn is_empty(&self) -> bool {
        self.manifests.is_empty() && self.referrers.is_empty()
    }
}

/// How digests are drawn.
enum Digests {
    Whole,
    /// Their beginnings.
    Short,
}

/// Characters of a short digest's hash: what still tells the digests of a repository apart.
const SHORT: usize = 12;

impl Digests {
    /// Whole ones, unless a line would be wider than the terminal.
    fn that_fit(branches: &Branches, width: Option<usize>) -> Self {
        let mut text = String::new();
        draw(branches, "", &Self::Whole, &mut text);
        match width {
            Some(width) if text.lines().any(|line| line.chars().count() > width) => Self::Short,
            _ => Self::Whole,
        }
    }

    fn print(&self, digest: &Digest) -> String {
        let whole = digest.to_string();
        match (self, whole.split_once(':')) {
            (Self::Short, Some((algorithm, hash))) if hash.len() > SHORT => format!("{algorithm}:{}…", &hash[..SHORT]),
            _ => whole,
        }
    }
}

fn draw(branches: &Branches, indent: &str, digests: &Digests, text: &mut String) {
    let manifests = branches.manifests.iter().map(|listed| {
        let platform = listed.platform.as_deref().map(|name| format!("{}  ", printable(name)));
        let label = format!(
            "{}  {}{} (listed)",
            digests.print(&listed.digest),
            platform.unwrap_or_default(),
            printable(&listed.media_type)
        );
        (label, &listed.branches)
    });
    let referrers = branches.referrers.iter().map(|node| {
        let entry = ReferrerRow::from(&node.referrer);
        let created = entry
            .created()
            .map(|created| format!("  {created}"))
            .unwrap_or_default();
        let mut label = format!(
            "{}  {}  {}{created}  [{}]",
            digests.print(entry.digest),
            printable(entry.kind()),
            entry.size(),
            entry.sources()
        );
        if let Some(original) = entry.original {
            label.push_str(&format!("  stored as {}", digests.print(original)));
        }
        (label, &node.branches)
    });
    let all: Vec<_> = referrers.chain(manifests).collect();
    for (index, (label, below)) in all.iter().enumerate() {
        let (branch, trunk) = if index + 1 == all.len() {
            ("└── ", "    ")
        } else {
            ("├── ", "│   ")
        };
        text.push_str(&format!("{indent}{branch}{label}\n"));
        draw(below, &format!("{indent}{trunk}"), digests, text);
    }
}
