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

pub fn pod(deployment: &Value) -> &Value {
    &deployment["spec"]["template"]["spec"]
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
        assert_eq!(either("runAsNonRoot"), true, "{name}");
        assert_eq!(either("seccompProfile"), json!({"type": "RuntimeDefault"}), "{name}");
        assert_eq!(context["readOnlyRootFilesystem"], true, "{name}");
        assert_eq!(context["allowPrivilegeEscalation"], false, "{name}");
        assert_eq!(context["capabilities"], json!({"drop": ["ALL"]}), "{name}");
    }
    assert!(refshim(pod)["resources"]["limits"]["memory"].is_string());
}

/// The configuration in the ConfigMap that the pod mounts; its listeners are where the ports and probes are.
#[track_caller]
pub fn assert_configured(documents: &[Value], pod: &Value) -> Config {
    let map = of_kind(documents, "ConfigMap");
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
        if get.is_null() && probe == "readinessProbe" {
            continue; // A sidecar does not decide about its pod.
        }
        assert_eq!(get["port"], admin, "{probe}");
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
    let deployment = of_kind(documents, "Deployment");
    let labels = deployment["spec"]["template"]["metadata"]["labels"]
        .as_object()
        .expect("labels");
    let selecting = |selector: &Value| {
        let selector = selector.as_object().filter(|pairs| !pairs.is_empty());
        selector.is_some_and(|pairs| pairs.iter().all(|(key, value)| labels.get(key) == Some(value)))
    };
    let spread = &pod(deployment)["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"];
    for selector in [&deployment["spec"]["selector"]["matchLabels"], spread] {
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
        }
    }
    for scaler in documents
        .iter()
        .filter(|document| document["kind"] == "HorizontalPodAutoscaler")
    {
        assert_eq!(scaler["spec"]["scaleTargetRef"]["name"], deployment["metadata"]["name"]);
        assert!(
            deployment["spec"]["replicas"].is_null(),
            "two would have the say over replicas"
        );
    }
}
