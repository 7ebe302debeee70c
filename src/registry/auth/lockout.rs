//! Protection against account lock-out: a refused password is not sent again until another one is configured or an hour
//! has passed, since a registry may also refuse a good password for a while.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;
use tokio::time::{Instant, timeout};

/// How long a refused password is not sent again.
const BLOCK: Duration = Duration::from_hours(1);
/// After refusals for so many repositories in a row, without a success in between, a password counts as wrong and is
/// not tried for any other repository. A single refusal may be about the repository.
const REFUSALS_MAX: usize = 3;
/// How long an accepted password counts as right, so that requests need not wait for each other. It may be replaced
/// before the next scan.
const PROVEN: Duration = Duration::from_secs(30);
/// How long a request waits for another one that tries the password. A registry that does not answer does not count
/// failed logins.
const TRIAL_WAIT_MAX: Duration = Duration::from_secs(10);
/// With more repositories than this, only those with a recent refusal are kept.
const REPOSITORIES_MAX: usize = 4096;
/// Passwords of one registry whose history is kept: parts of a registry may have their own, and each is replaced some
/// day.
const PASSWORDS_MAX: usize = 16;

/// Which passwords one registry and its token server accepted and refused.
#[derive(Default)]
pub(crate) struct Lockout {
    /// By the `Basic` header.
    passwords: Mutex<HashMap<Box<[u8]>, PasswordHistory>>,
    /// Held while an unproven password is sent.
    trial: Arc<tokio::sync::Mutex<()>>,
}

/// How the registry answered one password.
#[derive(Default)]
struct PasswordHistory {
    last_sent: Option<Instant>,
    /// When it was accepted, if that was the last answer.
    accepted: Option<Instant>,
    /// How often it was accepted.
    acceptances: u64,
    /// Repositories for which it was accepted, and not refused since.
    accepted_for: HashSet<Box<str>>,
    /// By the repository's name.
    refusals: HashMap<Box<str>, PasswordRefusal>,
}

struct PasswordRefusal {
    at: Instant,
    /// How often the password had been accepted by then.
    acceptances: u64,
    problem: String,
}

impl Lockout {
    /// Waits until no other request is trying an unproven password, and reserves the trial; `None` where the password is
    /// proven, or the wait is too long. Several wrong passwords sent at once would count as several failed logins.
    pub(crate) async fn trial(&self, header: &HeaderValue) -> Option<OwnedMutexGuard<()>> {
        if self.is_proven(header) {
            return None;
        }
        let trial = timeout(TRIAL_WAIT_MAX, Arc::clone(&self.trial).lock_owned()).await.ok()?;
        (!self.is_proven(header)).then_some(trial)
    }

    /// Why the password must not be sent for `repository` now: the message of the refusal.
    pub(crate) fn block(&self, header: &HeaderValue, repository: &str) -> Option<String> {
        let passwords = self.passwords.lock();
        let history = passwords.get(header.as_bytes())?;
        let own = history.refusals.get(repository).filter(|refusal| refusal.blocks());
        let refusal = match own {
            None if history.accepted_for.contains(repository) => None,
            None => history.refused_in_a_row(),
            own => own,
        }?;
        let minutes = BLOCK.as_secs() / 60;
        Some(format!(
            "{}; the password is not sent again for {minutes} minutes or until a reload, because further failures may lock the account",
            refusal.problem
        ))
    }

    /// Notes that the password was refused for `repository`.
    pub(crate) fn note_refused(&self, header: &HeaderValue, repository: &str, problem: String) {
        let mut passwords = self.passwords.lock();
        let history = history_of(&mut passwords, header);
        history.accepted = None;
        if history.accepted_for.contains(repository) {
            // It was changed, or its user lost a permission, perhaps for other repositories as well.
            history.accepted_for.clear();
        }
        if history.refusals.len() >= REPOSITORIES_MAX {
            history.refusals.retain(|_, refusal| refusal.blocks());
        }
        let refusal = PasswordRefusal { at: Instant::now(), acceptances: history.acceptances, problem };
        history.refusals.insert(repository.into(), refusal);
    }

    /// Notes that the password was accepted for `repository`.
    pub(crate) fn note_accepted(&self, header: &HeaderValue, repository: &str) {
        let mut passwords = self.passwords.lock();
        let history = history_of(&mut passwords, header);
        history.accepted = history.last_sent;
        history.acceptances += 1;
        history.refusals.remove(repository);
        if history.accepted_for.len() < REPOSITORIES_MAX && !history.accepted_for.contains(repository) {
            history.accepted_for.insert(repository.into());
        }
    }

    /// Forgets all refusals.
    pub(crate) fn reset(&self) {
        for history in self.passwords.lock().values_mut() {
            history.refusals.clear();
        }
    }

    fn is_proven(&self, header: &HeaderValue) -> bool {
        let passwords = self.passwords.lock();
        passwords.get(header.as_bytes()).and_then(|history| history.accepted).is_some_and(|at| at.elapsed() < PROVEN)
    }
}

/// The history of a password that was just sent. The least recently sent one is dropped for it: it was replaced long
/// ago.
fn history_of<'a>(
    passwords: &'a mut HashMap<Box<[u8]>, PasswordHistory>,
    header: &HeaderValue,
) -> &'a mut PasswordHistory {
    if passwords.len() >= PASSWORDS_MAX && !passwords.contains_key(header.as_bytes()) {
        let oldest = passwords.iter().min_by_key(|(_, history)| history.last_sent).map(|(header, _)| header.clone());
        oldest.and_then(|oldest| passwords.remove(&oldest));
    }
    let history = passwords.entry(header.as_bytes().into()).or_default();
    history.last_sent = Some(Instant::now());
    history
}

