//! The Helm chart.

use refshim::testing::oci::LinkSource;
use serde_json::Value;

use crate::deploy::files::{KUBERNETES, attempt, check_kubernetes, list, run, yaml};
use crate::deploy::pods::{assert_configured, assert_hardened, assert_selected, of_kind, pod, refshim};

const CHART: &str = "deploy/helm/refshim";

fn template(values: &str, more: &[&str]) -> Result<String, String> {
    let arguments = ["template", "release", CHART, "--kube-version", KUBERNETES, "-f", values];
    attempt("helm", &[&arguments, more].concat())
}

/// Values that a user cannot do without.
fn minimal() -> String {
    format!("{CHART}/ci/minimal-values.yaml")
}

/// The documents with every switch turned the other way.
pub fn rendered(values: &str) -> Vec<Value> {
    yaml(&template(values, &[]).unwrap_or_else(|error| panic!("{error}")))
}

#[test]
fn every_rendering_is_valid_hardened_and_configured() {
    for values in list(&format!("{CHART}/ci"), "-values.yaml") {
        run(
            "helm",
            &[
                "lint",
                "--strict",
                "--quiet",
                "--kube-version",
                KUBERNETES,
                CHART,
                "-f",
                &values,
            ],
        );
        let text = template(&values, &[]).unwrap_or_else(|error| panic!("{error}"));
        check_kubernetes(&text);
        let documents = yaml(&text);
        let pod = pod(of_kind(&documents, "Deployment"));
        assert_hardened(pod);
        assert_selected(&documents);
        assert_configured(&documents, pod);
    }
}

#[test]
fn the_smallest_set_of_values_gives_two_replicas_or_more() {
    let documents = rendered(&minimal());
    let kinds: Vec<&str> = documents
        .iter()
        .filter_map(|document| document["kind"].as_str())
        .collect();
    for kind in [
        "HorizontalPodAutoscaler",
        "PodDisruptionBudget",
        "NetworkPolicy",
        "Service",
        "ServiceAccount",
    ] {
        assert!(kinds.contains(&kind), "{kind} not in {kinds:?}");
    }
    for kind in ["Ingress", "ServiceMonitor"] {
        assert!(!kinds.contains(&kind), "{kind} in {kinds:?}");
    }
    assert_eq!(of_kind(&documents, "HorizontalPodAutoscaler")["spec"]["minReplicas"], 2);
}

#[test]
fn numbers_and_lists_in_the_configuration_arrive() {
    let documents = rendered(&format!("{CHART}/ci/everything-values.yaml"));
    let config = assert_configured(&documents, pod(of_kind(&documents, "Deployment")));
    assert_eq!(config.limits.connections, 1000);
    assert_eq!(config.links.deep_limit, 1000);
    assert_eq!(
        config.links.sources,
        [LinkSource::Subject, LinkSource::CosignTag].into()
    );
    assert_eq!(config.cache.list_bytes, 256 << 20);
    assert_eq!(config.upstreams[0].retries, 3);
    assert_eq!(config.upstreams[1].name, "ecr");
    let rules = of_kind(&documents, "Ingress")["spec"]["rules"]
        .as_array()
        .expect("rules");
    for (rule, upstream) in rules.iter().zip(&config.upstreams) {
        assert!(
            upstream.hosts.contains(rule["host"].as_str().expect("a host")),
            "{rule}"
        );
    }
    let monitor = of_kind(&documents, "ServiceMonitor");
    assert_eq!(monitor["spec"]["endpoints"][0]["port"], "admin");
    assert_eq!(
        refshim(pod(of_kind(&documents, "Deployment")))["env"][0]["name"],
        "REFSHIM_LOG__LEVEL"
    );
}

#[test]
fn tls_is_configured_where_its_secret_is_mounted() {
    let documents = rendered(&format!("{CHART}/ci/tls-values.yaml"));
    let pod = pod(of_kind(&documents, "Deployment"));
    let tls = assert_configured(&documents, pod).server.tls;
    let mounts = refshim(pod)["volumeMounts"].as_array().expect("mounts");
    let mount = mounts.iter().find(|mount| mount["name"] == "tls").expect("a mount");
    let folder = mount["mountPath"].as_str().expect("a path");
    for (file, name) in [(tls.cert_file, "tls.crt"), (tls.key_file, "tls.key")] {
        assert_eq!(file, Some(std::path::Path::new(folder).join(name)));
    }
    let volumes = pod["volumes"].as_array().expect("volumes");
    assert!(
        volumes
            .iter()
            .any(|volume| volume["secret"]["secretName"] == "refs-example-org")
    );
}

#[test]
fn redis_is_configured_and_let_through() {
    let documents = rendered(&format!("{CHART}/ci/redis-values.yaml"));
    let config = assert_configured(&documents, pod(of_kind(&documents, "Deployment")));
    let url = config.cache.redis.url.expect("a URL");
    assert_eq!(url.reveal(), "rediss://refshim@redis.example.org:6379/0");
    let egress = &of_kind(&documents, "NetworkPolicy")["spec"]["egress"];
    assert!(egress.to_string().contains("6379"), "{egress}");
}

#[test]
fn what_cannot_work_is_refused_with_a_reason() {
    let values = minimal();
    for (setting, reason) in [
        ("image.repository=", "image.repository is needed"),
        ("config.upstream=null", "/config"),
        ("config.upstream[0].url=ghcr.io", "/config/upstream/0/url"),
        ("config.server.listen=127.0.0.1:5100", "/config/server/listen"),
        ("ingress.enabled=true", "/ingress/hosts"),
        ("replicas=3", "replicas"),
        ("networkPolicy.egres=null", "egres"),
    ] {
        let error = template(&values, &["--set", setting]).expect_err(setting);
        assert!(error.contains(reason), "{setting}: {error}");
    }
}
