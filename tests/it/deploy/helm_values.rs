//! What single values of the chart do, and that its README lists them all.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::deploy::files::{load, read, yaml};
use crate::deploy::helm::{CHART, egress, minimal, rendered, template};
use crate::deploy::pods::{assert_configured, configuration, of_kind, pod, refshim, workload};

/// The documents with the smallest values and these settings.
#[track_caller]
fn with(settings: &str) -> Vec<Value> {
    yaml(&template(&minimal(), &["--set", settings]).unwrap_or_else(|error| panic!("{error}")))
}

/// Kubernetes evicts a pod whose volume exceeds its limit.
#[test]
fn each_pod_has_a_cache_on_disk_with_enough_room() {
    for (settings, mebibytes) in [
        ("replicaCount=3", 512),
        ("kind=DaemonSet,diskCache.mebibytes=64", 64),
        ("config.cache.redis.url=redis://redis", 512),
    ] {
        let documents = with(settings);
        let pod = pod(workload(&documents));
        let container = refshim(pod);
        let env = container["env"].as_array().expect("variables").iter();
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let env: Vec<_> = env.map(|one| (text(&one["name"]), text(&one["value"]))).collect();
        let env: Vec<_> = env.iter().map(|(name, value)| (&**name, &**value)).collect();
        let config = load(&text(&configuration(&documents)["data"]["refshim.toml"]), &env);
        assert_eq!(config.cache.disk_bytes, mebibytes << 20, "{settings}");
        let dir = config.cache.dir.expect("a directory");
        let mounts = container["volumeMounts"].as_array().expect("mounts");
        let mount = mounts
            .iter()
            .find(|mount| mount["mountPath"] == dir.to_str().expect("a path"));
        let mount = mount.expect("a mount");
        assert!(mount["readOnly"].is_null());
        let volumes = pod["volumes"].as_array().expect("volumes");
        let volume = volumes.iter().find(|volume| volume["name"] == mount["name"]);
        let limit = text(&volume.expect("a volume")["emptyDir"]["sizeLimit"]);
        let limit: u64 = limit.strip_suffix("Mi").expect("a size").parse().expect("a number");
        assert!(limit > 2 * mebibytes, "{settings}: {limit}");
    }
    let documents = with("diskCache.enabled=false");
    assert!(refshim(pod(workload(&documents)))["env"].is_null());
    let own = template(&minimal(), &["--set", "config.cache.dir=/data"]).expect_err("two directories");
    assert!(own.contains("config.cache.dir and diskCache.enabled"), "{own}");
}

/// What one replica lists in an adopted form, another without a Redis would have to find first.
#[test]
fn replicas_without_a_redis_list_what_is_stored() {
    for (settings, listed) in [
        ("replicaCount=2", Some("list")),
        ("kind=DaemonSet", Some("list")),
        (
            "replicaCount=1,autoscaling.enabled=true,autoscaling.maxReplicas=3",
            Some("list"),
        ),
        ("replicaCount=1", None),
        ("config.cache.redis.url=redis://redis.example.org", None),
        (
            "env[0].name=REFSHIM_CACHE__REDIS__URL,env[0].value=redis://redis.example.org",
            None,
        ),
        ("config.links.without_subject=omit", Some("omit")),
        ("config.links.deep_limit=7", Some("list")),
    ] {
        let documents = with(settings);
        let text = configuration(&documents)["data"]["refshim.toml"].as_str().unwrap();
        let found = text
            .lines()
            .find_map(|line| line.trim().strip_prefix("without_subject = "));
        assert_eq!(
            found.map(|value| value.trim_matches(['"', '\''])),
            listed,
            "{settings}: {text}"
        );
        assert_eq!(
            text.contains("deep_limit = 7"),
            settings.contains("deep_limit"),
            "{text}"
        );
        assert_configured(&documents, pod(workload(&documents)));
    }
}

