//! Extension discovery: `GET /v2/_oci/ext/discover` and `GET /v2/<name>/_oci/ext/discover`.

use bytes::Bytes;
use serde_json::{Value, json};

pub const CONTENT_TYPE: &str = "application/json";

/// Number of extensions, and of endpoints of one, that are read from the registry's answer; the rest of a longer list is ignored.
const MAX_FOREIGN: usize = 256;

/// The extensions that refshim adds: name, description, specification, endpoints below `/v2/<name>/`.
const OWN: [(&str, &str, &str, &[&str]); 2] = [
    (
        "_oci",
        "Referrers of a manifest, synthesised from its registry's tags and manifests",
        "https://github.com/opencontainers/wg-reference-types/blob/main/docs/proposals/PROPOSAL_A.md",
        &["_oci/artifacts/referrers", "_oci/ext/discover"],
    ),
    (
        "_oras",
        "The same referrers for clients of the ORAS artifacts-spec",
        "https://github.com/oras-project/artifacts-spec/blob/main/manifest-referrers-api.md",
        &["_oras/artifacts/referrers"],
    ),
];

/// `{"extensions": […]}`: refshim's, then the registry's others, one for each name. If the registry has an extension of the same name, its
/// endpoints are added, because requests to them are passed through. `upstream` is the body of the registry's own answer, if it gave one;
/// parts that cannot be parsed are left out.
pub fn print(upstream: Option<&[u8]>) -> Bytes {
    let foreign: Value = upstream
        .and_then(|bytes| serde_json::from_slice(bytes).ok())
        .unwrap_or_default();
    let foreign = foreign.get("extensions").and_then(Value::as_array);
    let mut extensions: Vec<(&str, Value)> = OWN
        .map(|(name, description, url, endpoints)| {
            let own = json!({"name": name, "description": description, "url": url, "endpoints": endpoints});
            (name, own)
        })
        .into();
    for extension in foreign.into_iter().flatten().take(MAX_FOREIGN) {
        let Some(name) = extension.get("name").and_then(Value::as_str).filter(|n| !n.is_empty()) else {
            continue;
        };
        match extensions.iter_mut().find(|(listed, _)| *listed == name) {
            Some((_, listed)) => join_endpoints(listed, extension),
            None => extensions.push((name, extension.clone())),
        }
    }
    let extensions: Vec<Value> = extensions.into_iter().map(|(_, extension)| extension).collect();
    json!({ "extensions": extensions }).to_string().into()
}

fn join_endpoints(listed: &mut Value, other: &Value) {
    let others = other.get("endpoints").and_then(Value::as_array);
    if let Some(endpoints) = listed.get_mut("endpoints").and_then(Value::as_array_mut) {
        for endpoint in others.into_iter().flatten().take(MAX_FOREIGN) {
            if !endpoints.contains(endpoint) {
                endpoints.push(endpoint.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(upstream: Option<&[u8]>) -> Vec<String> {
        let printed: Value = serde_json::from_slice(&print(upstream)).unwrap();
        let list = printed["extensions"].as_array().unwrap();
        list.iter().map(|e| e["name"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn the_upstreams_own_follow_ours_once_each() {
        let upstream = br#"{"extensions": [
            {"name": "_zot", "url": "u", "description": "d", "endpoints": ["/v2/_zot/ext/search"]},
            {"name": "_oci", "description": "theirs", "endpoints": ["_oci/ext/discover", "_oci/more"]}, {"name": "_zot"}, {"name": 7}, "x", {}]}"#;
        assert_eq!(names(Some(upstream)), ["_oci", "_oras", "_zot"]);
        let printed = String::from_utf8(print(Some(upstream)).to_vec()).unwrap();
        assert!(printed.contains("/v2/_zot/ext/search") && !printed.contains("theirs"));
        assert!(printed.contains(r#"["_oci/artifacts/referrers","_oci/ext/discover","_oci/more"]"#));
    }

    #[test]
    fn a_broken_upstream_takes_nothing_away() {
        for broken in [
            "",
            "<html>",
            "[]",
            "null",
            "{\"extensions\": {}}",
            "{\"extensions\": null}",
        ] {
            assert_eq!(names(Some(broken.as_bytes())), ["_oci", "_oras"], "{broken}");
        }
        assert_eq!(names(None), ["_oci", "_oras"]);
    }
}
