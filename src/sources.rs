//! What runs, as orchestrators, engines and files name it: images that are watched without being typed.
//!
//! Each source is watched by a task of its own. It puts into its outbox everything that it sees, whenever that changes, or why
//! it sees nothing; what was seen before stays until the source answers again. It knows neither targets nor registries.

mod container;
mod outbox;
mod pulled;

#[cfg(feature = "docker")]
pub mod docker;
pub mod file;
#[cfg(feature = "kubernetes")]
pub mod kubernetes;
pub mod prometheus;

mod rules;

use std::sync::Arc;
use std::time::Duration;

use crate::oci::Reason;
use crate::target::Target;

pub use container::{Container, Workload};
pub use outbox::{Outbox, Sight, SourceError, outbox};
pub use rules::{CONTAINERS_MAX, IMAGES_MAX, PARTS_MAX, Rewrite, Rules, Sorted};

/// One `[[sources]]` entry.
#[derive(Clone, PartialEq)]
pub struct Source {
    /// What its images become: its name, and the settings for all of them.
    pub target: Arc<Target>,
    /// What is asked.
    pub kind: SourceKind,
    /// Which images count, and where they are read.
    pub rules: Rules,
}

impl Source {
    /// Sorts the containers that it sees by image. Images of other shards are left out; what is no image of any repository
    /// is every shard's. `is_part`: more may run.
    pub fn sort(&self, containers: &[Container], is_part: bool) -> Sorted {
        let mut sorted = self.rules.sort(containers);
        sorted.running.is_part = is_part;
        sorted.running.keep(|repository| self.target.repositories.include(repository));
        sorted
    }
}

/// What is asked for the containers that run.
#[derive(Clone, PartialEq)]
pub enum SourceKind {
    /// A cluster.
    #[cfg(feature = "kubernetes")]
    Kubernetes(kubernetes::Settings),
    /// An engine on this machine.
    #[cfg(feature = "docker")]
    Docker(docker::Settings),
    /// A query.
    Prometheus(Box<prometheus::Settings>),
    /// Files with a reference a line.
    Files(file::Settings),
}

/// Time for a source's first answer, for commands that need one.
const ASK_TIMEOUT: Duration = Duration::from_mins(1);

/// What a source answers when it is asked once.
pub struct Answer {
    /// What runs, as far as it could be read.
    pub sorted: Sorted,
    /// Why more may run.
    pub error: Option<SourceError>,
}

/// Asks a source once.
///
/// # Errors
/// It fails wholly, or does not answer within a minute.
pub async fn ask(source: &Source) -> Result<Answer, SourceError> {
    let (outbox, mut sight) = outbox();
    let answer = async {
        loop {
            // The outbox lives as long as this does.
            let _ = sight.changed().await;
            let now = sight.borrow_and_update().clone();
            match (now.containers, now.error) {
                (Some(containers), error) => {
                    return Ok(Answer { sorted: source.sort(&containers, now.is_part), error });
                }
                (None, Some(error)) => return Err(error),
                (None, None) => {}
            }
        }
    };
    let late = || SourceError { reason: Reason::Timeout, message: "no answer within a minute".to_owned() };
    tokio::select! {
        () = watch(&source.kind, &outbox) => Err(late()),
        answer = tokio::time::timeout(ASK_TIMEOUT, answer) => answer.unwrap_or_else(|_| Err(late())),
    }
}

/// Watches a source and puts what it sees into the outbox; never returns.
pub async fn watch(kind: &SourceKind, outbox: &Outbox) {
    match kind {
        #[cfg(feature = "kubernetes")]
        SourceKind::Kubernetes(settings) => kubernetes::watch(settings, outbox).await,
        #[cfg(feature = "docker")]
        SourceKind::Docker(settings) => docker::watch(settings, outbox).await,
        SourceKind::Prometheus(settings) => prometheus::watch(settings, outbox).await,
        SourceKind::Files(settings) => file::watch(settings, outbox).await,
    }
}
