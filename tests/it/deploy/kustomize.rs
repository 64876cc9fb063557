//! The kustomize base and the sidecar.

use serde_json::{Value, json};

use crate::deploy::files::{check_kubernetes, path, run, yaml};
use crate::deploy::helm::rendered;
use crate::deploy::pods::{assert_configured, assert_hardened, assert_selected, of_kind, pod, refshim};

fn build(folder: &str) -> Vec<Value> {
    let text = run("kustomize", &["build", &format!("deploy/kustomize/{folder}")]);
    check_kubernetes(&text);
    yaml(&text)
}

#[test]
fn the_base_is_valid_hardened_and_configured() {
    let documents = build("base");
    let pod = pod(of_kind(&documents, "Deployment"));
    assert_hardened(pod);
    assert_selected(&documents);
    assert_configured(&documents, pod);
}

#[test]
fn the_base_is_what_the_chart_makes() {
    let chart = rendered("deploy/helm/refshim/ci/minimal-values.yaml");
    let base = build("base");
    for (kind, differing) in [
        ("Deployment", &["/spec/selector", "/spec/template/metadata"][..]),
        ("Service", &["/spec/selector"]),
        ("PodDisruptionBudget", &["/spec/selector"]),
        ("NetworkPolicy", &["/spec/podSelector"]),
    ] {
        let mut specs = [&chart, &base].map(|documents| of_kind(documents, kind).clone());
        for document in &mut specs {
            for pointer in differing.iter().copied().chain(NAMES) {
                if let Some(value) = document.pointer_mut(pointer) {
                    *value = Value::Null;
                }
            }
        }
        assert_eq!(specs[0]["spec"], specs[1]["spec"], "{kind}");
    }
}

/// Names and labels of the release, and the image.
const NAMES: [&str; 4] = [
    "/spec/template/spec/serviceAccountName",
    "/spec/template/spec/containers/0/image",
    "/spec/template/spec/volumes/0/configMap/name",
    "/spec/template/spec/topologySpreadConstraints/0/labelSelector",
];

#[test]
fn with_autoscaling_nobody_else_has_the_say_over_replicas() {
    // kustomize takes no absolute paths, so the overlay must stand in the project.
    let folder = tempfile::tempdir_in(path("target")).expect("a temporary folder");
    let kustomize = "../../deploy/kustomize";
    let overlay = json!({"resources": [format!("{kustomize}/base")], "components": [format!("{kustomize}/components/autoscaling")]});
    std::fs::write(folder.path().join("kustomization.yaml"), overlay.to_string()).expect("the overlay is written");
    let text = run(
        "kustomize",
        &["build", folder.path().to_str().expect("a path in UTF-8")],
    );
    check_kubernetes(&text);
    let documents = yaml(&text);
    assert_selected(&documents);
    assert!(of_kind(&documents, "Deployment")["spec"]["replicas"].is_null());
    let chart = rendered("deploy/helm/refshim/ci/everything-values.yaml");
    let [mut chart, mut component] =
        [&chart, &documents].map(|documents| of_kind(documents, "HorizontalPodAutoscaler")["spec"].clone());
    for spec in [&mut chart, &mut component] {
        spec["scaleTargetRef"]["name"] = Value::Null;
        spec["minReplicas"] = Value::Null;
    }
    assert_eq!(component, chart);
}

#[test]
fn the_sidecar_is_for_its_own_pod_only() {
    let documents = build("overlays/sidecar");
    let pod = pod(of_kind(&documents, "Deployment"));
    assert_hardened(pod);
    let config = assert_configured(&documents, pod);
    assert!(config.server.listen.ip().is_loopback());
    let sidecar = refshim(pod);
    assert_eq!(
        sidecar["restartPolicy"], "Always",
        "without it, the pod would wait for its end"
    );
    for probe in ["startupProbe", "livenessProbe"] {
        assert!(sidecar[probe]["httpGet"].is_object(), "{probe}");
    }
    assert_eq!(pod["containers"][0]["name"], "scanner");
}
