//! Which rendered bodies are in memory: the current one, and those that answers under way still read, for a while.
//!
//! An answer itself keeps none of them (see [`super::body`]), so that clients which do not read cannot.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::exposition::{Encoding, Rendered};

/// How long a replaced body is kept for those who read it. Who takes longer is cut off.
const GRACE: Duration = Duration::from_secs(10);

/// Bytes of replaced bodies that are kept beside the last replaced one: with small bodies, whose snapshots may follow
/// each other every second, a reader has its grace; of large ones there are never more than two.
const KEPT_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// How often it is looked whether somebody still reads a replaced body.
const LOOK: Duration = Duration::from_millis(50);

/// The bodies, oldest first.
#[derive(Default)]
pub(super) struct Generations {
    held: Mutex<Vec<Held>>,
}

struct Held {
    rendered: Arc<Rendered>,
    replaced: Option<Instant>,
}

impl Generations {
    /// Keeps the current body from now on: an answer is about to read it.
    pub(super) fn hold(&self, current: &Arc<Rendered>) {
        let mut held = self.held();
        if !held.iter().any(|held| Arc::ptr_eq(&held.rendered, current)) {
            held.push(Held { rendered: Arc::clone(current), replaced: None });
        }
    }

    /// Lets go of what was replaced, until the program stops.
    pub(super) async fn tidy(&self, mut current: watch::Receiver<Arc<Rendered>>, stop: CancellationToken) {
        loop {
            let newest = Arc::clone(&current.borrow_and_update());
            let is_tidy = self.sweep(&newest, Instant::now());
            drop(newest);
            tokio::select! {
                changed = current.changed() => if changed.is_err() { return },
                () = sleep(LOOK), if !is_tidy => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Whether nothing replaced is left.
    fn sweep(&self, current: &Arc<Rendered>, now: Instant) -> bool {
        let mut held = self.held();
        for held in held.iter_mut().filter(|held| !Arc::ptr_eq(&held.rendered, current)) {
            held.replaced.get_or_insert(now);
        }
        held.retain(|held| held.replaced.is_none_or(|at| is_read(&held.rendered) && now - at < GRACE));
        let replaced: Vec<u64> = held
            .iter()
            .filter(|held| held.replaced.is_some())
            .map(|held| held.rendered.frames_bytes(Encoding::Identity) + held.rendered.frames_bytes(Encoding::Gzip))
            .collect();
        let mut bytes: u64 = replaced.iter().sum();
        let mut surplus = 0;
        while bytes > KEPT_BYTES_MAX && surplus + 1 < replaced.len() {
            bytes -= replaced[surplus];
            surplus += 1;
        }
        held.drain(..surplus);
        replaced.len() == surplus
    }

    /// A panic elsewhere leaves nothing half done here: the list is usable.
    fn held(&self) -> MutexGuard<'_, Vec<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an answer under way still refers to it.
fn is_read(rendered: &Arc<Rendered>) -> bool {
    Arc::weak_count(rendered) > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_body_lives_while_it_is_read_but_not_for_ever() {
        let generations = Generations::default();
        let (first, second) = (Arc::new(Rendered::empty()), Arc::new(Rendered::empty()));
        let now = Instant::now();
        generations.hold(&first);
        let reader = Arc::downgrade(&first);
        drop(first);
        assert!(!generations.sweep(&second, now));
        assert!(!generations.sweep(&second, now + GRACE / 2));
        assert!(reader.upgrade().is_some());
        assert!(generations.sweep(&second, now + GRACE));
        assert!(reader.upgrade().is_none());
    }

    #[test]
    fn what_nobody_reads_goes_when_it_is_replaced() {
        let generations = Generations::default();
        let (first, second) = (Arc::new(Rendered::empty()), Arc::new(Rendered::empty()));
        generations.hold(&first);
        assert!(generations.sweep(&first, Instant::now()));
        assert_eq!(Arc::strong_count(&first), 2);
        assert!(generations.sweep(&second, Instant::now()));
        assert_eq!(Arc::strong_count(&first), 1);
    }
}
