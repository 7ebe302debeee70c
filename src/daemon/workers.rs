//! The workers of all targets: started, stopped, and left alone by a reload that does not touch them.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::messages::{Event, Handles};
use super::scan_target;
use super::timer::{Clock, First, Rhythm};
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

    /// Makes the workers be those of `targets`. One whose target did not change goes on as it was, its schedule and all;
    /// `restored` tells of which targets values are known, so that they can wait for their place.
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
                let first = if restored(target) { First::AtItsPlace } else { First::AtOnce };
                self.start(target.clone(), first);
            }
        }
    }

    /// Whether this very target has a worker: what an earlier one of its name still tells is of no use any more.
    pub(crate) fn include(&self, target: &Arc<Target>) -> bool {
        self.running.get(&target.name).is_some_and(|(running, _)| Arc::ptr_eq(running, target))
    }

    /// The next worker's end: none of them ends but by being stopped, or by a panic, which is the error.
    pub(crate) async fn ended(&mut self) -> Result<(), tokio::task::JoinError> {
        match self.tasks.join_next().await {
            Some(result) => result,
            None => std::future::pending().await,
        }
    }

    fn start(&mut self, target: Arc<Target>, first: First) {
        let stop = CancellationToken::new();
        self.running.insert(target.name.clone(), (target.clone(), stop.clone()));
        let (handles, events) = (self.handles.clone(), self.events.clone());
        let mut rhythm = Rhythm::new(target.clone(), Clock::System, first);
        self.tasks.spawn(async move {
            let work = async {
                let mut said = scan_target::LastReported::default();
                loop {
                    rhythm.tick().await;
                    rhythm.ended(scan_target::run(&handles, &target, &events, &mut said).await);
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = work => {}
            }
        });
    }
}
