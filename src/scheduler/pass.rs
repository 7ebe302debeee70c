//! One scan of one target: discover, ask the fold what to read, read it, tell.

use std::collections::BTreeSet;
use std::time::Instant;

use futures_util::{StreamExt as _, stream};
use tokio::sync::{mpsc, oneshot};

use super::rhythm::Ended;
use super::{Event, World, unix_now};
use crate::discovery;
use crate::inventory::{Observation, Outcome, ToRead};
use crate::reason::Reason;
use crate::scan;
use crate::selection::Repositories;
use crate::target::Target;
use crate::telemetry::ScanEnd;

/// How many tags of one target are under way at a time. The client bounds requests; this bounds memory.
const TAGS_UNDER_WAY: usize = 64;

/// What went wrong in one scan, told to the operator when it changes.
#[derive(Debug, Default)]
pub(super) struct Said {
    failures: BTreeSet<(String, Reason)>,
}

/// One failure, where and in words.
struct Failure {
    place: String,
    reason: Reason,
    message: String,
}

/// Scans a target once.
pub(super) async fn run(world: &World, target: &Target, events: &mpsc::Sender<Event>, said: &mut Said) -> Ended {
    let started = Instant::now();
    let client = world.registries.load().client(target.repositories.registry());
    let found = discovery::discover(&client, target).await;
    let mut failures: Vec<Failure> = found
        .errors
        .iter()
        .map(|error| Failure { place: target.name.to_string(), reason: error.reason(), message: error.to_string() })
        .collect();

    let (reply, answer) = oneshot::channel();
    let told = events.send(Event::Discovered { target: target.name.clone(), found: found.discovered, reply }).await;
    // The fold is gone only when the daemon ends.
    let (Ok(()), Ok(to_read)) = (told, answer.await) else { return Ended::Useful };

    let tags = to_read.len();
    let mut useful = tags == 0 && failures.is_empty();
    let mut reads = stream::iter(to_read)
        .map(|wanted| {
            let client = client.clone();
            async move {
                let reported = scan::read_tag(&client, &world.store, &wanted).await;
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
        let observation =
            Observation { repository: wanted.repository, tag: wanted.tag, at: unix_now(), outcome: reported.outcome };
        if events.send(Event::Observed(observation)).await.is_err() {
            return Ended::Useful;
        }
    }
    let _ = events.send(Event::PassEnded(target.name.clone())).await;
    world
        .telemetry
        .scan_ended(&target.name, ScanEnd { at: unix_now(), duration: started.elapsed(), up: failures.is_empty() });
    said.say(target, tags, &failures);
    if useful { Ended::Useful } else { Ended::Useless }
}

/// A tag that is gone is a failure only where the configuration names it on one repository: a typing error, perhaps.
/// Under a wildcard not every repository has every tag, and a listed tag may be deleted at any time.
fn is_failure(target: &Target, wanted: &ToRead, outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Gone => {
            matches!(target.repositories, Repositories::One(_)) && target.named_tags().contains(&wanted.tag)
        }
        Outcome::Unchanged | Outcome::Read(_) | Outcome::Failed(_) => true,
    }
}

impl Said {
    /// One line for each target when what fails has changed, none while it goes on failing.
    fn say(&mut self, target: &Target, tags: usize, failures: &[Failure]) {
        let now: BTreeSet<_> = failures.iter().map(|failure| (failure.place.clone(), failure.reason)).collect();
        if now == self.failures {
            return;
        }
        if let Some(first) = failures.first() {
            let places: BTreeSet<_> = now.iter().map(|(place, _)| place).collect();
            tracing::warn!(
                target_name = %target.name,
                failed = places.len(),
                tags,
                reason = first.reason.as_str(),
                error = %first.message,
                "cannot read all of the target: values that are known stay"
            );
            for failure in &failures[1..] {
                tracing::debug!(target_name = %target.name, reason = failure.reason.as_str(), error = %failure.message, "cannot read, too");
            }
        } else {
            tracing::info!(target_name = %target.name, tags, "the target can be read again");
        }
        self.failures = now;
    }
}
