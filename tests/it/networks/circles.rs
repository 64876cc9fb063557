//! refshim in front of itself, seen at its start. `upstreams` has the circles that show only when a request comes back.

use crate::support::cli::refshim_in;
use crate::support::process::free_port;

#[tokio::test]
async fn refshim_does_not_start_in_front_of_itself() {
    let (port, admin) = (free_port(), free_port());
    for (upstream, listen, key) in [
        (
            format!("http://127.0.0.1:{port}"),
            format!("127.0.0.1:{port}"),
            "server.listen",
        ),
        (
            format!("http://localhost:{port}"),
            format!("0.0.0.0:{port}"),
            "server.listen",
        ),
        (
            format!("http://127.0.0.1:{admin}"),
            "127.0.0.1:0".to_owned(),
            "admin.listen",
        ),
    ] {
        let admin = format!("127.0.0.1:{admin}");
        let arguments = [
            "serve",
            "--upstream",
            &upstream,
            "--listen",
            &listen,
            "--admin-listen",
            &admin,
        ];
        let said = refshim_in(&[], &arguments).await.refused(2);
        let expected = format!("is refshim's own address ({key}): give the registry's");
        assert!(said.contains(&expected), "{said}");
    }
}
