//! Basic authentication with bcrypt (RFC 7617).
//!
//! bcrypt is slow on purpose. It runs on a blocking thread, one check at a time behind a short queue, so that guessing
//! passwords takes at most one core. A password that was right before skips the queue.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

/// The most checks that may wait for bcrypt.
const WAITING_MAX: usize = 32;

/// How many correct passwords are remembered.
const REMEMBERED_MAX: usize = 100;

/// The highest bcrypt cost that is accepted. It takes about five minutes, longer than any client waits.
const COST_MAX: u32 = 22;

/// The users that may log in.
#[derive(Default)]
pub(super) struct Users {
    /// Name to hash.
    hashes: BTreeMap<String, String>,
    /// The hash with the highest cost. Unknown users' passwords are compared with it, so that they take as long as
    /// known users'.
    decoy: String,
}

/// Whether a request may be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::web) enum Verdict {
    Allowed,
    Denied,
    /// Too many checks are waiting.
    Busy,
}

/// Checks passwords.
pub(super) struct Authenticator {
    bcrypt: Arc<Semaphore>,
    waiting: Semaphore,
    /// SHA-256 of the name, bcrypt hash and password of past successful logins.
    verified: Mutex<HashSet<[u8; 32]>>,
}

impl Default for Authenticator {
    fn default() -> Self {
        Self { bcrypt: Arc::new(Semaphore::new(1)), waiting: Semaphore::new(WAITING_MAX), verified: Mutex::default() }
    }
}

impl Users {
    /// Refuses values that are not bcrypt hashes.
    pub(super) fn new(users: BTreeMap<String, String>) -> Result<Self, String> {
        let mut costliest = 0;
        let mut decoy = String::new();
        for (name, hash) in &users {
            let parts: Result<bcrypt::HashParts, _> = hash.parse();
            match parts.map(|parts| parts.get_cost()) {
                Ok(cost @ 0..=COST_MAX) if cost > costliest => {
                    costliest = cost;
                    decoy.clone_from(hash);
                }
                Ok(0..=COST_MAX) => {}
                Ok(cost) => return Err(format!("basic_auth_users.{name}: a cost of {cost} takes minutes to check")),
                Err(_) => {
                    return Err(format!(
                        "basic_auth_users.{name}: not a bcrypt hash: `htpasswd -nBC 10 \"\"` makes one, without its leading colon"
                    ));
                }
            }
        }
        Ok(Self { hashes: users, decoy })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }
}

impl Authenticator {
    pub(super) async fn check(&self, users: &Users, authorization: Option<&HeaderValue>) -> Verdict {
        let Some((name, password)) = authorization.and_then(credentials) else { return Verdict::Denied };
        let known = users.hashes.get(&name);
        let hash = known.unwrap_or(&users.decoy).clone();
        let key = key(&name, &hash, &password);
        if known.is_some() && self.verified.lock().contains(&key) {
            return Verdict::Allowed;
        }
        let Ok(_waiting) = self.waiting.try_acquire() else { return Verdict::Busy };
        let Ok(permit) = Arc::clone(&self.bcrypt).acquire_owned().await else { return Verdict::Busy };
        let check = tokio::task::spawn_blocking(move || {
            // Held by the check rather than by the request, which its client may cancel.
            let _permit = permit;
            bcrypt::verify(password, &hash)
        });
        if !matches!(check.await, Ok(Ok(true))) || known.is_none() {
            return Verdict::Denied;
        }
        let mut verified = self.verified.lock();
        if verified.len() >= REMEMBERED_MAX {
            verified.clear();
        }
        verified.insert(key);
        Verdict::Allowed
    }
}

