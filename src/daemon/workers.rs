//! The workers of all targets. A reload starts and stops them, and leaves those running whose target did not change.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::messages::{Event, Handles};
use super::timer::{Clock, FirstScan, ScanTimer};
use super::{notified, scan_target};
use crate::target::{Target, TargetName};

/// The workers, by their target's name.
pub(crate) struct Workers {
    handles: Handles,
    events: mpsc::Sender<Event>,
    running: HashMap<TargetName, (Arc<Target>, CancellationToken)>,
    tasks: JoinSet<()>,
}

impl Workers {
    pub(crate) fn new(handles: Handles, events: mpsc::Sender<Event>) -> Self {
        Self { handles, events, running: HashMap::new(), tasks: JoinSet::new() }
    }

    /// Starts and stops workers so that exactly `targets` have one. A worker whose target did not change keeps running.
    /// `restored` returns whether a target's values are known: then its first scan can wait for its scheduled time.
    pub(crate) fn set(&mut self, targets: &[Arc<Target>], restored: impl Fn(&Target) -> bool) {
        let wanted: HashMap<&TargetName, &Arc<Target>> = targets.iter().map(|target| (&target.name, target)).collect();
        self.running.retain(|name, (target, stop)| {
            let stays = wanted.get(name).is_some_and(|wanted| *wanted == target);
            if !stays {
                stop.cancel();
            }
            stays
        });
        for target in targets {
            if !self.running.contains_key(&target.name) {
                let first = if restored(target) { FirstScan::Scheduled } else { FirstScan::Now };
                self.start(target.clone(), first);
            }
        }
    }

    /// The target of this name.
    pub(crate) fn target(&self, name: &TargetName) -> Option<Arc<Target>> {
        self.running.get(name).map(|(target, _)| Arc::clone(target))
    }

    /// Whether this target has a worker. Events of an earlier target with the same name are obsolete.
    pub(crate) fn include(&self, target: &Arc<Target>) -> bool {
        self.running.get(&target.name).is_some_and(|(running, _)| Arc::ptr_eq(running, target))
    }

    /// Starts the worker that reads what notifications name.
    pub(crate) fn start_notified(&mut self) {
        let endpoint = Arc::clone(&self.handles.notifications);
        self.tasks.spawn(notified::run(endpoint, self.handles.clone(), self.events.clone()));
    }

    /// Waits until a worker ends: it was stopped, or it panicked, which is the error.
    pub(crate) async fn ended(&mut self) -> Result<(), tokio::task::JoinError> {
        match self.tasks.join_next().await {
            Some(result) => result,
            None => std::future::pending().await,
        }
    }

    fn start(&mut self, target: Arc<Target>, first: FirstScan) {
        let stop = CancellationToken::new();
        self.running.insert(target.name.clone(), (target.clone(), stop.clone()));
        let (handles, events) = (self.handles.clone(), self.events.clone());
        let mut timer = ScanTimer::new(target.clone(), Clock::System, first);
        self.tasks.spawn(async move {
            let scans = async {
                let mut last_reported = scan_target::LastReported::default();
                loop {
                    timer.wait().await;
                    timer.scanned(scan_target::run(&handles, &target, &events, &mut last_reported).await);
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = scans => {}
            }
        });
    }
}
