//! The token scopes that a request needs, told from its method and path (distribution's "Token Scope Documentation"). Pure.

use http::{Method, Uri};
use percent_encoding::percent_decode_str;

/// What follows a repository's name in a path.
const AFTER_NAME: [&str; 5] = ["/manifests/", "/blobs/", "/tags/", "/referrers/", "/_oci/"];

/// The repository that a request for `uri` below `prefix` is about.
pub(crate) fn repository<'a>(uri: &'a Uri, prefix: &str) -> Option<&'a str> {
    let path = uri.path().strip_prefix(prefix).unwrap_or(uri.path());
    let rest = path.strip_prefix("/v2/")?;
    // From the right end: a repository may be called `a/manifests/b`.
    let end = AFTER_NAME.iter().filter_map(|word| rest.rfind(word)).max()?;
    Some(&rest[..end])
}

/// The scopes of a request for `uri` below `prefix`, which stands before `/v2`. None for the registry as such.
pub(crate) fn scopes(method: &Method, uri: &Uri, prefix: &str) -> Vec<String> {
    let path = uri.path().strip_prefix(prefix).unwrap_or(uri.path());
    if path == "/v2/_catalog" {
        return vec!["registry:catalog:*".to_owned()];
    }
    let Some(name) = repository(uri, prefix) else {
        return Vec::new();
    };
    let actions = match *method {
        Method::GET | Method::HEAD => "pull",
        Method::DELETE => "delete",
        _ => "pull,push",
    };
    let from = mounted_from(uri).map(|from| read_scope(&from));
    [format!("repository:{name}:{actions}")]
        .into_iter()
        .chain(from)
        .collect()
}

/// The scope of everything that is read in `repository`.
pub(crate) fn read_scope(repository: &str) -> String {
    format!("repository:{repository}:pull")
}

/// The repository that a blob is mounted from.
fn mounted_from(uri: &Uri) -> Option<String> {
    let pairs = uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
    let from = pairs.into_iter().find(|(key, _)| *key == "from")?.1;
    let from = percent_decode_str(from).decode_utf8().ok()?;
    // These separate the parts of a scope: with them in its name, a caller could ask for other scopes.
    (!from.contains([':', ' ', ','])).then(|| from.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_name_the_repository_and_what_is_done_to_it() {
        for (method, target, expected) in [
            (Method::GET, "/v2/o/app/manifests/v1", &["repository:o/app:pull"][..]),
            (Method::HEAD, "/v2/a/blobs/sha256:0", &["repository:a:pull"]),
            (Method::GET, "/v2/a/tags/list?n=1", &["repository:a:pull"]),
            (
                Method::GET,
                "/v2/a/manifests/b/tags/list",
                &["repository:a/manifests/b:pull"],
            ),
            (Method::PUT, "/v2/a/manifests/v1", &["repository:a:pull,push"]),
            (
                Method::PATCH,
                "/v2/a/blobs/uploads/id?_state=x",
                &["repository:a:pull,push"],
            ),
            (Method::DELETE, "/v2/a/manifests/sha256:0", &["repository:a:delete"]),
            (
                Method::POST,
                "/v2/a/blobs/uploads/?mount=sha256:0&from=b%2Fc",
                &["repository:a:pull,push", "repository:b/c:pull"],
            ),
            (
                Method::POST,
                "/v2/a/blobs/uploads/?from=b:push%20x",
                &["repository:a:pull,push"],
            ),
            (Method::GET, "/v2/_catalog", &["registry:catalog:*"]),
            (Method::GET, "/v2/", &[]),
            (Method::GET, "/token", &[]),
        ] {
            assert_eq!(scopes(&method, &target.parse().unwrap(), ""), expected, "{target}");
        }
        let based = "/base/v2/a/tags/list".parse().unwrap();
        assert_eq!(scopes(&Method::GET, &based, "/base"), ["repository:a:pull"]);
    }
}
