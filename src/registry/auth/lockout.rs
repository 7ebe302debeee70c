//! Which passwords were refused. One that is sent again and again may lock its account, so that it is left alone until
//! there is another one, or for a while: what refuses a good password for a moment is to be got over, too.

use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use tokio::sync::OwnedMutexGuard;
use tokio::time::{Instant, timeout};

/// So long a refused password is not sent again.
const REST: Duration = Duration::from_hours(1);
/// Refused for so many repositories in a row, and accepted for none in between, a password is taken for wrong: it is
/// not tried for yet another one. A single refusal may be about the repository.
const REFUSALS_MAX: usize = 3;
/// So long a password that was accepted is taken for right by all who ask at once. It may be another one by the next scan.
const PROOF: Duration = Duration::from_secs(30);
/// Whoever tries a password is waited for so long: a registry that does not answer does not refuse it either.
const TURN_MAX: Duration = Duration::from_secs(10);
/// More repositories than this, and only those still count of which a password was refused lately.
const REPOSITORIES_MAX: usize = 4096;
/// Passwords of one registry of which something is known: parts of it may have their own, and each is replaced some day.
const PASSWORDS_MAX: usize = 16;

/// What became of the passwords that were sent to one registry and its token server.
#[derive(Default)]
pub(crate) struct Lockout {
    /// By the header that they make.
    fates: Mutex<HashMap<Box<[u8]>, Fate>>,
    /// Held while one is sent of which nobody knows whether it is right.
    proof: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
struct Fate {
    /// When it was sent the last time.
    sent: Option<Instant>,
    /// When it was accepted, if it was the last time.
    accepted: Option<Instant>,
    /// How often it was accepted.
    acceptances: u64,
    /// Repositories for which it was accepted, none of which has refused it since.
    known: HashSet<Box<str>>,
    /// By the repository's name.
    refused: HashMap<Box<str>, Refusal>,
}

struct Refusal {
    at: Instant,
    /// How often the password had been accepted by then.
    acceptances: u64,
    problem: String,
}

impl Lockout {
    /// Waits until nobody else is trying whether a password is right, if nobody knows of this one: several wrong ones
    /// sent at once count as several.
    pub(crate) async fn turn(&self, header: &HeaderValue) -> Option<OwnedMutexGuard<()>> {
        if self.is_accepted(header) {
            return None;
        }
        let turn = timeout(TURN_MAX, Arc::clone(&self.proof).lock_owned()).await.ok()?;
        (!self.is_accepted(header)).then_some(turn)
    }

    /// Why it is not sent for `repository` now: what was said when it was refused.
    pub(crate) fn problem(&self, header: &HeaderValue, repository: &str) -> Option<String> {
        let fates = self.fates.lock();
        let fate = fates.get(header.as_bytes())?;
        let own = fate.refused.get(repository).filter(|refusal| refusal.rests());
        let refusal = match own {
            None if fate.known.contains(repository) => None,
            None => fate.refused_in_a_row(),
            own => own,
        }?;
        let minutes = REST.as_secs() / 60;
        Some(format!(
            "{}; not sent again for {minutes} minutes or until a reload, lest the account be locked",
            refusal.problem
        ))
    }

    /// It was refused for `repository`.
    pub(crate) fn refused(&self, header: &HeaderValue, repository: &str, problem: String) {
        let mut fates = self.fates.lock();
        let fate = sent(&mut fates, header);
        fate.accepted = None;
        if fate.known.contains(repository) {
            // It is another one now, or its user lost a right: nobody knows for how many repositories.
            fate.known.clear();
        }
        if fate.refused.len() >= REPOSITORIES_MAX {
            fate.refused.retain(|_, refusal| refusal.rests());
        }
        let refusal = Refusal { at: Instant::now(), acceptances: fate.acceptances, problem };
        fate.refused.insert(repository.into(), refusal);
    }

    /// It was not refused for `repository`.
    pub(crate) fn accepted(&self, header: &HeaderValue, repository: &str) {
        let mut fates = self.fates.lock();
        let fate = sent(&mut fates, header);
        fate.accepted = fate.sent;
        fate.acceptances += 1;
        fate.refused.remove(repository);
        if fate.known.len() < REPOSITORIES_MAX && !fate.known.contains(repository) {
            fate.known.insert(repository.into());
        }
    }

    /// Whoever looks after the registry says that it is worth another try.
    pub(crate) fn forgive(&self) {
        for fate in self.fates.lock().values_mut() {
            fate.refused.clear();
        }
    }

