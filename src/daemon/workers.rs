//! The workers of all targets. A reload starts and stops them, and leaves those running whose target did not change.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::messages::{Event, Handles};
use super::timer::{Clock, FirstScan, ScanTimer};
use super::{notified, scan_target};
use crate::config::Config;
use crate::sources::Source;
use crate::target::{Target, TargetName};

/// A target's worker.
struct Worker {
    target: Arc<Target>,
    /// Of which it is the target.
    source: Option<Arc<Source>>,
    stop: CancellationToken,
}

/// The workers, by their target's name.
pub(crate) struct Workers {
    handles: Handles,
    events: mpsc::Sender<Event>,
    running: HashMap<TargetName, Worker>,
    tasks: JoinSet<()>,
}

impl Workers {
    pub(crate) fn new(handles: Handles, events: mpsc::Sender<Event>) -> Self {
        Self { handles, events, running: HashMap::new(), tasks: JoinSet::new() }
    }

    /// Starts and stops workers so that exactly the configuration's targets and sources have one. A worker whose target and
    /// source did not change keeps running. `restored` returns whether a target's values are known: then its first scan can
    /// wait for its scheduled time.
    pub(crate) fn set(&mut self, config: &Config, restored: impl Fn(&Target) -> bool) {
        let targets = config.targets.iter().map(|target| (target, None));
        let sources = config.sources.iter().map(|source| (&source.target, Some(source)));
        let wanted: HashMap<&TargetName, (&Arc<Target>, Option<&Arc<Source>>)> =
            targets.chain(sources).map(|(target, source)| (&target.name, (target, source))).collect();
        self.running.retain(|name, worker| {
            let is_same = |(target, source): &(&Arc<Target>, Option<&Arc<Source>>)| {
                **target == worker.target && *source == worker.source.as_ref()
            };
            let stays = wanted.get(name).is_some_and(is_same);
            if !stays {
                worker.stop.cancel();
            }
            stays
        });
        for (target, source) in wanted.into_values() {
            if !self.running.contains_key(&target.name) {
                let first = if restored(target) { FirstScan::Scheduled } else { FirstScan::Now };
                self.start(Arc::clone(target), source.cloned(), first);
            }
        }
    }

    /// The target of this name.
    pub(crate) fn target(&self, name: &TargetName) -> Option<Arc<Target>> {
        self.running.get(name).map(|worker| Arc::clone(&worker.target))
    }

    /// Whether this target has a worker. Events of an earlier target with the same name are obsolete.
    pub(crate) fn include(&self, target: &Arc<Target>) -> bool {
        self.running.get(&target.name).is_some_and(|worker| Arc::ptr_eq(&worker.target, target))
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

    fn start(&mut self, target: Arc<Target>, source: Option<Arc<Source>>, first: FirstScan) {
        let stop = CancellationToken::new();
        let worker = Worker { target: target.clone(), source: source.clone(), stop: stop.clone() };
        self.running.insert(target.name.clone(), worker);
        let (handles, events) = (self.handles.clone(), self.events.clone());
        if let Some(source) = source {
            self.tasks.spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = super::source::run(source, handles, events, first) => {}
                }
            });
            return;
        }
        let mut timer = ScanTimer::new(target.clone(), Clock::System, first);
        self.tasks.spawn(async move {
            let scans = async {
                let mut last_reported = scan_target::LastReported::default();
                loop {
                    timer.wait().await;
                    timer.scanned(scan_target::run(&handles, &target, true, &events, &mut last_reported).await);
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = scans => {}
            }
        });
    }
}
