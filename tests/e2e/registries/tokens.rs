//! A token server for one user, which signs what the registry checks (distribution project, "Token Authentication").

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::certificates::Authority;
use crate::harness::registry::Auth;

const ISSUER: &str = "tests";
const SERVICE: &str = "registry of the tests";

/// See the module. Every client gets a token; only the user's has permissions.
pub struct TokenServer {
    address: String,
    certificates: PathBuf,
    issued: Arc<AtomicUsize>,
    expired: Arc<AtomicBool>,
}

struct Signer {
    key: Authority,
    basic: String,
}

impl TokenServer {
    pub fn start(authority: &Authority, user: &str, password: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        let (issued, expired) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let signer = Signer {
            key: authority.clone(),
            basic: format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))),
        };
        let (count, old) = (Arc::clone(&issued), Arc::clone(&expired));
        // It ends with the process: each of its tests has one.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client may disconnect early.
                drop(answer(stream, &signer, &count, &old));
            }
        });
        Self { address, certificates: authority.certificate.clone(), issued, expired }
    }

    /// How a registry is told to trust it.
    pub fn auth(&self) -> Auth {
        Auth::Token {
            realm: format!("http://{}/token", self.address),
            service: SERVICE.to_owned(),
            issuer: ISSUER.to_owned(),
            certificates: self.certificates.clone(),
        }
    }

    /// Tokens issued so far.
    pub fn issued(&self) -> usize {
        self.issued.load(Ordering::SeqCst)
    }

    /// Whether the tokens from now on are an hour old and lived for a minute.
    pub fn issue_expired(&self, expired: bool) {
        self.expired.store(expired, Ordering::SeqCst);
    }
}

fn answer(mut stream: TcpStream, signer: &Signer, issued: &AtomicUsize, expired: &AtomicBool) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut authorization = String::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("authorization")
        {
            value.trim().clone_into(&mut authorization);
        }
    }
    let (status, body) = if authorization.is_empty() || authorization == signer.basic {
        let path = first.split(' ').nth(1).unwrap_or_default();
        let query = path.split_once('?').map_or("", |(_, query)| query);
        let scopes = url::form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| key == "scope");
        let allowed =
            if authorization.is_empty() { Vec::new() } else { scopes.filter_map(|(_, s)| access(&s)).collect() };
        issued.fetch_add(1, Ordering::SeqCst);
        let token = signer.token(&allowed, expired.load(Ordering::SeqCst));
        ("200 OK", json!({"token": token, "expires_in": 300}))
    } else {
        ("401 Unauthorized", json!({"details": "incorrect username or password"}))
    };
    let body = body.to_string();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// `type:name:actions` as a token has it.
fn access(scope: &str) -> Option<Value> {
    let (kind, rest) = scope.split_once(':')?;
    let (name, actions) = rest.rsplit_once(':')?;
    Some(json!({"type": kind, "name": name, "actions": actions.split(',').collect::<Vec<_>>()}))
}

impl Signer {
    fn token(&self, access: &[Value], expired: bool) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let issued = if expired { now - 3600 } else { now - 10 };
        let lifetime = if expired { 60 } else { 310 };
        let header = json!({"typ": "JWT", "alg": "RS256", "x5c": [self.key.x5c()]});
        let claims = json!({
            "iss": ISSUER, "sub": "alice", "aud": SERVICE, "iat": issued, "nbf": issued, "exp": issued + lifetime,
            "jti": issued.to_string(), "access": access,
        });
        let text =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signature = URL_SAFE_NO_PAD.encode(self.key.sign(&text));
        format!("{text}.{signature}")
    }
}