    fn is_accepted(&self, header: &HeaderValue) -> bool {
        let fates = self.fates.lock();
        fates.get(header.as_bytes()).and_then(|fate| fate.accepted).is_some_and(|at| at.elapsed() < PROOF)
    }
}

/// What is known of a password that was sent just now. What was rotated long ago is nobody's password any more.
fn sent<'a>(fates: &'a mut HashMap<Box<[u8]>, Fate>, header: &HeaderValue) -> &'a mut Fate {
    if fates.len() >= PASSWORDS_MAX && !fates.contains_key(header.as_bytes()) {
        let oldest = fates.iter().min_by_key(|(_, fate)| fate.sent).map(|(header, _)| header.clone());
        oldest.and_then(|oldest| fates.remove(&oldest));
    }
    let fate = fates.entry(header.as_bytes().into()).or_default();
    fate.sent = Some(Instant::now());
    fate
}

impl Fate {
    /// The last of so many refusals since it was accepted that it is taken for wrong.
    fn refused_in_a_row(&self) -> Option<&Refusal> {
        let in_a_row = || self.refused.values().filter(|one| one.acceptances == self.acceptances && one.rests());
        in_a_row().max_by_key(|one| one.at).filter(|_| in_a_row().count() >= REFUSALS_MAX)
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
        let passwords = Lockout::default();
        let wrong = header("Basic wrong");
        passwords.refused(&wrong, "a", "refused: 401".to_owned());
        let problem = passwords.problem(&wrong, "a").unwrap();
        assert_eq!(
            problem,
            "refused: 401; not sent again for 60 minutes or until a reload, lest the account be locked"
        );
        assert_eq!(passwords.problem(&wrong, "b"), None);
        assert_eq!(passwords.problem(&header("Basic other"), "a"), None);
        tokio::time::advance(REST).await;
        assert_eq!(passwords.problem(&wrong, "a"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_password_that_several_repositories_refuse_in_a_row_rests_for_all() {
        let passwords = Lockout::default();
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
        let passwords = Lockout::default();
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

    #[tokio::test(start_paused = true)]
    async fn refusals_that_are_long_past_or_of_the_same_repository_do_not_add_up() {
        let passwords = Lockout::default();
        let good = header("Basic good");
        for _ in 0..5 {
            passwords.refused(&good, "a", String::new());
            tokio::time::advance(REST / 2).await;
            passwords.refused(&good, "b", String::new());
            tokio::time::advance(REST / 2).await;
            assert_eq!(passwords.problem(&good, "own"), None);
        }
    }

    #[tokio::test]
    async fn a_repository_that_took_the_password_is_asked_until_it_refuses_it_itself() {
        let passwords = Lockout::default();
        let password = header("Basic password");
        for own in ["own", "another"] {
            passwords.accepted(&password, own);
        }
        for repository in ["a", "b", "c"] {
            passwords.refused(&password, repository, String::new());
        }
        assert!(passwords.problem(&password, "d").is_some());
        assert_eq!(passwords.problem(&password, "own"), None);
        passwords.accepted(&password, "own");
        assert_eq!(passwords.problem(&password, "d"), None, "it is right");
        for repository in ["d", "e", "own"] {
            assert_eq!(passwords.problem(&password, repository), None);
            passwords.refused(&password, repository, String::new());
        }
        assert!(passwords.problem(&password, "another").is_some(), "it was right");
        passwords.forgive();
        assert_eq!(passwords.problem(&password, "another"), None);
    }

    #[tokio::test]
    async fn several_passwords_may_be_right_and_old_ones_are_forgotten() {
        let passwords = Lockout::default();
        let [one, other] = [header("Basic one"), header("Basic other")];
        for password in [&one, &other] {
            passwords.accepted(password, "a");
        }
        assert!(passwords.is_accepted(&one) && passwords.is_accepted(&other));
        for number in 0..PASSWORDS_MAX {
            passwords.refused(&HeaderValue::try_from(format!("Basic {number}")).unwrap(), "a", String::new());
        }
        assert!(!passwords.is_accepted(&one));
        assert_eq!(passwords.fates.lock().len(), PASSWORDS_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn a_password_is_proved_anew_after_a_while_and_nobody_waits_for_ever() {
        let passwords = Lockout::default();
        let password = header("Basic password");
        passwords.accepted(&password, "a");
        assert!(passwords.turn(&password).await.is_none());
        tokio::time::advance(PROOF).await;
        let turn = passwords.turn(&password).await;
        assert!(turn.is_some());
        let asked = Instant::now();
        assert!(passwords.turn(&password).await.is_none());
        assert_eq!(asked.elapsed(), TURN_MAX);
    }

    #[tokio::test]
    async fn only_what_is_not_known_to_be_right_waits_for_its_turn() {
        let passwords = Lockout::default();
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
