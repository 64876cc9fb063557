//! What holds for every way of running refshim in Kubernetes.

use std::net::SocketAddr;

use refshim::testing::config::Config;
use serde_json::{Value, json};

use crate::deploy::files::load;

/// The one document of this kind.
#[track_caller]
pub fn of_kind<'a>(documents: &'a [Value], kind: &str) -> &'a Value {
    let mut found = documents.iter().filter(|document| document["kind"] == kind);
    let first = found.next().unwrap_or_else(|| panic!("no {kind}"));
    assert!(found.next().is_none(), "more than one {kind}");
    first
}

/// The Deployment or DaemonSet that runs refshim.
#[track_caller]
pub fn workload(documents: &[Value]) -> &Value {
    let mut found = documents
        .iter()
        .filter(|document| document["kind"] == "Deployment" || document["kind"] == "DaemonSet");
    let first = found.next().expect("a Deployment or DaemonSet");
    assert!(found.next().is_none(), "more than one workload");
    first
}

pub fn pod(workload: &Value) -> &Value {
    &workload["spec"]["template"]["spec"]
}

/// The container that runs refshim, among containers and sidecars.
#[track_caller]
pub fn refshim(pod: &Value) -> &Value {
    let mut containers = containers(pod);
    let found = containers.find(|container| container["name"] == "refshim");
    found.expect("a container called refshim")
}

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    let lists = ["containers", "initContainers"];
    lists.into_iter().filter_map(|list| pod[list].as_array()).flatten()
}

/// What the restricted Pod Security Standard asks for, a read-only file system, and a bound on memory.
#[track_caller]
pub fn assert_hardened(pod: &Value) {
    assert_eq!(pod["automountServiceAccountToken"], false);
    for container in containers(pod) {
        let name = &container["name"];
        let context = &container["securityContext"];
        let either = |key: &str| match &context[key] {
            Value::Null => pod["securityContext"][key].clone(),
            own => own.clone(),
        };
        // It writes into a folder of the node, which is root's.
        let nonroot = name != "hosts-toml";
        assert_eq!(either("runAsNonRoot"), nonroot, "{name}");
        assert_eq!(either("seccompProfile"), json!({"type": "RuntimeDefault"}), "{name}");
        assert_eq!(context["readOnlyRootFilesystem"], true, "{name}");
        assert_eq!(context["allowPrivilegeEscalation"], false, "{name}");
        assert_eq!(context["capabilities"], json!({"drop": ["ALL"]}), "{name}");
    }
    assert!(refshim(pod)["resources"]["limits"]["memory"].is_string());
}

/// The ConfigMap that holds `refshim.toml`.
#[track_caller]
pub fn configuration(documents: &[Value]) -> &Value {
    let mut maps = documents.iter().filter(|document| document["kind"] == "ConfigMap");
    let found = maps.find(|map| map["data"]["refshim.toml"].is_string());
    found.expect("a ConfigMap with refshim.toml")
}

/// The configuration in the ConfigMap that the pod mounts; its listeners are where the ports and probes are.
#[track_caller]
pub fn assert_configured(documents: &[Value], pod: &Value) -> Config {
    let map = configuration(documents);
    let volumes = pod["volumes"].as_array().expect("volumes");
    let mounted = volumes
        .iter()
        .any(|volume| volume["configMap"]["name"] == map["metadata"]["name"]);
    assert!(mounted, "{} is mounted: {volumes:?}", map["metadata"]["name"]);
    let config = load(map["data"]["refshim.toml"].as_str().expect("refshim.toml"), &[]);

    let container = refshim(pod);
    let ports = container["ports"].as_array().expect("ports");
    let port = |address: SocketAddr| {
        let number = address.port();
        let port = ports.iter().find(|port| port["containerPort"] == number);
        port.map(|port| port["name"].clone())
    };
    let admin = port(config.admin.listen).expect("the admin listener's port");
    assert!(
        config.admin.listen.ip().is_unspecified(),
        "the kubelet asks from outside"
    );
    for (probe, path) in [
        ("startupProbe", None),
        ("livenessProbe", Some("/healthz")),
        ("readinessProbe", Some("/healthz")),
    ] {
        let get = &container[probe]["httpGet"];
        if get.is_null() {
            continue; // Values may ask otherwise, and a sidecar does not decide about its pod.
        }
        assert_eq!(get["port"], admin, "{probe}");
        let scheme = config.admin.tls.cert_file.is_some().then_some("HTTPS");
        assert_eq!(get["scheme"].as_str(), scheme, "{probe}");
        assert!(path.is_none_or(|path| get["path"] == path), "{probe}: {get}");
    }
    let listen = config.server.listen;
    let offered = port(listen).is_some();
    assert_eq!(offered, listen.ip().is_unspecified(), "{listen} among {ports:?}");
    config
}

/// What selects pods selects these and no others.
#[track_caller]
pub fn assert_selected(documents: &[Value]) {
    let workload = workload(documents);
    let labels = workload["spec"]["template"]["metadata"]["labels"]
        .as_object()
        .expect("labels");
    let selecting = |selector: &Value| {
        let selector = selector.as_object().filter(|pairs| !pairs.is_empty());
        selector.is_some_and(|pairs| pairs.iter().all(|(key, value)| labels.get(key) == Some(value)))
    };
    let own = &workload["spec"]["selector"]["matchLabels"];
    let spreads = pod(workload)["topologySpreadConstraints"].as_array();
    let spreads = spreads.into_iter().flatten();
    for selector in spreads
        .map(|spread| &spread["labelSelector"]["matchLabels"])
        .chain([own])
    {
        assert!(selecting(selector), "{selector} does not select {labels:?}");
    }
    for (kind, selector) in [
        ("Service", "/spec/selector"),
        ("PodDisruptionBudget", "/spec/selector/matchLabels"),
        ("NetworkPolicy", "/spec/podSelector/matchLabels"),
    ] {
        for document in documents.iter().filter(|document| document["kind"] == kind) {
            let selector = document.pointer(selector).unwrap_or(&Value::Null);
            assert!(
                selecting(selector),
                "{kind} selects by {selector}, pods have {labels:?}"
            );
            let others = documents.iter().filter(|document| document["kind"] == "Pod");
            for labels in others.map(|other| &other["metadata"]["labels"]) {
                let selected = selector.as_object().expect("labels");
                assert!(
                    selected.iter().any(|(key, value)| labels[key] != *value),
                    "{kind} selects the test's pod"
                );
            }
        }
    }
    for scaler in documents
        .iter()
        .filter(|document| document["kind"] == "HorizontalPodAutoscaler")
    {
        assert_eq!(scaler["spec"]["scaleTargetRef"]["name"], workload["metadata"]["name"]);
    }
}
