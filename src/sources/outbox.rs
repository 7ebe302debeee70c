//! Where a source puts what it sees, for whoever needs the latest.

use std::sync::Arc;

use tokio::sync::watch;

use super::Container;
use crate::oci::Reason;

/// What is known of a source.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sight {
    /// Everything that it last saw, whole; `None` before its first answer.
    pub containers: Option<Arc<[Container]>>,
    /// When it last answered, or was known to be unchanged, in seconds since the epoch.
    pub last_success: Option<f64>,
    /// Why it does not answer now.
    pub error: Option<SourceError>,
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
#[derive(Debug)]
pub struct Outbox(watch::Sender<Sight>);

/// A source's outbox, and what reads it.
pub fn outbox() -> (Outbox, watch::Receiver<Sight>) {
    let (sender, receiver) = watch::channel(Sight::default());
    (Outbox(sender), receiver)
}

impl Outbox {
    /// The source answered at `now`, in seconds since the epoch: these are all of its containers.
    pub fn saw(&self, containers: Vec<Container>, now: f64) {
        self.0.send_modify(|sight| {
            *sight = Sight { containers: Some(containers.into()), last_success: Some(now), error: None };
        });
    }

    /// It answered at `now` that nothing has changed.
    pub fn confirmed(&self, now: f64) {
        self.0.send_modify(|sight| (sight.last_success, sight.error) = (Some(now), None));
    }

    /// It could not be read. What it last saw stays.
    pub fn failed(&self, error: SourceError) {
        self.0.send_modify(|sight| sight.error = Some(error));
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
        let kept = Sight { containers: Some(Arc::clone(&empty)), last_success: Some(1.0), error: Some(error) };
        assert_eq!(*sight.borrow(), kept);
        outbox.saw(Vec::new(), 2.0);
        assert_eq!(*sight.borrow(), Sight { containers: Some(empty), last_success: Some(2.0), error: None });
    }
}
