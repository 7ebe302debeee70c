//! Reads what registries' notifications name, through the same path as scans: the state loop says which tags are selected,
//! and takes the observations.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use futures_util::{FutureExt as _, stream};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use super::messages::{Event, Handles, NotifiedReads};
use crate::clock::unix_now;
use crate::notify::{Change, Endpoint, Task, TaskEnd};
use crate::oci::Repository;
use crate::scan;
use crate::scan::discovery;
use crate::tag::{Discovered, ListExtent, Observation, Outcome, TagRequest};
use crate::target::{Target, TargetName};

/// How many changes are looked at at once. The client bounds requests; this bounds memory.
const TASKS_UNDER_WAY: usize = 64;

/// How many tags of one change are read at once.
const TAGS_UNDER_WAY: usize = 8;

/// The state loop is gone: the daemon stops.
pub(super) struct Stopped;

/// The lists that are read now: for which target, and of which repository.
type Listing = Mutex<HashSet<(TargetName, Repository)>>;

/// Serves the queue until the state loop ends.
pub(super) async fn run(endpoint: Arc<Endpoint>, handles: Handles, events: mpsc::Sender<Event>) {
    let listing = Listing::default();
    let mut under_way = FuturesUnordered::new();
    loop {
        let free = TASKS_UNDER_WAY - under_way.len();
        tokio::select! {
            (tasks, pulls) = endpoint.queue.due(free) => {
                if !pulls.is_empty() && events.send(Event::Pulled(pulls)).await.is_err() {
                    return;
                }
                for task in tasks {
                    let looked = look(&handles, &events, &listing, task.change.clone()).map(|end| (task, end));
                    under_way.push(looked);
                }
            }
            Some((task, end)) = under_way.next() => {
                let (task, end): (Task, Result<TaskEnd, Stopped>) = (task, end);
                let Ok(end) = end else { return };
                endpoint.queue.done(task, end);
            }
        }
    }
}

/// Looks at one change.
async fn look(
    handles: &Handles,
    events: &mpsc::Sender<Event>,
    listing: &Listing,
    change: Change,
) -> Result<TaskEnd, Stopped> {
    let (reply, answer) = oneshot::channel();
    events.send(Event::Notified { change: change.clone(), reply }).await.map_err(|_| Stopped)?;
    let NotifiedReads { requests, lists } = answer.await.map_err(|_| Stopped)?;
    let mut is_read = read(handles, events, requests).await?;
    let mut is_postponed = false;
    for (target, repository) in lists {
        // Many tags of a new repository are often pushed at once.
        let key = (target.name.clone(), repository.clone());
        if listing.lock().insert(key.clone()) {
            let listed = list(handles, events, &change, target, repository).await;
            listing.lock().remove(&key);
            is_read &= listed?;
        } else {
            is_postponed = true;
        }
    }
    Ok(match (is_read, is_postponed) {
        (false, _) => TaskEnd::Failed,
        (true, true) => TaskEnd::Postponed,
        (true, false) => TaskEnd::Read,
    })
}

/// Reads the tag list of a repository that is new to a target, then its tags. Returns whether everything could be read.
async fn list(
    handles: &Handles,
    events: &mpsc::Sender<Event>,
    change: &Change,
    target: Arc<Target>,
    repository: Repository,
) -> Result<bool, Stopped> {
    let client = handles.registries.load().client(repository.registry());
    let (found, error) = discovery::discover_repository(&client, &target, repository).await;
    if let Some(error) = &error {
        tracing::debug!(target_name = %target.name, %error, "cannot list the tags of a new repository");
    }
    if found.list == ListExtent::Unread {
        return Ok(false);
    }
    if found.tags.is_empty() {
        // There is no such repository, or nothing in it that is selected.
        return Ok(true);
    }
    let found = Discovered { repositories: vec![found], catalog: ListExtent::Unread };
    let (reply, answer) = oneshot::channel();
    let change = change.clone();
    events.send(Event::Listed { target, found, change, reply }).await.map_err(|_| Stopped)?;
    // Nothing where a reload changed the target meanwhile: its own scan finds the repository.
    let requests = answer.await.unwrap_or_default();
    read(handles, events, requests).await
}

/// Reads tags at once. Returns whether everything could be read.
pub(super) async fn read(
    handles: &Handles,
    events: &mpsc::Sender<Event>,
    requests: Vec<TagRequest>,
) -> Result<bool, Stopped> {
    let mut is_read = true;
    let mut reads = stream::iter(requests)
        .map(|request| async move {
            let client = handles.registries.load().client(request.repository.registry());
            let reported = scan::read_tag(&client, &handles.store, &request).await;
            (request, reported)
        })
        .buffer_unordered(TAGS_UNDER_WAY);
    while let Some((request, reported)) = reads.next().await {
        is_read &= !matches!(&reported.outcome, Outcome::Failed(reason) if reason.is_transient());
        let TagRequest { repository, tag, .. } = request;
        let observation = Observation { repository, tag, at: unix_now(), outcome: reported.outcome };
        events.send(Event::ObservedNow(observation)).await.map_err(|_| Stopped)?;
    }
    Ok(is_read)
}
