//! What to do about a connection that failed, where its error shows the cause.

use std::error::Error;

use http::uri::Scheme;
use http::{StatusCode, Uri};
use rustls::{CertificateError, Error as TlsError};

use crate::http::error_chain::find;
use crate::registry::error::UpstreamError;

/// What servers of TLS answer to a request without TLS, with HTTP 400: Go's, nginx, Apache, Tomcat.
const EXPECT_TLS: [&str; 4] = [
    "Client sent an HTTP request to an HTTPS server",
    "The plain HTTP request was sent to HTTPS port",
    "speaking plain HTTP to an SSL-enabled server port",
    "This combination of host and port requires TLS",
];

/// How to mend the configuration after `error`, the failure of a request for `asked`.
pub(super) fn advice(error: &(dyn Error + 'static), asked: &Uri) -> Option<&'static str> {
    if let Some(error) = find::<TlsError>(error) {
        return tls_advice(error);
    }
    let is_plain = asked.scheme() == Some(&Scheme::HTTP);
    let is_no_http = find::<hyper::Error>(error).is_some_and(|error| error.is_parse() && !error.is_parse_too_large());
    (is_plain && is_no_http).then_some("it does not answer as HTTP does: if it speaks TLS, write https://")
}

fn tls_advice(error: &TlsError) -> Option<&'static str> {
    match error {
        // `Other` holds what webpki alone has a word for, such as the certificate of an authority that a server presents as its own.
        TlsError::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::Other(_)) => Some(
            "its certificate is not trusted: name a PEM file with its authority's certificate, or with this one, in ca_file (--ca-file)",
        ),
        TlsError::InvalidMessage(_) => {
            Some("it does not answer as TLS does: if it speaks HTTP without TLS, write http://")
        }
        _ => None,
    }
}

/// The failure that an answer means whose body begins with `body`, where it says that the server expects TLS.
pub(in crate::registry) fn expects_tls(status: StatusCode, body: &[u8]) -> Option<UpstreamError> {
    if status != StatusCode::BAD_REQUEST {
        return None;
    }
    let text = String::from_utf8_lossy(body);
    let says_so = EXPECT_TLS.iter().any(|words| text.contains(words));
    let problem = "it expects TLS at this port (HTTP 400): write https:// in upstream.url, or before the host on the command line";
    says_so.then(|| UpstreamError::Invalid(problem.into()))
}
