//! Environment variables as configuration keys: `REFSHIM_SERVER__LISTEN` is `server.listen`, `REFSHIM_UPSTREAM__0__URL` is
//! `upstream[0].url`, and `REFSHIM_UPSTREAM` alone is short for the latter.

use super::error::ConfigError;

const PREFIX: &str = "REFSHIM_";
const LEVEL: &str = "__";
/// Largest index in a variable's name. Lists grow to the index, so that a typing error cannot make one huge.
const MAX_INDEX: usize = 99;

/// The meaning of a variable's name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Variable {
    /// Not meant for the configuration.
    Other,
    /// The key's path, as in error messages.
    Key(String),
}

/// Reads the name of a variable.
pub(super) fn variable(name: &str) -> Result<Variable, ConfigError> {
    let Some(rest) = name.strip_prefix(PREFIX) else {
        return Ok(Variable::Other);
    };
    match rest {
        "CONFIG" => return Ok(Variable::Other),
        "UPSTREAM" => return Ok(Variable::Key("upstream[0].url".to_owned())),
        _ if is_service_link(rest) => return Ok(Variable::Other),
        _ => {}
    }
    if !rest.contains(LEVEL) {
        let problem = "is no known variable: write REFSHIM_<SECTION>__<KEY>, two underscores between levels";
        return Err(ConfigError::new(name, problem));
    }
    let mut path = String::new();
    for segment in rest.split(LEVEL) {
        let index = segment.parse::<usize>().ok();
        match index {
            Some(index) if index <= MAX_INDEX && !path.is_empty() => path.push_str(&format!("[{index}]")),
            None if is_key(segment) => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(&segment.to_ascii_lowercase());
            }
            _ => {
                return Err(ConfigError::new(
                    name,
                    format!("'{segment}' is neither a key nor an index up to 99"),
                ));
            }
        }
    }
    Ok(Variable::Key(path))
}

fn is_key(segment: &str) -> bool {
    segment.starts_with(|c: char| c.is_ascii_alphabetic())
        && segment.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Whether Kubernetes sets this variable: in a namespace with a Service called `refshim`, every pod gets `REFSHIM_SERVICE_HOST`,
/// `REFSHIM_PORT_5100_TCP_ADDR` and the like, which must not prevent refshim from starting.
fn is_service_link(rest: &str) -> bool {
    let padded = format!("_{rest}");
    padded.ends_with("_SERVICE_HOST")
        || padded.contains("_SERVICE_PORT")
        || padded.ends_with("_PORT")
        || ["_TCP", "_UDP", "_SCTP"]
            .iter()
            .any(|protocol| padded.contains("_PORT_") && padded.contains(protocol))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_paths() {
        let key = |name: &str| variable(name).unwrap();
        assert_eq!(key("REFSHIM_SERVER__LISTEN"), Variable::Key("server.listen".into()));
        assert_eq!(
            key("REFSHIM_UPSTREAM__1__CA_FILE"),
            Variable::Key("upstream[1].ca_file".into())
        );
        assert_eq!(key("REFSHIM_UPSTREAM"), Variable::Key("upstream[0].url".into()));
        assert_eq!(key("REFSHIM_CONFIG"), Variable::Other);
        assert_eq!(key("PATH"), Variable::Other);
    }

    #[test]
    fn a_slip_is_an_error_and_a_kubernetes_service_link_is_not() {
        assert!(variable("REFSHIM_SERVER_LISTEN").is_err());
        assert!(variable("REFSHIM_UPSTREAM__100000__URL").is_err());
        assert!(variable("REFSHIM_SERVER____LISTEN").is_err());
        for link in [
            "REFSHIM_SERVICE_HOST",
            "REFSHIM_SERVICE_PORT_HTTP",
            "REFSHIM_PORT",
            "REFSHIM_PORT_5100_TCP",
            "REFSHIM_PORT_5100_TCP_ADDR",
            "REFSHIM_ADMIN_PORT_5101_TCP_PROTO",
        ] {
            assert_eq!(variable(link), Ok(Variable::Other), "{link}");
        }
    }
}
