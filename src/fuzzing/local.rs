//! What is on this machine or on its admin listener: Docker's configuration, password files, references, events.

use crate::admin::fuzzing::Notifications;
use crate::auth::fuzzing::users;
use crate::auth::{Credentials, DockerConfig};
use crate::cli::fuzzing::TargetReference;
use crate::oci::Reference;

/// Docker's `config.json`.
pub(super) fn docker_config(bytes: &[u8]) {
    let Ok(config) = serde_json::from_slice::<DockerConfig>(bytes) else {
        return;
    };
    for host in ["registry.example", "docker.io", "127.0.0.1:5000"] {
        let Some(credentials) = config.in_file(host) else {
            continue;
        };
        let printed = format!("{credentials:?}");
        let secret = match &credentials {
            Credentials::Password { password, user } if !user.contains(password) => password,
            Credentials::IdentityToken(token) => token,
            Credentials::Password { .. } => continue,
        };
        let is_of_the_name = "Password()IdentityToken".contains(secret);
        assert!(
            is_of_the_name || !printed.contains(secret),
            "a secret is printed: {printed}"
        );
    }
}

/// An htpasswd file.
pub(super) fn htpasswd(bytes: &[u8]) {
    if let Err(problem) = users(bytes) {
        assert!(problem.len() < 200 && !problem.contains("hunter2"), "{problem}");
    }
}

/// A `REF` of the command line.
pub(super) fn reference(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let Ok(target) = text.parse::<TargetReference>() else {
        return;
    };
    let end = match &target.reference {
        Reference::Tag(tag) => format!(":{tag}"),
        Reference::Digest(digest) => format!("@{digest}"),
    };
    let printed = format!("{}://{}{end}", target.registry.scheme(), target.repository());
    let again: TargetReference = printed.parse().expect("a reference reads back");
    assert_eq!(
        (again.registry, again.repository, again.reference),
        (target.registry, target.repository, target.reference)
    );
}

/// The body of `POST /events`.
pub(super) fn events(bytes: &[u8]) {
    if let Err(error) = Notifications::read(bytes) {
        assert!(
            !error.to_string().contains('\n'),
            "an error takes more than a line: {error:?}"
        );
    }
}
