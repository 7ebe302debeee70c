//! Follows one source: what it sees goes to the state loop, what is new is read at once, and its target is scanned like any
//! other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::sleep;

use super::messages::{Event, Handles};
use super::notified;
use super::scan_target;
use super::timer::{Clock, FirstScan, ScanTimer};
use crate::oci::{Reason, Repository, Tag};
use crate::sources;
use crate::sources::{Container, IMAGES_MAX, Sight, Source};
use crate::tag::TagRequest;
use crate::target::TargetName;

/// How many answers of a source are read at once. What further ones have that is new waits, and delays no answer.
const READS_UNDER_WAY: usize = 16;

/// Time for a source's first answer or failure. Then it counts as down, and what is known of its images is read.
const FIRST_ANSWER_TIMEOUT: Duration = Duration::from_mins(1);

/// How often the time of the last answer is published, at least.
const ANSWERS_NOTED: Duration = Duration::from_secs(5);

/// The state loop is gone: the daemon stops.
struct Stopped;

/// Follows the source until the state loop ends. `first`: whether its images are known from before a restart.
pub(super) async fn run(source: Arc<Source>, handles: Handles, events: mpsc::Sender<Event>, first: FirstScan) {
    let (outbox, sight) = sources::outbox();
    let outbox = outbox.with_pull_secrets(handles.registries.load().pull_secrets().clone());
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
        let is_up = {
            let sight = sight.borrow();
            sight.containers.is_some() && sight.error.is_none()
        };
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
    let mut seen: Option<(Arc<[Container]>, bool)> = None;
    let mut reported = Reported::default();
    let mut reads = FuturesUnordered::new();
    // Each tag once, and of one source no more than it may have images at a time.
    let mut waiting: BTreeMap<(Repository, Tag), TagRequest> = BTreeMap::new();
    let first_answer = sleep(FIRST_ANSWER_TIMEOUT);
    tokio::pin!(first_answer);
    loop {
        if reads.len() < READS_UNDER_WAY && !waiting.is_empty() {
            reads.push(notified::read(handles, events, std::mem::take(&mut waiting).into_values().collect()));
        }
        tokio::select! {
            changed = sight.changed() => {
                changed.map_err(|_| Stopped)?;
                let now = sight.borrow_and_update().clone();
                reported.report(name, &now);
                let containers = now.containers.map(|containers| (containers, now.is_part));
                if let Some(new) = containers.filter(|new| seen.as_ref() != Some(new)) {
                    let requests = pass_on(source, events, &new, &mut reported).await?;
                    seen = Some(new);
                    // The first scan reads them all.
                    if *answered.borrow() || first == FirstScan::Scheduled {
                        for request in requests {
                            // The scan reads what finds no room.
                            if waiting.len() < IMAGES_MAX {
                                waiting.insert((request.repository.clone(), request.tag.clone()), request);
                            }
                        }
                    }
                }
                handles.telemetry.source_answered(name, now.error.is_none(), now.last_success);
                answered.send_replace(true);
            }
            () = &mut first_answer, if !*answered.borrow() => {
                let seconds = FIRST_ANSWER_TIMEOUT.as_secs();
                tracing::warn!(source = %name, "the source has not answered within {seconds} seconds, and is still asked");
                handles.telemetry.source_answered(name, false, None);
                answered.send_replace(true);
            }
            Some(read) = reads.next() => drop(read.map_err(|_| Stopped)?),
            // An answer that changes nothing may wake nobody.
            () = sleep(ANSWERS_NOTED) => {
                let now = sight.borrow();
                if now.containers.is_some() || now.error.is_some() {
                    handles.telemetry.source_answered(name, now.error.is_none(), now.last_success);
                }
            }
        }
    }
}

/// Sorts what is seen by image, and has the state loop take it. Returns what is to be read at once.
async fn pass_on(
    source: &Arc<Source>,
    events: &mpsc::Sender<Event>,
    (containers, is_part): &(Arc<[Container]>, bool),
    reported: &mut Reported,
) -> Result<Vec<TagRequest>, Stopped> {
    let sorted = source.sort(containers, *is_part);
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