#[test]
fn each_rollout_is_spread_by_itself() {
    let documents = rendered(&minimal());
    let spread = &pod(workload(&documents))["topologySpreadConstraints"][0];
    assert_eq!(spread["matchLabelKeys"], json!(["pod-template-hash"]));
}

/// Without the field, Kubernetes would begin with one replica, and go back to one when it is taken away.
#[test]
fn the_autoscaler_begins_with_its_least_number() {
    let documents = with("autoscaling.enabled=true,autoscaling.minReplicas=4,replicaCount=3");
    assert_eq!(workload(&documents)["spec"]["replicas"], 4);
}

#[test]
fn probes_and_scrapes_speak_as_the_admin_listener_does() {
    for (settings, scheme) in [
        ("serviceMonitor.enabled=true", "http"),
        ("serviceMonitor.enabled=true,tls.secretName=s", "http"),
        ("serviceMonitor.enabled=true,tls.secretName=s,tls.admin=true", "https"),
        (
            "serviceMonitor.enabled=true,config.admin.tls.cert_file=/c,config.admin.tls.key_file=/k",
            "https",
        ),
    ] {
        let documents = with(settings);
        assert_configured(&documents, pod(workload(&documents)));
        let endpoint = &of_kind(&documents, "ServiceMonitor")["spec"]["endpoints"][0];
        assert_eq!(endpoint["scheme"], scheme, "{settings}");
        assert_eq!(endpoint["port"], "admin");
    }
    // The kubelet has no certificate to show.
    let documents = with("tls.secretName=s,tls.admin=true,config.admin.tls.client_ca_file=/ca");
    let container = refshim(pod(workload(&documents)));
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        assert_eq!(container[probe]["tcpSocket"]["port"], "admin", "{probe}");
        assert!(container[probe]["httpGet"].is_null(), "{probe}");
    }
}

#[test]
fn a_probe_can_be_another_or_none() {
    let documents = rendered(&format!("{CHART}/ci/everything-values.yaml"));
    let container = refshim(pod(workload(&documents)));
    assert_eq!(container["startupProbe"]["failureThreshold"], 300);
    assert_eq!(container["startupProbe"]["periodSeconds"], 2);
    assert!(container["livenessProbe"].is_null());
    assert_eq!(container["readinessProbe"]["tcpSocket"]["port"], "http");
    assert!(container["readinessProbe"]["httpGet"].is_null());
}

#[test]
fn what_the_configuration_names_is_let_through() {
    for (settings, ports) in [
        ("config.upstream[0].url=http://registry", vec![80]),
        ("config.upstream[0].url=https://registry:5443/docker", vec![5443]),
        ("config.upstream[0].url=http://[2001:db8::1]:5000", vec![5000]),
        ("config.upstream[0].url=https://[2001:db8::1]", vec![443]),
        ("config.upstream[1].url=http://registry:5000", vec![443, 5000]),
        (
            "config.upstream[0].url=http://r:1,config.upstream[0].credentials.kind=ecr",
            vec![1, 443],
        ),
        (
            "config.links.credentials.default.endpoint=https://vpce:8443",
            vec![443, 8443],
        ),
        ("config.cache.redis.url=redis://redis", vec![443, 6379]),
        ("config.cache.redis.url=rediss://user@redis:7000/1", vec![443, 7000]),
        ("config.telemetry.otlp_endpoint=http://collector:4318", vec![443, 4318]),
        (
            "config.events.webhooks[0].url=https://scanner:8443/hook",
            vec![443, 8443],
        ),
        (
            "config.events.webhooks[0].url=http://scanner/hook,config.events.webhooks[0].proxy=http://proxy:3128",
            vec![443, 80, 3128],
        ),
        ("networkPolicy.egress[0].ports[0].port=9000", vec![443, 9000]),
        ("config.upstream[0].proxy=none", vec![443]),
        ("config.upstream[0].proxy=http://proxy:3128", vec![443, 3128]),
        ("proxy.httpsProxy=http://proxy:3128", vec![443, 3128]),
        (
            "proxy.httpsProxy=http://proxy:3128,proxy.httpProxy=http://proxy",
            vec![443, 3128, 80],
        ),
    ] {
        assert_eq!(egress(&with(settings)), ports, "{settings}");
    }
}

