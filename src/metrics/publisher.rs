//! Renders what each snapshot changes on a blocking thread, and keeps at most two generations of bytes in memory, which
//! share what is the same in both, however slowly clients read.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

use super::family::Family;
use super::own::{TargetState, Telemetry};
use super::rendered::{Rendered, Shown};
use crate::inventory::Snapshot;

/// How long replaced bytes are kept for answers that still read them. A slower answer is cut off, so that a client
/// that does not read cannot keep old bodies in memory.
const GRACE: Duration = Duration::from_secs(10);

/// How often to check whether an answer still reads them.
const CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// Renders snapshots for the readers of its channel.
pub struct Publisher {
    current: watch::Sender<Arc<Rendered>>,
    /// Holds the previous generation until no answer reads it or its grace is over.
    retiring: Option<JoinHandle<()>>,
    telemetry: Arc<Telemetry>,
}

/// A publisher and its channel, which starts with an empty body. Readers must not hold a [`Rendered`] for longer than
/// it takes to send one frame: an answer under way keeps a weak reference.
pub fn channel(telemetry: Arc<Telemetry>) -> (Publisher, watch::Receiver<Arc<Rendered>>) {
    let (current, reader) = watch::channel(Arc::new(Rendered::empty()));
    (Publisher { current, retiring: None, telemetry }, reader)
}

impl Publisher {
    /// Renders the snapshot, with the targets' states of the same moment, and publishes it. First waits, at most for
    /// the grace, until the generation before the current one is out of memory. Returns how long the rendering took.
    pub async fn publish(
        &mut self,
        snapshot: Arc<Snapshot>,
        targets: Vec<TargetState>,
        omit: Arc<BTreeSet<Family>>,
    ) -> Duration {
        if let Some(retiring) = self.retiring.take() {
            // The task only sleeps and drops: it fails only when the runtime shuts down.
            let _ = retiring.await;
        }
        let started = Instant::now();
        let previous = Arc::clone(&self.current.borrow());
        let rendering =
            tokio::task::spawn_blocking(move || previous.next(Shown { snapshot, targets: targets.into() }, &omit));
        let rendered = match rendering.await {
            Ok(rendered) => rendered,
            // A panic is passed on: otherwise the body would silently stay out of date.
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // The runtime shuts down.
            Err(_) => return started.elapsed(),
        };
        let elapsed = started.elapsed();
        self.telemetry.rendered(elapsed, rendered.series());
        let previous = self.current.send_replace(Arc::new(rendered));
        self.retiring = is_read(&previous).then(|| tokio::spawn(retire(previous)));
        elapsed
    }
}

/// Whether an answer refers to it or is about to.
fn is_read(rendered: &Arc<Rendered>) -> bool {
    // An answer first holds a strong reference, then also a weak one, then only the weak one. Checking in this order
    // misses none.
    Arc::strong_count(rendered) > 1 || Arc::weak_count(rendered) > 0
}

async fn retire(previous: Arc<Rendered>) {
    let unread = async {
        while is_read(&previous) {
            sleep(CHECK_INTERVAL).await;
        }
    };
    tokio::select! {
        () = unread => {}
        () = sleep_until(Instant::now() + GRACE) => {}
    }
}
