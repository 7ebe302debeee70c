//! One scan of one target: discovers its tags, asks the state loop which of them to read, and reads them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use futures_util::{StreamExt as _, stream};
use tokio::sync::{mpsc, oneshot};

use super::messages::{Event, Handles};
use super::timer::ScanResult;
use crate::clock::unix_now;
use crate::metrics::own::{ScanEnd, ScanFailure, ScanFailures};
use crate::oci::{Location, Reason};
use crate::scan;
use crate::scan::discovery::{Discovery, EmptySelection};
use crate::scan::{NoPlatform, discovery};
use crate::tag::{Observation, Outcome, TagRequest};
use crate::target::Target;

/// How many tags of one target are read at once. The client bounds requests; this bounds memory.
const TAGS_UNDER_WAY: usize = 64;

/// The causes that were last logged for a target, so that a lasting failure is logged once.
#[derive(Debug, Default)]
pub(crate) struct LastReported {
    causes: BTreeSet<ReportedCause>,
    /// Whether it was logged that the target selects nothing.
    empty: bool,
    /// Whether it was logged that no tag has one of its platforms.
    no_platform: bool,
}

/// The key of a logged failure. A transient failure is logged once for the whole target, since an unreachable registry
/// gives different messages for different tags in each scan. A definite one is logged once for each place.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct ReportedCause {
    location: Option<String>,
    reason: Reason,
}

/// Scans a target once. `is_up`: whether what names its tags, if it is not its own lists, answers.
pub(crate) async fn run(
    handles: &Handles,
    target: &Arc<Target>,
    is_up: bool,
    events: &mpsc::Sender<Event>,
    last_reported: &mut LastReported,
) -> ScanResult {
    let started = Instant::now();
    let found = match target.repositories.registry() {
        Some(registry) => discovery::discover(&handles.registries.load().client(registry), target).await,
        None => Discovery::default(),
    };
    let mut failures: Vec<ScanFailure> = found
        .errors
        .iter()
        .map(|error| ScanFailure {
            location: target.name.to_string(),
            reason: error.reason(),
            message: error.to_string(),
        })
        .collect();

    let lists_read = is_up && failures.is_empty();
    last_reported.report_empty(target, found.empty.as_ref());

    let (reply, answer) = oneshot::channel();
    let sent = events.send(Event::Discovered { target: target.clone(), found: found.discovered, reply }).await;
    // The state loop is gone when the daemon stops, and does not reply for a target that a reload has changed.
    let (Ok(()), Ok(to_read)) = (sent, answer.await) else { return ScanResult::SomethingRead };

    let tags = to_read.len();
    let mut no_platform = Vec::new();
    let mut something_read = tags == 0 && failures.is_empty();
    let mut reads = stream::iter(to_read)
        .map(|request| {
            let client = handles.registries.load().client(request.repository.registry());
            async move {
                let reported = scan::read_tag(&client, &handles.store, &request).await;
                (request, reported)
            }
        })
        .buffer_unordered(TAGS_UNDER_WAY);
    while let Some((request, reported)) = reads.next().await {
        something_read |= !matches!(reported.outcome, Outcome::Failed(_));
        if is_failure(target, &request, &reported.outcome) {
            let location = Location::tag(&request.repository, &request.tag).to_string();
            failures.extend(reported.errors.iter().map(|error| ScanFailure {
                location: location.clone(),
                reason: error.reason(),
                message: error.to_string(),
            }));
        }
        no_platform.extend(NoPlatform::check(&handles.store, &request, &reported.outcome).await);
        let observation =
            Observation { repository: request.repository, tag: request.tag, at: unix_now(), outcome: reported.outcome };
        if events.send(Event::Observed(observation)).await.is_err() {
            return ScanResult::SomethingRead;
        }
    }
    // Whether the target is up also depends on its tags: the state loop decides, and publishes both at once.
    let end = ScanEnd { at: unix_now(), duration: started.elapsed(), up: lists_read };
    let no_platform = NoPlatform::summary(&no_platform);
    let remarks = found.empty.iter().map(ToString::to_string).chain(no_platform.clone()).collect();
    handles.telemetry.scan_failed(&target.name, ScanFailures::new(end.at, &failures), remarks);
    let _ = events.send(Event::ScanEnded { target: target.clone(), end }).await;
    last_reported.report(target, tags, &failures);
    last_reported.report_no_platform(target, no_platform.as_deref());
    if something_read { ScanResult::SomethingRead } else { ScanResult::NothingRead }
}

/// Whether the outcome is a failure of the target. A missing tag is one only where the target names it.
fn is_failure(target: &Target, request: &TagRequest, outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Gone => target.expects(&request.repository, &request.tag),
        Outcome::Unchanged | Outcome::Read(_) | Outcome::Failed(_) => true,
    }
}

impl LastReported {
    /// Logs one line when something new fails, one when everything can be read again, none in between.
    fn report(&mut self, target: &Target, tags: usize, failures: &[ScanFailure]) {
        let now: BTreeSet<ReportedCause> = failures.iter().map(ReportedCause::new).collect();
        let first_new = failures.iter().find(|failure| !self.causes.contains(&ReportedCause::new(failure)));
        if let Some(first) = first_new {
            let locations: BTreeSet<_> = failures.iter().map(|failure| &failure.location).collect();
            tracing::warn!(
                target_name = %target.name,
                failed = locations.len(),
                tags,
                reason = first.reason.as_str(),
                error = %first.message,
                "cannot read all of the target: the last known values stay published"
            );
            for failure in failures {
                tracing::debug!(target_name = %target.name, reason = failure.reason.as_str(), error = %failure.message, "cannot read");
            }
        } else if now.is_empty() && !self.causes.is_empty() {
            tracing::info!(target_name = %target.name, tags, "the target can be read again");
        }
        if now.is_empty() {
            self.causes.clear();
        }
        self.causes.retain(|cause| cause.location.is_none() || now.contains(cause));
        self.causes.extend(now);
    }

    /// Logged once: an empty list may stay empty.
    fn report_empty(&mut self, target: &Target, empty: Option<&EmptySelection>) {
        if let Some(empty) = empty
            && !std::mem::replace(&mut self.empty, true)
        {
            tracing::warn!(target_name = %target.name, "{empty}");
        }
    }

    /// Logged once, with the first tags that have none of the platforms.
    fn report_no_platform(&mut self, target: &Target, summary: Option<&str>) {
        if let Some(summary) = summary
            && !std::mem::replace(&mut self.no_platform, true)
        {
            tracing::warn!(target_name = %target.name, "{summary}");
        }
    }
}

impl ReportedCause {
    fn new(failure: &ScanFailure) -> Self {
        let location = (!failure.reason.is_transient()).then(|| failure.location.clone());
        Self { location, reason: failure.reason }
    }
}
