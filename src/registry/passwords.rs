//! Which passwords were refused. One that is sent again and again may lock its account, so that it is left alone until
//! there is another one, or for a while: what refuses a good password for a moment is to be got over, too.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::HeaderValue;
use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;

use super::locked;

/// So long a refused password is not sent again.
const REST: Duration = Duration::from_hours(1);
/// Refused for so many repositories in a row, and accepted for none in between, a password is taken for wrong: it is
/// not tried for yet another one. A single refusal may be about the repository.
const REFUSALS_MAX: usize = 3;
/// More repositories than this, and only those still count of which a password was refused lately.
const REPOSITORIES_MAX: usize = 4096;

/// What became of the passwords that were sent to one registry and its token server.
#[derive(Default)]
pub(crate) struct Passwords {
    /// By the header that they make.
    fates: Mutex<HashMap<Box<[u8]>, Fate>>,
    /// Held while one is sent of which nobody knows whether it is right.
    proof: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
struct Fate {
    /// Whether it was taken the last time.
    accepted: bool,
    /// Repositories in a row for which it was refused.
    streak: usize,
    /// By the repository's name: when, and what was said.
    refused: HashMap<Box<str>, Refusal>,
}

struct Refusal {
    at: Instant,
    problem: String,
}

impl Passwords {
    /// Waits until nobody else is trying whether a password is right, if nobody knows of this one: several wrong ones
    /// sent at once count as several.
    pub(crate) async fn turn(&self, header: &HeaderValue) -> Option<OwnedMutexGuard<()>> {
        if self.is_accepted(header) {
            return None;
        }
        let turn = Arc::clone(&self.proof).lock_owned().await;
        (!self.is_accepted(header)).then_some(turn)
    }

    /// Why it is not sent for `repository` now: what was said when it was refused.
    pub(crate) fn problem(&self, header: &HeaderValue, repository: &str) -> Option<String> {
        let fates = locked(&self.fates);
        let fate = fates.get(header.as_bytes())?;
        let own = fate.refused.get(repository).filter(|refusal| refusal.rests());
        let any = || fate.refused.values().filter(|refusal| refusal.rests()).max_by_key(|refusal| refusal.at);
        let refusal = own.or_else(|| any().filter(|_| fate.streak >= REFUSALS_MAX))?;
        let minutes = REST.as_secs() / 60;
        Some(format!("{}; not sent again for {minutes} minutes, lest the account be locked", refusal.problem))
    }

    /// It was refused for `repository`.
    pub(crate) fn refused(&self, header: &HeaderValue, repository: &str, problem: String) {
        let mut fates = locked(&self.fates);
        // What was rotated long ago is nobody's password any more.
        fates.retain(|_, fate| fate.accepted || fate.refused.values().any(Refusal::rests));
        let fate = fates.entry(header.as_bytes().into()).or_default();
        fate.accepted = false;
        fate.streak += 1;
        if fate.refused.len() >= REPOSITORIES_MAX {
            fate.refused.retain(|_, refusal| refusal.rests());
        }
        fate.refused.insert(repository.into(), Refusal { at: Instant::now(), problem });
    }

    /// It was not refused for `repository`.
    pub(crate) fn accepted(&self, header: &HeaderValue, repository: &str) {
        let mut fates = locked(&self.fates);
        if !fates.contains_key(header.as_bytes()) {
            // Nobody rotates so often that earlier ones matter: they would only be tried once more.
            fates.retain(|_, fate| !fate.accepted);
        }
        let fate = fates.entry(header.as_bytes().into()).or_default();
        fate.accepted = true;
        fate.streak = 0;
        fate.refused.remove(repository);
    }

    fn is_accepted(&self, header: &HeaderValue) -> bool {
        locked(&self.fates).get(header.as_bytes()).is_some_and(|fate| fate.accepted)
    }
}

impl Refusal {
    fn rests(&self) -> bool {
        self.at.elapsed() < REST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(text: &'static str) -> HeaderValue {
        HeaderValue::from_static(text)
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_password_rests_for_its_repository_and_then_may_be_tried() {
        let passwords = Passwords::default();
        let wrong = header("Basic wrong");
        passwords.refused(&wrong, "a", "refused: 401".to_owned());
        let problem = passwords.problem(&wrong, "a").unwrap();
        assert_eq!(problem, "refused: 401; not sent again for 60 minutes, lest the account be locked");
        assert_eq!(passwords.problem(&wrong, "b"), None);
        assert_eq!(passwords.problem(&header("Basic other"), "a"), None);
        tokio::time::advance(REST).await;
        assert_eq!(passwords.problem(&wrong, "a"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_password_that_several_repositories_refuse_in_a_row_rests_for_all() {
        let passwords = Passwords::default();
        let wrong = header("Basic wrong");
        for repository in ["a", "b", "c"] {
            assert_eq!(passwords.problem(&wrong, "d"), None);
            passwords.refused(&wrong, repository, repository.to_owned());
        }
        assert!(passwords.problem(&wrong, "d").unwrap().contains("lest the account"));
        tokio::time::advance(REST).await;
        assert_eq!(passwords.problem(&wrong, "d"), None);
    }

    #[tokio::test]
    async fn repositories_that_are_not_ones_own_do_not_make_a_good_password_rest() {
        let passwords = Passwords::default();
        let good = header("Basic good");
        for repository in ["a", "b", "c", "d"] {
            passwords.refused(&good, repository, String::new());
            passwords.accepted(&good, "own");
        }
        assert_eq!(passwords.problem(&good, "own"), None);
        assert!(passwords.problem(&good, "a").is_some());
        passwords.accepted(&good, "a");
        assert_eq!(passwords.problem(&good, "a"), None);
    }

    #[tokio::test]
    async fn only_what_is_not_known_to_be_right_waits_for_its_turn() {
        let passwords = Passwords::default();
        let password = header("Basic password");
        let turn = passwords.turn(&password).await;
        assert!(turn.is_some());
        {
            let mut second = std::pin::pin!(passwords.turn(&password));
            assert!(futures_util::poll!(second.as_mut()).is_pending());
            passwords.accepted(&password, "a");
            drop(turn);
            assert!(second.await.is_none());
        }
        assert!(passwords.turn(&password).await.is_none());
    }
}