/// The name and the password of a `Basic` header.
fn credentials(authorization: &HeaderValue) -> Option<(String, Vec<u8>)> {
    let (scheme, encoded) = authorization.to_str().ok()?.split_once(' ')?;
    let decoded = STANDARD.decode(encoded.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let name = String::from_utf8(decoded[..colon].to_vec()).ok()?;
    Some((name, decoded[colon + 1..].to_vec()))
}

fn key(name: &str, hash: &str, password: &[u8]) -> [u8; 32] {
    let mut key = Sha256::new();
    for part in [name.as_bytes(), hash.as_bytes(), password] {
        key.update((part.len() as u64).to_le_bytes());
        key.update(part);
    }
    key.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users() -> Users {
        let hash = |password: &str| bcrypt::hash(password, 4).unwrap();
        Users::new([("ann".to_owned(), hash("right:1")), ("bob".to_owned(), hash(""))].into()).unwrap()
    }

    fn basic(text: &str) -> HeaderValue {
        format!("Basic {}", STANDARD.encode(text)).parse().unwrap()
    }

    #[tokio::test]
    async fn only_the_correct_password_of_a_known_user_is_allowed() {
        let (users, authenticator) = (users(), Authenticator::default());
        let cases = [
            (Some(basic("ann:right:1")), Verdict::Allowed),
            (Some(basic("ann:right:1")), Verdict::Allowed),
            (Some(basic("bob:")), Verdict::Allowed),
            (Some(basic("ann:right")), Verdict::Denied),
            (Some(basic("ann:")), Verdict::Denied),
            (Some(basic("bob:right:1")), Verdict::Denied),
            (Some(basic("eve:")), Verdict::Denied),
            (Some(basic("eve:right:1")), Verdict::Denied),
            (Some(basic("ann")), Verdict::Denied),
            (Some(basic("")), Verdict::Denied),
            (Some(HeaderValue::from_static("Basic %%%")), Verdict::Denied),
            (Some(HeaderValue::from_static("Bearer YW5uOnJpZ2h0OjE=")), Verdict::Denied),
            (None, Verdict::Denied),
        ];
        for (authorization, expected) in cases {
            assert_eq!(authenticator.check(&users, authorization.as_ref()).await, expected, "{authorization:?}");
        }
    }

    #[test]
    fn unknown_users_cost_as_much_as_the_costliest_known_one() {
        let hash = |cost| bcrypt::hash("secret", cost).unwrap();
        let (cheap, costly) = (hash(4), hash(5));
        let users = [("ann", &costly), ("bob", &cheap)].map(|(name, hash)| (name.to_owned(), hash.clone()));
        assert_eq!(Users::new(users.into()).unwrap().decoy, costly);
    }

    #[tokio::test]
    async fn a_changed_password_is_checked_again() {
        let authenticator = Authenticator::default();
        assert_eq!(authenticator.check(&users(), Some(&basic("ann:right:1"))).await, Verdict::Allowed);
        let changed = Users::new([("ann".to_owned(), bcrypt::hash("new", 4).unwrap())].into()).unwrap();
        assert_eq!(authenticator.check(&changed, Some(&basic("ann:right:1"))).await, Verdict::Denied);
        assert_eq!(authenticator.check(&Users::default(), Some(&basic("ann:right:1"))).await, Verdict::Denied);
    }

    #[tokio::test]
    async fn guesses_wait_in_a_short_queue_and_do_not_delay_verified_users() {
        let (users, authenticator) = (users(), Authenticator::default());
        let right = basic("ann:right:1");
        assert_eq!(authenticator.check(&users, Some(&right)).await, Verdict::Allowed);
        let permit = authenticator.bcrypt.clone().acquire_owned().await.unwrap();
        let guess = basic("ann:guess");
        let mut guesses: Vec<_> =
            (0..WAITING_MAX).map(|_| Box::pin(authenticator.check(&users, Some(&guess)))).collect();
        for guess in &mut guesses {
            assert!(poll_once(guess.as_mut()).await.is_none());
        }
        assert_eq!(authenticator.check(&users, Some(&guess)).await, Verdict::Busy);
        assert_eq!(authenticator.check(&users, Some(&right)).await, Verdict::Allowed);
        drop(permit);
        for guess in guesses {
            assert_eq!(guess.await, Verdict::Denied);
        }
    }

    /// Polls once.
    async fn poll_once<F: Future>(mut future: std::pin::Pin<&mut F>) -> Option<F::Output> {
        std::future::poll_fn(|context| {
            std::task::Poll::Ready(match future.as_mut().poll(context) {
                std::task::Poll::Ready(output) => Some(output),
                std::task::Poll::Pending => None,
            })
        })
        .await
    }

    #[test]
    fn a_value_that_is_not_a_bcrypt_hash_is_refused_unquoted() {
        for hash in ["secret", "", "$1$secret$", "$2y$31$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG"] {
            let error = Users::new([("ann".to_owned(), hash.to_owned())].into()).err().expect(hash);
            assert!(error.starts_with("basic_auth_users.ann: ") && !error.contains("secret"), "{error}");
        }
        let htpasswd = "$2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG";
        assert!(Users::new([("ann".to_owned(), htpasswd.to_owned())].into()).is_ok());
    }
}
