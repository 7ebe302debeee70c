//! One scan of one target: discover, ask the fold what to read, read it, tell.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use futures_util::{StreamExt as _, stream};
use tokio::sync::{mpsc, oneshot};

use super::messages::{Assignment, Event, Handles};
use super::timer::Ended;
use crate::clock::unix_now;
use crate::metrics::own::ScanEnd;
use crate::oci::Reason;
use crate::scan;
use crate::scan::discovery::Nothing;
use crate::scan::{NoPlatform, discovery};
use crate::tag::{Observation, Outcome, TagRequest};
use crate::target::Target;

/// How many tags of one target are under way at a time. The client bounds requests; this bounds memory.
const TAGS_UNDER_WAY: usize = 64;

/// What went wrong in one scan, told to the operator when it changes.
#[derive(Debug, Default)]
pub(crate) struct LastReported {
    causes: BTreeSet<Cause>,
    /// Whether it was said that the target means nothing; that none of its platforms is there.
    nothing: bool,
    no_platform: bool,
}

/// What is worth a line of its own: a registry that is out of reach says so in other words of other tags from one
/// scan to the next, and only the words are new. What is definitely wrong is wrong at a place.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Cause {
    place: Option<String>,
    reason: Reason,
}

/// One failure, where and in words.
struct Failure {
    place: String,
    reason: Reason,
    message: String,
}

/// Scans a target once.
pub(crate) async fn run(
    handles: &Handles,
    target: &Arc<Target>,
    events: &mpsc::Sender<Event>,
    said: &mut LastReported,
) -> Ended {
    let started = Instant::now();
    let client = handles.registries.load().client(target.repositories.registry());
    let found = discovery::discover(&client, target).await;
    let mut failures: Vec<Failure> = found
        .errors
        .iter()
        .map(|error| Failure { place: target.name.to_string(), reason: error.reason(), message: error.to_string() })
        .collect();

    let lists_read = failures.is_empty();
    said.say_nothing(target, found.nothing.as_ref());

    let (reply, answer) = oneshot::channel();
    let told = events.send(Event::Discovered { target: target.clone(), found: found.discovered, reply }).await;
    // The fold is gone when the daemon ends, and does not answer to a target that a reload has changed.
    let (Ok(()), Ok(Assignment { to_read })) = (told, answer.await) else { return Ended::Useful };

    let tags = to_read.len();
    let mut no_platform = Vec::new();
    let mut useful = tags == 0 && failures.is_empty();
    let mut reads = stream::iter(to_read)
        .map(|wanted| {
            let client = client.clone();
            async move {
                let reported = scan::read_tag(&client, &handles.store, &wanted).await;
                (wanted, reported)
            }
        })
        .buffer_unordered(TAGS_UNDER_WAY);
    while let Some((wanted, reported)) = reads.next().await {
        useful |= !matches!(reported.outcome, Outcome::Failed(_));
        if is_failure(target, &wanted, &reported.outcome) {
            let place = format!("{}:{}", wanted.repository, wanted.tag);
            failures.extend(reported.errors.iter().map(|error| Failure {
                place: place.clone(),
                reason: error.reason(),
                message: error.to_string(),
            }));
        }
        if !said.no_platform {
            no_platform.extend(NoPlatform::of(&handles.store, &wanted, &reported.outcome));
        }
        let observation =
            Observation { repository: wanted.repository, tag: wanted.tag, at: unix_now(), outcome: reported.outcome };
        if events.send(Event::Observed(observation)).await.is_err() {
            return Ended::Useful;
        }
    }
    // Whether the target is up also depends on its tags: the state loop knows, and publishes both at once.
    let end = ScanEnd { at: unix_now(), duration: started.elapsed(), up: lists_read };
    let _ = events.send(Event::ScanEnded(target.clone(), end)).await;
    said.say(target, tags, &failures);
    said.say_no_platform(target, &no_platform);
    if useful { Ended::Useful } else { Ended::Useless }
}

fn is_failure(target: &Target, wanted: &TagRequest, outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Gone => target.expects(&wanted.tag),
        Outcome::Unchanged | Outcome::Read(_) | Outcome::Failed(_) => true,
    }
}

impl LastReported {
    /// One line for each target when something new fails, none while it goes on failing.
    fn say(&mut self, target: &Target, tags: usize, failures: &[Failure]) {
        let now: BTreeSet<Cause> = failures.iter().map(Cause::of).collect();
        let news = failures.iter().find(|failure| !self.causes.contains(&Cause::of(failure)));
        if let Some(first) = news {
            let places: BTreeSet<_> = failures.iter().map(|failure| &failure.place).collect();
            tracing::warn!(
                target_name = %target.name,
                failed = places.len(),
                tags,
                reason = first.reason.as_str(),
                error = %first.message,
                "cannot read all of the target: values that are known stay"
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
        self.causes.retain(|cause| cause.place.is_none() || now.contains(cause));
        self.causes.extend(now);
    }

    /// Once: a list that is empty today may be so every day.
    fn say_nothing(&mut self, target: &Target, nothing: Option<&Nothing>) {
        if let Some(nothing) = nothing
            && !std::mem::replace(&mut self.nothing, true)
        {
            tracing::warn!(target_name = %target.name, "{nothing}");
        }
    }

    /// Once, of the first tags that it is true of.
    fn say_no_platform(&mut self, target: &Target, all: &[NoPlatform]) {
        if let Some(summary) = NoPlatform::summary(all)
            && !std::mem::replace(&mut self.no_platform, true)
        {
            tracing::warn!(target_name = %target.name, "{summary}");
        }
    }
}

impl Cause {
    fn of(failure: &Failure) -> Self {
        let place = (!failure.reason.is_transient()).then(|| failure.place.clone());
        Self { place, reason: failure.reason }
    }
}
