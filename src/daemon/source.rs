//! Follows one source: what it sees goes to the state loop, what is new is read at once, and its target is scanned like any
//! other.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::{mpsc, oneshot, watch};

use super::messages::{Event, Handles};
use super::notified;
use super::scan_target;
use super::timer::{Clock, FirstScan, ScanTimer};
use crate::oci::Reason;
use crate::sources;
use crate::sources::{Container, Sight, Source};
use crate::target::TargetName;

/// How many answers of a source may be read at once before further ones wait, of which only the last counts.
const READS_UNDER_WAY: usize = 16;

/// The state loop is gone: the daemon stops.
struct Stopped;

/// Follows the source until the state loop ends. `first`: whether its images are known from before a restart.
pub(super) async fn run(source: Arc<Source>, handles: Handles, events: mpsc::Sender<Event>, first: FirstScan) {
    let (outbox, sight) = sources::outbox();
    // Whether the first answer, or failure, has reached the state loop.
    let (answered, has_answered) = watch::channel(false);
    tokio::select! {
        () = sources::watch(&source.kind, &outbox) => {}
        _ = follow(&source, &handles, &events, sight.clone(), &answered, first) => {}
        () = scans(&source, &handles, &events, sight, has_answered, first) => {}
    }
}

/// Scans its target, not before it has answered or failed.
async fn scans(
    source: &Source,
    handles: &Handles,
    events: &mpsc::Sender<Event>,
    sight: watch::Receiver<Sight>,
    mut has_answered: watch::Receiver<bool>,
    first: FirstScan,
) {
    if has_answered.wait_for(|answered| *answered).await.is_err() {
        return;
    }
    let mut timer = ScanTimer::new(Arc::clone(&source.target), Clock::System, first);
    let mut last_reported = scan_target::LastReported::default();
    loop {
        timer.wait().await;
        let is_up = sight.borrow().error.is_none();
        timer.scanned(scan_target::run(handles, &source.target, is_up, events, &mut last_reported).await);
    }
}

/// Passes on what the source sees, whenever that changes.
async fn follow(
    source: &Arc<Source>,
    handles: &Handles,
    events: &mpsc::Sender<Event>,
    mut sight: watch::Receiver<Sight>,
    answered: &watch::Sender<bool>,
    first: FirstScan,
) -> Result<(), Stopped> {
    let name = &source.target.name;
    let mut seen: Option<Arc<[Container]>> = None;
    let mut reported = Reported::default();
    let mut reads = FuturesUnordered::new();
    loop {
        tokio::select! {
            changed = sight.changed(), if reads.len() < READS_UNDER_WAY => {
                changed.map_err(|_| Stopped)?;
                let now = sight.borrow_and_update().clone();
                reported.report(name, &now);
                if let Some(containers) = now.containers.filter(|now| seen.as_ref() != Some(now)) {
                    let requests = pass_on(source, events, &containers, &mut reported).await?;
                    seen = Some(containers);
                    // The first scan reads them all.
                    if *answered.borrow() || first == FirstScan::Scheduled {
                        reads.push(notified::read(handles, events, requests));
                    }
                }
                handles.telemetry.source_answered(name, now.error.is_none(), now.last_success);
                answered.send_replace(true);
            }
            Some(read) = reads.next() => drop(read.map_err(|_| Stopped)?),
        }
    }
}

/// Sorts what is seen by image, and has the state loop take it. Returns what is to be read at once.
async fn pass_on(
    source: &Arc<Source>,
    events: &mpsc::Sender<Event>,
    containers: &[Container],
    reported: &mut Reported,
) -> Result<Vec<crate::tag::TagRequest>, Stopped> {
    let sorted = source.rules.sort(containers);
    reported.report_skipped(&source.target.name, &sorted);
    let (reply, answer) = oneshot::channel();
    let event = Event::Seen { target: Arc::clone(&source.target), running: sorted.running, reply };
    events.send(event).await.map_err(|_| Stopped)?;
    // No reply where a reload has changed or removed the source.
    Ok(answer.await.unwrap_or_default())
}

/// What was logged of a source, so that a lasting failure is logged once.
#[derive(Default)]
struct Reported {
    failing: BTreeSet<Reason>,
    skipped: bool,
    parts: bool,
}

impl Reported {
    fn report(&mut self, name: &TargetName, sight: &Sight) {
        match &sight.error {
            Some(error) => {
                if self.failing.insert(error.reason) {
                    tracing::warn!(
                        source = %name,
                        reason = error.reason.as_str(),
                        %error,
                        "cannot read the source: what it last said stays"
                    );
                } else {
                    tracing::debug!(source = %name, reason = error.reason.as_str(), %error, "cannot read the source");
                }
            }
            None if !self.failing.is_empty() => {
                self.failing.clear();
                tracing::info!(source = %name, "the source answers again");
            }
            None => {}
        }
    }

    /// Once: what cannot be counted may stay so.
    fn report_skipped(&mut self, name: &TargetName, sorted: &sources::Sorted) {
        if let Some(first) = &sorted.first_skipped
            && !std::mem::replace(&mut self.skipped, true)
        {
            tracing::warn!(
                source = %name,
                skipped = sorted.running.skipped,
                first = %first,
                "containers of the source are not counted; `exclude` leaves out what is meant to be left out"
            );
        }
        if sorted.parts_left_out > 0 && !std::mem::replace(&mut self.parts, true) {
            tracing::warn!(
                source = %name,
                left_out = sorted.parts_left_out,
                "the source has more containers of workloads than container_image_running_info may have series"
            );
        }
    }
}
