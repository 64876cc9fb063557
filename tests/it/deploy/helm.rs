//! The Helm chart.

use refshim::testing::oci::LinkSource;
use serde_json::Value;

use crate::deploy::files::{KUBERNETES, attempt, check_kubernetes, list, run, yaml};
use crate::deploy::pods::{assert_configured, assert_hardened, assert_selected, of_kind, pod, refshim, workload};

pub const CHART: &str = "deploy/helm/refshim";

pub fn template(values: &str, more: &[&str]) -> Result<String, String> {
    let arguments = ["template", "release", CHART, "--kube-version", KUBERNETES, "-f", values];
    attempt("helm", &[&arguments, more].concat())
}

/// Values that a user cannot do without.
pub fn minimal() -> String {
    format!("{CHART}/ci/minimal-values.yaml")
}

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
        let pod = pod(workload(&documents));
        assert_hardened(pod);
        assert_selected(&documents);
        assert_configured(&documents, pod);
        assert_hardened_test(&documents);
    }
}

/// `helm test` starts a pod of its own, which must be allowed where refshim is.
fn assert_hardened_test(documents: &[Value]) {
    let test = &of_kind(documents, "Pod")["spec"];
    let refshim = pod(workload(documents));
    assert_eq!(test["securityContext"], refshim["securityContext"]);
    for field in ["image", "securityContext"] {
        assert_eq!(test["containers"][0][field], refshim["containers"][0][field]);
    }
}

#[test]
fn the_smallest_set_of_values_gives_two_replicas() {
    let documents = rendered(&minimal());
    let kinds: Vec<&str> = documents
        .iter()
        .filter_map(|document| document["kind"].as_str())
        .collect();
    for kind in ["PodDisruptionBudget", "NetworkPolicy", "Service", "ServiceAccount"] {
        assert!(kinds.contains(&kind), "{kind} not in {kinds:?}");
    }
    for kind in ["HorizontalPodAutoscaler", "Ingress", "HTTPRoute", "ServiceMonitor"] {
        assert!(!kinds.contains(&kind), "{kind} in {kinds:?}");
    }
    let deployment = of_kind(&documents, "Deployment");
    assert_eq!(deployment["spec"]["replicas"], 2);
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        assert!(refshim(pod(deployment))[probe]["httpGet"].is_object(), "{probe}");
    }
}

#[test]
fn numbers_and_lists_in_the_configuration_arrive() {
    let documents = rendered(&format!("{CHART}/ci/everything-values.yaml"));
    let config = assert_configured(&documents, pod(of_kind(&documents, "Deployment")));
    assert_eq!(config.server.trusted_proxies.len(), 2);
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
    let container = refshim(pod(of_kind(&documents, "Deployment")));
    let env: Vec<_> = container["env"]
        .as_array()
        .expect("variables")
        .iter()
        .map(|variable| &variable["name"])
        .collect();
    assert_eq!(env, ["SSL_CERT_FILE", "HTTPS_PROXY", "NO_PROXY", "REFSHIM_LOG__LEVEL"]);
    assert_eq!(container["envFrom"][0]["secretRef"]["name"], "refshim-credentials");
    assert_eq!(container["envFrom"][1]["configMapRef"]["name"], "refshim-settings");
    let authorities = &container["env"][0]["value"];
    assert_eq!(authorities, "/etc/refshim-ca/bundle.pem");
    let mounts = container["volumeMounts"].as_array().expect("mounts");
    assert!(mounts.iter().any(|mount| mount["mountPath"] == "/etc/refshim-ca"));
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
    assert_eq!(egress(&documents), [443, 6379]);
}

/// The ports to which the NetworkPolicy lets refshim connect, besides DNS.
pub fn egress(documents: &[Value]) -> Vec<u64> {
    let rules = of_kind(documents, "NetworkPolicy")["spec"]["egress"]
        .as_array()
        .expect("rules");
    let ports = rules
        .iter()
        .skip(1)
        .flat_map(|rule| rule["ports"].as_array().expect("ports"));
    ports.map(|port| port["port"].as_u64().expect("a number")).collect()
}

#[test]
fn what_cannot_work_is_refused_with_a_reason() {
    let values = minimal();
    for (setting, reason) in [
        ("image.repository=", "image.repository is needed"),
        ("config.upstream=null", "/config"),
        ("config.upstream[0].url=ghcr.io", "/config/upstream/0/url"),
        ("config.server.listen=127.0.0.1:5100", "/config/server/listen"),
        (
            "config.server.shutdown_grace=1 fortnight",
            "'fortnight' in '1 fortnight' is not understood",
        ),
        ("ingress.enabled=true", "/ingress/hosts"),
        ("httpRoute.enabled=true", "/httpRoute/parentRefs"),
        ("kind=StatefulSet", "/kind"),
        (
            "kind=DaemonSet,node.hostsToml.enabled=true",
            "node.hostsToml.image is needed",
        ),
        (
            "kind=DaemonSet,node.hostsToml.enabled=true,node.hostsToml.image=i,tls.secretName=s",
            "leave tls.secretName",
        ),
        ("caBundle.configMap=a,caBundle.secret=b", "keep one"),
        ("replicas=3", "replicas"),
        ("networkPolicy.egres=null", "egres"),
    ] {
        let error = template(&values, &["--set", setting]).expect_err(setting);
        assert!(error.contains(reason), "{setting}: {error}");
    }
}
