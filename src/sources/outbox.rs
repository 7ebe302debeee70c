//! Where a source puts what it sees, for whoever needs the latest.

use std::sync::Arc;

use tokio::sync::watch;

use super::Container;
use crate::oci::Reason;
use crate::registry::PullSecrets;

/// What is known of a source.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sight {
    /// Everything that it last saw, whole; `None` before its first answer.
    pub containers: Option<Arc<[Container]>>,
    /// When it last answered, or was known to be unchanged, in seconds since the epoch.
    pub last_success: Option<f64>,
    /// Why it does not answer now.
    pub error: Option<SourceError>,
    /// Whether a part of it was never read, so that `containers` lack what that has.
    pub is_part: bool,
}

/// Why a source could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SourceError {
    /// The label's value.
    pub reason: Reason,
    /// What happened, where, and what to do.
    pub message: String,
}

/// The sending side of a source.
pub struct Outbox {
    sight: watch::Sender<Sight>,
    pull_secrets: PullSecrets,
}

/// A source's outbox, and what reads it.
pub fn outbox() -> (Outbox, watch::Receiver<Sight>) {
    let (sender, receiver) = watch::channel(Sight::default());
    (Outbox { sight: sender, pull_secrets: PullSecrets::default() }, receiver)
}

impl Outbox {
    /// The same, with a place for the logins that the source finds: `Registries::pull_secrets`.
    #[must_use]
    pub fn with_pull_secrets(self, pull_secrets: PullSecrets) -> Self {
        Self { pull_secrets, ..self }
    }

    /// Where the source puts the logins that it finds.
    pub fn pull_secrets(&self) -> &PullSecrets {
        &self.pull_secrets
    }

    /// The source answered at `now`, in seconds since the epoch: these are all of its containers.
    pub fn saw(&self, containers: Vec<Container>, now: f64) {
        self.sight.send_modify(|sight| {
            let containers = Some(containers.into());
            *sight = Sight { containers, last_success: Some(now), error: None, is_part: false };
        });
    }

    /// It answered at `now` that nothing has changed. Wakes a reader only if it could not be read before.
    pub fn confirmed(&self, now: f64) {
        self.sight.send_if_modified(|sight| {
            sight.last_success = Some(now);
            let was_part = std::mem::take(&mut sight.is_part);
            sight.error.take().is_some() || was_part
        });
    }

    /// These are all of its containers, as far as it could be read: of the rest, what was last seen. `is_part`: whether some of
    /// the rest was never seen.
    pub fn saw_in_part(&self, containers: Vec<Container>, error: SourceError, is_part: bool) {
        self.sight.send_modify(|sight| {
            (sight.containers, sight.error) = (Some(containers.into()), Some(error));
            sight.is_part = is_part;
        });
    }

    /// It could not be read. What it last saw stays.
    pub fn failed(&self, error: SourceError) {
        self.sight.send_modify(|sight| sight.error = Some(error));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_keeps_what_was_seen_and_an_answer_ends_it() {
        let (outbox, sight) = outbox();
        assert_eq!(*sight.borrow(), Sight::default());
        outbox.saw(Vec::new(), 1.0);
        let error = SourceError { reason: Reason::Network, message: "refused".to_owned() };
        outbox.failed(error.clone());
        let empty: Arc<[Container]> = Arc::new([]);
        let kept = Sight {
            containers: Some(Arc::clone(&empty)),
            last_success: Some(1.0),
            error: Some(error.clone()),
            is_part: false,
        };
        assert_eq!(*sight.borrow(), kept);
        outbox.saw_in_part(Vec::new(), error.clone(), true);
        assert_eq!(*sight.borrow(), Sight { is_part: true, ..kept.clone() });
        outbox.failed(error.clone());
        assert!(sight.borrow().is_part);
        outbox.confirmed(1.5);
        assert_eq!(*sight.borrow(), Sight { last_success: Some(1.5), error: None, ..kept });
        outbox.saw(Vec::new(), 2.0);
        let containers = Some(empty);
        assert_eq!(*sight.borrow(), Sight { containers, last_success: Some(2.0), error: None, is_part: false });
    }
}
