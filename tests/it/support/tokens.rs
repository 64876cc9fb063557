//! A token server: it signs who may do what where, and a registry with `auth: token` believes it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};

use super::certificate;
use super::registry::Builder;
use super::service::Service;

const SERVICE: &str = "registry.tests";
const ISSUER: &str = "tokens.tests";
/// Seconds for which a token is good that says nothing else.
const LIFETIME: i64 = 300;

/// Name and password.
pub type User = (&'static str, &'static str);

/// A running token server.
pub struct TokenService {
    shared: Arc<Shared>,
    service: Service,
    folder: tempfile::TempDir,
}

struct Shared {
    state: Mutex<State>,
}

struct State {
    signer: Signer,
    passwords: HashMap<&'static str, &'static str>,
    /// What is exchanged for tokens of whom.
    identities: HashMap<String, &'static str>,
    /// By user (`None`: whoever gives no name) and repository, the actions.
    grants: HashMap<(Option<&'static str>, &'static str), Vec<&'static str>>,
}

impl TokenService {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let state = State {
            signer: Signer::new(folder.path()),
            passwords: HashMap::new(),
            identities: HashMap::new(),
            grants: HashMap::new(),
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
        });
        let answering = shared.clone();
        let service = Service::start(move |request| answering.answer(request)).await;
        Self {
            shared,
            service,
            folder,
        }
    }

    /// Makes a registry ask for tokens of this server.
    pub fn guard(&self, registry: Builder) -> Builder {
        registry.tokens(&self.realm(), SERVICE, ISSUER, &self.certificates())
    }

    pub fn realm(&self) -> String {
        format!("{}/token", self.service.url())
    }

    fn certificates(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    /// Lets a user (`None`: anybody) do `actions` in `repository`.
    pub fn allow(&self, user: Option<User>, repository: &'static str, actions: &[&'static str]) {
        self.shared.change(|state| {
            state.passwords.extend(user);
            let key = (user.map(|(name, _)| name), repository);
            state.grants.insert(key, actions.to_vec());
        });
    }

    /// What this user's clients keep in place of a password, after a login in a browser.
    pub fn identity(&self, user: User) -> String {
        let identity = format!("identity-{:032x}", rand::random::<u128>());
        self.shared
            .change(|state| state.identities.insert(identity.clone(), user.0));
        identity
    }

    /// The next tokens of a user say nothing of `repository`. Those that are out there stay good.
    pub fn revoke(&self, user: Option<User>, repository: &'static str) {
        let key = (user.map(|(name, _)| name), repository);
        self.shared.change(|state| state.grants.remove(&key));
    }

    /// A new key: a registry that is restarted believes no earlier token.
    pub fn rotate(&self) {
        let signer = Signer::new(self.folder.path());
        self.shared.change(|state| state.signer = signer);
    }

    /// `Bearer …` as a client of this user would fetch it, good for `lifetime` seconds from now; less than zero: expired
    /// that long ago.
    pub fn bearer(&self, user: Option<User>, scope: &str, lifetime: i64) -> String {
        let name = user.map(|(name, _)| name);
        let token = self.shared.change(|state| state.token(name, &[scope], lifetime));
        format!("Bearer {token}")
    }
}

impl Shared {
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().expect("no test panics in here"))
    }

    /// A GET asks with a password or nobody's name (distribution's "Token Authentication"), a POST with an identity token ("OAuth2").
    fn answer(&self, request: &Request<Bytes>) -> Response<Bytes> {
        let is_exchange = request.method() == Method::POST;
        let query = request.uri().query().unwrap_or_default();
        let parameters = if is_exchange { request.body() } else { query.as_bytes() };
        let parameters: Vec<(String, String)> = url::form_urlencoded::parse(parameters).into_owned().collect();
        let scopes = parameters.iter().filter(|(name, _)| name == "scope");
        let scopes: Vec<&str> = scopes.flat_map(|(_, scope)| scope.split(' ')).collect();
        let token = self.change(|state| {
            let user = match is_exchange {
                true => Some(state.exchanging(&parameters)?),
                false => state.user(request.headers())?,
            };
            Some(state.token(user, &scopes, LIFETIME))
        });
        let field = if is_exchange { "access_token" } else { "token" };
        token.map_or_else(refused, |token| given(field, &token))
    }
}