impl PasswordHistory {
    /// The last of `REFUSALS_MAX` or more refusals since the password was accepted.
    fn refused_in_a_row(&self) -> Option<&PasswordRefusal> {
        let in_a_row = || self.refusals.values().filter(|one| one.acceptances == self.acceptances && one.blocks());
        in_a_row().max_by_key(|one| one.at).filter(|_| in_a_row().count() >= REFUSALS_MAX)
    }
}

impl PasswordRefusal {
    fn blocks(&self) -> bool {
        self.at.elapsed() < BLOCK
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(text: &'static str) -> HeaderValue {
        HeaderValue::from_static(text)
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_password_is_blocked_for_its_repository_for_an_hour() {
        let lockout = Lockout::default();
        let wrong = header("Basic wrong");
        lockout.note_refused(&wrong, "a", "refused: 401".to_owned());
        let problem = lockout.block(&wrong, "a").unwrap();
        assert_eq!(
            problem,
            "refused: 401; the password is not sent again for 60 minutes or until a reload, because further failures may lock the account"
        );
        assert_eq!(lockout.block(&wrong, "b"), None);
        assert_eq!(lockout.block(&header("Basic other"), "a"), None);
        tokio::time::advance(BLOCK).await;
        assert_eq!(lockout.block(&wrong, "a"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_password_that_several_repositories_refuse_in_a_row_is_blocked_for_all() {
        let lockout = Lockout::default();
        let wrong = header("Basic wrong");
        for repository in ["a", "b", "c"] {
            assert_eq!(lockout.block(&wrong, "d"), None);
            lockout.note_refused(&wrong, repository, repository.to_owned());
        }
        assert!(lockout.block(&wrong, "d").unwrap().contains("may lock the account"));
        tokio::time::advance(BLOCK).await;
        assert_eq!(lockout.block(&wrong, "d"), None);
    }

    #[tokio::test]
    async fn refusals_for_single_repositories_do_not_block_a_good_password() {
        let lockout = Lockout::default();
        let good = header("Basic good");
        for repository in ["a", "b", "c", "d"] {
            lockout.note_refused(&good, repository, String::new());
            lockout.note_accepted(&good, "own");
        }
        assert_eq!(lockout.block(&good, "own"), None);
        assert!(lockout.block(&good, "a").is_some());
        lockout.note_accepted(&good, "a");
        assert_eq!(lockout.block(&good, "a"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_that_are_long_past_or_of_the_same_repository_do_not_add_up() {
        let lockout = Lockout::default();
        let good = header("Basic good");
        for _ in 0..5 {
            lockout.note_refused(&good, "a", String::new());
            tokio::time::advance(BLOCK / 2).await;
            lockout.note_refused(&good, "b", String::new());
            tokio::time::advance(BLOCK / 2).await;
            assert_eq!(lockout.block(&good, "own"), None);
        }
    }

    #[tokio::test]
    async fn a_repository_that_accepted_the_password_gets_it_until_that_repository_refuses_it() {
        let lockout = Lockout::default();
        let password = header("Basic password");
        for own in ["own", "another"] {
            lockout.note_accepted(&password, own);
        }
        for repository in ["a", "b", "c"] {
            lockout.note_refused(&password, repository, String::new());
        }
        assert!(lockout.block(&password, "d").is_some());
        assert_eq!(lockout.block(&password, "own"), None);
        lockout.note_accepted(&password, "own");
        assert_eq!(lockout.block(&password, "d"), None, "it is right");
        for repository in ["d", "e", "own"] {
            assert_eq!(lockout.block(&password, repository), None);
            lockout.note_refused(&password, repository, String::new());
        }
        assert!(lockout.block(&password, "another").is_some(), "it was right");
        lockout.reset();
        assert_eq!(lockout.block(&password, "another"), None);
    }

    #[tokio::test]
    async fn several_passwords_may_be_right_and_old_ones_are_forgotten() {
        let lockout = Lockout::default();
        let [one, other] = [header("Basic one"), header("Basic other")];
        for password in [&one, &other] {
            lockout.note_accepted(password, "a");
        }
        assert!(lockout.is_proven(&one) && lockout.is_proven(&other));
        for number in 0..PASSWORDS_MAX {
            lockout.note_refused(&HeaderValue::try_from(format!("Basic {number}")).unwrap(), "a", String::new());
        }
        assert!(!lockout.is_proven(&one));
        assert_eq!(lockout.passwords.lock().len(), PASSWORDS_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn a_password_is_proven_for_a_while_and_no_request_waits_for_ever() {
        let lockout = Lockout::default();
        let password = header("Basic password");
        lockout.note_accepted(&password, "a");
        assert!(lockout.trial(&password).await.is_none());
        tokio::time::advance(PROVEN).await;
        let trial = lockout.trial(&password).await;
        assert!(trial.is_some());
        let asked = Instant::now();
        assert!(lockout.trial(&password).await.is_none());
        assert_eq!(asked.elapsed(), TRIAL_WAIT_MAX);
    }

    #[tokio::test]
    async fn only_unproven_passwords_wait_for_a_trial() {
        let lockout = Lockout::default();
        let password = header("Basic password");
        let trial = lockout.trial(&password).await;
        assert!(trial.is_some());
        {
            let mut second = std::pin::pin!(lockout.trial(&password));
            assert!(futures_util::poll!(second.as_mut()).is_pending());
            lockout.note_accepted(&password, "a");
            drop(trial);
            assert!(second.await.is_none());
        }
        assert!(lockout.trial(&password).await.is_none());
    }
}
