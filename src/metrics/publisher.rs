//! Renders each snapshot off the runtime's threads, and keeps at most two generations of bytes in memory, however
//! slowly clients read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

use super::own::ScanEnd;
use super::{Family, Rendered, Telemetry};
use crate::inventory::Snapshot;
use crate::target::TargetName;

/// How long the bytes that a newer snapshot replaced are kept for answers that still read them. What takes longer is
/// cut off, so that a client which does not read cannot keep old bodies in memory.
const GRACE: Duration = Duration::from_secs(10);

/// How often it is looked whether somebody still reads them.
const LOOK: Duration = Duration::from_millis(50);

/// Renders snapshots for the readers of its channel.
pub struct Publisher {
    current: watch::Sender<Arc<Rendered>>,
    /// Holds the generation before, until nobody reads it or its grace is over.
    retiring: Option<JoinHandle<()>>,
    telemetry: Arc<Telemetry>,
}

/// A publisher and what it publishes: nothing yet, which is a valid body too. Readers must hold no [`Rendered`] for
/// longer than it takes to send a frame of it: an answer under way keeps a weak reference.
pub fn channel(telemetry: Arc<Telemetry>) -> (Publisher, watch::Receiver<Arc<Rendered>>) {
    let (current, reader) = watch::channel(Arc::new(Rendered::empty()));
    (Publisher { current, retiring: None, telemetry }, reader)
}

impl Publisher {
    /// Renders the snapshot and publishes it, first waiting, at most for the grace, until the generation before the
    /// current one is out of memory. Says how long the rendering took.
    pub async fn publish(&mut self, snapshot: Arc<Snapshot>, omit: Arc<BTreeSet<Family>>) -> Duration {
        self.publish_with_scans(snapshot, omit, BTreeMap::new()).await
    }

    /// The same, and publishes with it how the last scans of targets ended: no scrape shows the one without the other.
    pub async fn publish_with_scans(
        &mut self,
        snapshot: Arc<Snapshot>,
        omit: Arc<BTreeSet<Family>>,
        scans: BTreeMap<TargetName, ScanEnd>,
    ) -> Duration {
        if let Some(retiring) = self.retiring.take() {
            // It only sleeps and drops: it cannot fail but by the runtime's end.
            let _ = retiring.await;
        }
        let started = Instant::now();
        let rendering = tokio::task::spawn_blocking(move || Rendered::render(&snapshot, &omit));
        let rendered = match rendering.await {
            Ok(rendered) => rendered,
            // A mistake in this program is not to be hidden behind a body that is never renewed.
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // The runtime ends.
            Err(_) => return started.elapsed(),
        };
        let elapsed = started.elapsed();
        let rendered = Arc::new(rendered);
        let previous =
            self.telemetry.publish(elapsed, rendered.series(), &scans, || self.current.send_replace(rendered));
        self.retiring = is_read(&previous).then(|| tokio::spawn(retire(previous)));
        elapsed
    }
}

/// Whether an answer under way still refers to it, or one that is about to.
fn is_read(rendered: &Arc<Rendered>) -> bool {
    // An answer first holds it, then also refers to it, then only refers to it: in this order none slips between.
    Arc::strong_count(rendered) > 1 || Arc::weak_count(rendered) > 0
}

async fn retire(previous: Arc<Rendered>) {
    let unread = async {
        while is_read(&previous) {
            sleep(LOOK).await;
        }
    };
    tokio::select! {
        () = unread => {}
        () = sleep_until(Instant::now() + GRACE) => {}
    }
}
