//! The examples beside registries and for those who ask them.

use crate::deploy::files::{list, load, read, yaml};

#[test]
fn configurations_load() {
    for file in list("deploy/examples", ".toml") {
        let config = load(&read(&file), &[]);
        assert!(
            config.server.listen.ip().is_loopback(),
            "{file} opens refshim to the network"
        );
    }
}

#[test]
fn manifests_of_others_are_yaml_with_a_kind() {
    for file in list("deploy/examples", ".yaml") {
        let documents = yaml(&read(&file));
        assert!(!documents.is_empty(), "{file}");
        for document in documents {
            for field in ["/apiVersion", "/kind", "/metadata/name"] {
                assert!(
                    document.pointer(field).is_some_and(serde_json::Value::is_string),
                    "{file}: {field}"
                );
            }
        }
    }
}