fn given(field: &str, token: &str) -> Response<Bytes> {
    let answer = json!({field: token, "expires_in": LIFETIME}).to_string();
    let mut response = Response::new(Bytes::from(answer));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

fn refused() -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    let basic = HeaderValue::from_static("Basic realm=\"tokens\"");
    response.headers_mut().insert(WWW_AUTHENTICATE, basic);
    response
}

impl State {
    /// Who asks; nobody in particular is somebody too. `None` for a wrong password.
    fn user(&self, headers: &HeaderMap) -> Option<Option<&'static str>> {
        let Some(authorization) = headers.get(AUTHORIZATION) else {
            return Some(None);
        };
        let pair = STANDARD
            .decode(authorization.to_str().ok()?.strip_prefix("Basic ")?)
            .ok()?;
        let pair = String::from_utf8(pair).ok()?;
        let (name, password) = pair.split_once(':')?;
        let mut known = self.passwords.iter();
        known
            .find(|&(known, right)| (*known, *right) == (name, password))
            .map(|(name, _)| Some(*name))
    }

    /// Whose identity token a form exchanges. `None` for one that is not known, and for a form that is not as the specification has it.
    fn exchanging(&self, form: &[(String, String)]) -> Option<&'static str> {
        let value = |name: &str| Some(form.iter().find(|(key, _)| key == name)?.1.as_str());
        let is_whole = value("grant_type") == Some("refresh_token") && value("service") == Some(SERVICE);
        value("client_id").filter(|id| is_whole && !id.is_empty())?;
        self.identities.get(value("refresh_token")?).copied()
    }

    fn token(&self, user: Option<&'static str>, scopes: &[&str], lifetime: i64) -> String {
        let access: Vec<Value> = scopes.iter().filter_map(|scope| self.access(user, scope)).collect();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock past 1970");
        let now = i64::try_from(now.as_secs()).expect("a clock before the end of time");
        self.signer.sign(&json!({
            "iss": ISSUER,
            "sub": user.unwrap_or_default(),
            "aud": SERVICE,
            "exp": now + lifetime,
            "nbf": now - 3600,
            "iat": now - 3600,
            "jti": format!("{:032x}", rand::random::<u128>()),
            "access": access,
        }))
    }

    /// What of `repository:<name>:<actions>` this user gets.
    fn access(&self, user: Option<&'static str>, scope: &str) -> Option<Value> {
        let (kind, rest) = scope.split_once(':')?;
        let (name, actions) = rest.rsplit_once(':')?;
        let granted = |user| {
            self.grants
                .iter()
                .find(|((who, what), _)| *who == user && *what == name)
        };
        let grants = [granted(None), granted(user)].into_iter().flatten();
        let allowed: Vec<&str> = grants.flat_map(|(_, actions)| actions.iter().copied()).collect();
        let actions: Vec<&str> = actions.split(',').filter(|action| allowed.contains(action)).collect();
        Some(json!({"type": kind, "name": name, "actions": actions}))
    }
}

/// Signs with a key whose certificate it encloses.
struct Signer {
    key: EcdsaKeyPair,
    certificate: String,
    random: SystemRandom,
}

impl Signer {
    /// With a new key, whose certificate is left in `folder`.
    fn new(folder: &Path) -> Self {
        certificate::make(folder);
        let certificate = CertificateDer::from_pem_file(folder.join("cert.pem"));
        let key = PrivatePkcs8KeyDer::from_pem_file(folder.join("key.pem")).expect("a private key");
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.secret_pkcs8_der(), &random);
        Self {
            key: key.expect("a key of P-256"),
            certificate: STANDARD.encode(certificate.expect("a certificate")),
            random,
        }
    }

    fn sign(&self, claims: &Value) -> String {
        let header = json!({"typ": "JWT", "alg": "ES256", "x5c": [self.certificate]});
        let encoded = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let signed = format!("{}.{}", encoded(&header), encoded(claims));
        let signature = self.key.sign(&self.random, signed.as_bytes()).expect("a signature");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}
