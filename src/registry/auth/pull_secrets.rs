//! Logins that sources find while the program runs: the pull secrets of a cluster's pods. They are for registries for which
//! there is no other login.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::credential::SourcedLogin;
use super::docker_config::DockerConfig;
use super::secret::Secret;

/// All of them, shared between the sources that find them and the clients that need them. It cannot be printed.
#[derive(Clone, Default)]
pub struct PullSecrets(Arc<Mutex<Found>>);

/// Held for no longer than a look at the entries takes.
#[derive(Default)]
struct Found {
    next: u64,
    /// What each source found: where, and what.
    of: BTreeMap<u64, Vec<(String, DockerConfig)>>,
}

/// What one source finds. When it is dropped, its logins are forgotten.
pub struct FoundSecrets {
    all: PullSecrets,
    id: u64,
}

/// The text of a pull secret: `.dockerconfigjson`, or `.dockercfg`. It cannot be printed.
#[derive(Clone, PartialEq)]
pub struct PullSecret(Secret);

impl PullSecret {
    /// Wraps the text.
    pub fn new(text: String) -> Self {
        Self(Secret::new(text))
    }
}

impl PullSecrets {
    /// A place for what a source finds.
    pub fn of_a_source(&self) -> FoundSecrets {
        let mut found = self.0.lock();
        found.next += 1;
        FoundSecrets { all: self.clone(), id: found.next }
    }

    /// The logins for a repository, of all secrets that have one. An entry that cannot be read is none.
    pub(super) fn logins(&self, registry: &str, name: &str) -> Vec<SourcedLogin> {
        let mut logins: Vec<SourcedLogin> = Vec::new();
        for (place, config) in self.0.lock().of.values().flatten() {
            for login in config.logins(registry, name).unwrap_or_default() {
                // The same secret is in many namespaces.
                if logins.iter().all(|other| other.login.fingerprint() != login.fingerprint()) {
                    logins.push(login.found_in(place));
                }
            }
        }
        logins.truncate(LOGINS_MAX);
        logins
    }
}

/// The most logins that are tried for a repository.
const LOGINS_MAX: usize = 8;

impl FoundSecrets {
    /// These are all, each with its place, `namespace/name`. What is wrong with those that cannot be read; it quotes nothing of
    /// them but an entry's key.
    pub fn replace<'s>(&self, secrets: impl IntoIterator<Item = (&'s str, &'s PullSecret)>) -> Vec<String> {
        let (mut found, mut wrong) = (Vec::new(), Vec::new());
        for (place, PullSecret(text)) in secrets {
            let place = format!("the pull secret {place}");
            match DockerConfig::parse(text.expose()) {
                Ok(config) => {
                    wrong.extend(config.check().err().map(|error| format!("{place}: {error}")));
                    // Programs that a secret names are not this machine's.
                    found.push((place, config.without_helpers()));
                }
                Err(error) => wrong.push(format!("{place}: {error}")),
            }
        }
        self.all.0.lock().of.insert(self.id, found);
        wrong
    }
}

impl Drop for FoundSecrets {
    fn drop(&mut self) {
        self.all.0.lock().of.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(registry: &str, user: &str) -> PullSecret {
        PullSecret::new(format!(r#"{{"auths":{{"{registry}":{{"username":"{user}","password":"p"}}}}}}"#))
    }

    fn places(all: &PullSecrets, registry: &str) -> Vec<String> {
        all.logins(registry, "acme/app").into_iter().map(|login| login.source).collect()
    }

    #[test]
    fn each_login_is_found_once_and_for_as_long_as_its_source_has_it() {
        let all = PullSecrets::default();
        let a_web = "the credentials of a from the pull secret web/pull";
        let (one, two) = (all.of_a_source(), all.of_a_source());
        let (a, b, broken) =
            (secret("r.internal", "a"), secret("r.internal", "b"), PullSecret::new("hunter2".to_owned()));
        let wrong = one.replace([("web/pull", &a), ("shop/pull", &a), ("web/broken", &broken)]);
        assert_eq!(wrong, ["the pull secret web/broken: not a docker config.json (line 1, column 1)"]);
        assert_eq!(two.replace([("other/pull", &b)]), Vec::<String>::new());
        assert_eq!(places(&all, "r.internal"), [a_web, "the credentials of b from the pull secret other/pull"]);
        assert_eq!(places(&all, "elsewhere.internal"), Vec::<String>::new());
        drop(one);
        assert_eq!(places(&all, "r.internal"), ["the credentials of b from the pull secret other/pull"]);
        two.replace([]);
        assert_eq!(places(&all, "r.internal"), Vec::<String>::new());
    }
}