#[test]
fn the_pod_has_time_for_what_shutdown_grace_allows() {
    for (settings, seconds) in [
        ("config.server.shutdown_grace=null", 40),
        ("config.server.shutdown_grace=1500ms", 12),
        ("config.server.shutdown_grace=2min 5s", 135),
        ("config.server.shutdown_grace=1h,preStopSleepSeconds=15", 3620),
        ("terminationGracePeriodSeconds=7", 7),
    ] {
        let documents = with(settings);
        let pod = pod(workload(&documents));
        assert_eq!(pod["terminationGracePeriodSeconds"], seconds, "{settings}");
    }
}

#[test]
fn passwords_belong_into_a_secret() {
    for (setting, name) in [
        (
            "config.upstream[0].credentials.password=sesame",
            "REFSHIM_UPSTREAM__0__CREDENTIALS__PASSWORD",
        ),
        ("config.cache.redis.password=sesame", "REFSHIM_CACHE__REDIS__PASSWORD"),
        (
            "config.cache.redis.url=redis://u:sesame@redis",
            "REFSHIM_CACHE__REDIS__URL",
        ),
        (
            "config.cache.redis.url=redis://:sesame@redis",
            "REFSHIM_CACHE__REDIS__URL",
        ),
        (
            "config.upstream[0].proxy=http://u:sesame@proxy",
            "REFSHIM_UPSTREAM__0__PROXY",
        ),
        ("proxy.httpsProxy=http://u:sesame@proxy:3128", "HTTPS_PROXY"),
        (
            "config.links.credentials.default.password=sesame",
            "REFSHIM_LINKS__CREDENTIALS__DEFAULT__PASSWORD",
        ),
        (
            "config.events.webhooks[0].secret=sesame",
            "REFSHIM_EVENTS__WEBHOOKS__0__SECRET",
        ),
    ] {
        let error = template(&minimal(), &["--set", setting]).expect_err(setting);
        assert!(error.contains(name), "{setting}: {error}");
        assert!(!error.contains("sesame"), "{error}");
    }
    with("config.upstream[0].credentials.password_file=/run/secrets/password");
}

#[test]
fn the_key_of_a_webhook_is_an_environment_variable() {
    let documents =
        with("config.events.webhooks[0].url=https://scanner/hook,config.events.webhooks[0].types={removed}");
    let text = configuration(&documents)["data"]["refshim.toml"]
        .as_str()
        .expect("refshim.toml");
    let secret = "A".repeat(32);
    let config = load(text, &[("REFSHIM_EVENTS__WEBHOOKS__0__SECRET", &secret)]);
    let webhook = &config.events.webhooks[0];
    assert_eq!((webhook.name.as_str(), webhook.types.len()), ("scanner", 1));
    assert!(webhook.secret.is_some());
}

#[test]
fn openshift_chooses_the_numbers_of_users() {
    let documents = rendered(&format!("{CHART}/ci/openshift-values.yaml"));
    let context = &pod(workload(&documents))["securityContext"];
    let kept = json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}});
    assert_eq!(*context, kept);
}

