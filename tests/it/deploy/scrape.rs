//! A real scrape, and the names in it.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::{Redis, Refshim, Registry, certificate};

/// The metrics of a process that has done a bit of everything.
pub async fn scrape() -> Families {
    let registry = Registry::v2().await;
    let image = registry.endpoint().push_image("app", "v1", "one").await;
    let (redis, folder) = (Redis::start().await, tempfile::tempdir().expect("a temporary folder"));
    certificate::make(folder.path());
    let file = |name: &str| folder.path().join(name).display().to_string();
    let proxy = Refshim::builder(&registry.url())
        .env("REFSHIM_CACHE__REDIS__URL", &redis.url())
        .env("REFSHIM_CACHE__DIR", &file("cache"))
        .env("REFSHIM_EVENTS__WEBHOOKS__0__URL", "http://127.0.0.1:9/")
        .env("REFSHIM_EVENTS__WEBHOOKS__0__SECRET", &"A".repeat(32))
        .env("REFSHIM_METRICS__SIGNED_PULLS", "true")
        .env("REFSHIM_UPSTREAM__0__CLIENT_CERT_FILE", &file("cert.pem"))
        .env("REFSHIM_UPSTREAM__0__CLIENT_KEY_FILE", &file("key.pem"))
        .start()
        .await;
    proxy.endpoint().referrers("app", &image.digest).await;
    proxy.endpoint().manifest("app", "v1").await.expect_status(200);
    let open_metrics = [("accept", "application/openmetrics-text")];
    let scraped = proxy.admin().get_with("/metrics", &open_metrics).await;
    let text = scraped.expect_status(200).text();
    Families::parse(&text)
}

/// One metric as documentation writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Family {
    pub kind: String,
    pub labels: BTreeSet<String>,
    /// The names under which its series are stored.
    pub series: Vec<String>,
}

/// By the name that documentation uses.
#[derive(Debug)]
pub struct Families(pub BTreeMap<String, Family>);

impl Families {
    fn parse(text: &str) -> Self {
        let mut families = BTreeMap::new();
        for line in text.lines() {
            if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
                let (name, series) = stored(name, kind);
                let family = Family {
                    kind: kind.to_owned(),
                    labels: BTreeSet::new(),
                    series,
                };
                families.insert(name, family);
            } else if !line.starts_with('#') {
                let end = line.find(['{', ' ']).expect("a name");
                let family = families
                    .values_mut()
                    .find(|family: &&mut Family| family.series.iter().any(|s| s == &line[..end]));
                let family = family.unwrap_or_else(|| panic!("a series without a type: {line}"));
                family.labels.extend(label_names(&line[end..]));
            }
        }
        Self(families)
    }

    /// The family that a series' name in a query belongs to.
    pub fn of_series(&self, name: &str) -> Option<&Family> {
        self.0
            .values()
            .find(|family| family.series.iter().any(|series| series == name))
    }
}

/// The name for documentation, and those of the series.
fn stored(name: &str, kind: &str) -> (String, Vec<String>) {
    match kind {
        "counter" => (format!("{name}_total"), vec![format!("{name}_total")]),
        "info" => (format!("{name}_info"), vec![format!("{name}_info")]),
        "histogram" => (
            name.to_owned(),
            ["bucket", "sum", "count"].map(|part| format!("{name}_{part}")).into(),
        ),
        _ => (name.to_owned(), vec![name.to_owned()]),
    }
}

/// Of `{endpoint="referrers",le="0.5"} 1`. No value holds a quote or a comma.
fn label_names(labels: &str) -> impl Iterator<Item = String> {
    let inside = labels
        .strip_prefix('{')
        .and_then(|rest| rest.split_once('}'))
        .map_or("", |(inside, _)| inside);
    let names = inside
        .split(',')
        .filter_map(|pair| pair.split_once('=').map(|(name, _)| name.to_owned()));
    names.filter(|name| name != "le").collect::<Vec<_>>().into_iter()
}