#[test]
fn on_the_node_containerd_is_told_of_every_registry() {
    let documents = rendered(&format!("{CHART}/ci/node-values.yaml"));
    let daemons = of_kind(&documents, "DaemonSet");
    let port = &refshim(pod(daemons))["ports"][0];
    assert_eq!(
        (&port["hostPort"], &port["hostIP"]),
        (&json!(5100), &json!("127.0.0.1"))
    );
    for kind in ["PodDisruptionBudget", "HorizontalPodAutoscaler"] {
        assert!(documents.iter().all(|document| document["kind"] != kind), "{kind}");
    }
    let volumes = pod(daemons)["volumes"].as_array().expect("volumes");
    let hosts = volumes
        .iter()
        .find(|volume| volume["name"] == "hosts")
        .expect("a volume");
    let items = hosts["configMap"]["items"].as_array().expect("items");
    let texts = &configuration(&documents)["data"];
    let files: BTreeMap<&str, &str> = items
        .iter()
        .map(|item| {
            let [key, path] = ["key", "path"].map(|field| item[field].as_str().expect("a text"));
            (path, texts[key].as_str().expect("a text"))
        })
        .collect();
    // containerd's name for the folder of a host with a port.
    let expected = [
        ("docker.io", "https://registry-1.docker.io"),
        ("ghcr.io", "https://ghcr.io"),
        ("registry.example.org_5000_", "http://registry.example.org:5000"),
    ];
    assert_eq!(files.len(), expected.len());
    for (folder, server) in expected {
        let settings: Vec<&str> = files[folder].lines().filter(|line| !line.starts_with('#')).collect();
        let server = format!("server = \"{server}\"");
        assert_eq!(settings, [&server, "", "[host.\"http://127.0.0.1:5100\"]"]);
    }
}

#[test]
fn alerts_and_dashboard_are_those_of_the_project() {
    let documents = rendered(&format!("{CHART}/ci/everything-values.yaml"));
    let alerts = &of_kind(&documents, "PrometheusRule")["spec"];
    assert_eq!(*alerts, yaml(&read("deploy/prometheus/alerts.yml"))[0]);
    let dashboard = documents
        .iter()
        .find_map(|document| document["data"]["refshim.json"].as_str())
        .expect("a dashboard");
    let parse = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
    assert_eq!(parse(dashboard), parse(&read("deploy/grafana/refshim.json")));
}

#[test]
fn alerts_link_to_where_the_documentation_is() {
    let documents = with("prometheusRule.enabled=true,prometheusRule.docsUrl=https://git.example.org/refshim/");
    let rules = &of_kind(&documents, "PrometheusRule")["spec"]["groups"][0]["rules"];
    assert_eq!(
        rules[0]["annotations"]["runbook_url"],
        "https://git.example.org/refshim/docs/alerts.md#refshimdown"
    );
}

/// A pod that starts in an outage waits for its end: to kill it would only let its back-off grow.
#[test]
fn a_pod_that_starts_in_an_outage_is_not_killed() {
    let probe = refshim(pod(workload(&rendered(&minimal()))))["startupProbe"].clone();
    let number = |field: &str| probe[field].as_u64().expect("a number");
    assert!(
        number("periodSeconds") * number("failureThreshold") >= 24 * 3600,
        "{probe}"
    );
}

#[test]
fn the_readme_lists_every_value_with_its_default() {
    let mut defaults = BTreeMap::new();
    leaves(&yaml(&read(&format!("{CHART}/values.yaml")))[0], "", &mut defaults);
    let readme = read(&format!("{CHART}/README.md"));
    let listed: BTreeMap<String, String> = readme
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| `")?.splitn(3, " | ");
            let (name, default) = (cells.next()?, cells.next()?);
            Some((
                name.trim_end_matches('`').to_owned(),
                default.trim_matches('`').to_owned(),
            ))
        })
        .collect();
    assert_eq!(listed, defaults);
}

/// Every value that is not a group of values, as the table writes it.
fn leaves(value: &Value, name: &str, found: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (key, value) in fields {
                let separator = if name.is_empty() { "" } else { "." };
                leaves(value, &format!("{name}{separator}{key}"), found);
            }
        }
        Value::String(text) if !text.is_empty() => {
            found.insert(name.to_owned(), text.clone());
        }
        other => {
            found.insert(name.to_owned(), other.to_string());
        }
    }
}
