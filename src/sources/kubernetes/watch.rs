//! From the pods of all namespaces to the outbox: changes that come together are put there together.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::Settings;
use super::cluster::Cluster;
use super::follow::{News, follow};
use super::secrets::Secrets;
use crate::clock::unix_now;
use crate::sources::Outbox;

/// How long changes are gathered: a rollout changes many pods, and each of them several times.
const GATHER: Duration = Duration::from_millis(200);

/// News that wait to be taken in.
const NEWS: usize = 64;

/// Watches the pods that `settings` choose, and puts their containers into `outbox` within a second of a change; before that,
/// what their pull secrets have, if `settings` say so. It never ends; when its future is dropped, its connections are closed, and
/// its logins forgotten.
pub async fn watch(settings: &Settings, outbox: &Outbox) {
    let mut namespaces: Vec<Option<&str>> = settings.namespaces.iter().map(|name| Some(name.as_str())).collect();
    namespaces.sort_unstable();
    namespaces.dedup();
    if namespaces.is_empty() {
        namespaces.push(None);
    }
    let (sender, news) = mpsc::channel(NEWS);
    let parts = namespaces.len();
    let following = namespaces.into_iter().enumerate().map(|(at, name)| follow(settings, name, at, sender.clone()));
    // They never end either, since the news are always read.
    tokio::join!(join_all(following), gather(parts, news, outbox, Secrets::new(settings, outbox.pull_secrets())));
}

async fn gather(parts: usize, mut news: mpsc::Receiver<(usize, News)>, outbox: &Outbox, mut secrets: Secrets<'_>) {
    let mut cluster = Cluster::new(parts);
    // When changes, or the first whole answer, are to be put into the outbox.
    let mut due: Option<Instant> = None;
    let mut is_known = false;
    loop {
        let (at, news) = tokio::select! {
            Some(news) = news.recv() => news,
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                due = None;
                secrets.update(|| cluster.pull_secrets()).await;
                is_known |= publish(&cluster, outbox);
                continue;
            }
            () = secrets.until_old() => {
                secrets.update(|| cluster.pull_secrets()).await;
                continue;
            }
        };
        let is_new = match news {
            News::Event(event) => cluster.apply(at, *event),
            News::Heard => {
                cluster.heard(at);
                false
            }
            News::Failed(failure) => {
                cluster.failed(at, failure.error);
                false
            }
        };
        if is_new || (!is_known && due.is_none() && cluster.containers().is_some()) {
            due.get_or_insert_with(|| Instant::now() + GATHER);
        } else if due.is_none() {
            match cluster.failure() {
                Some(failure) => outbox.failed(failure.clone()),
                None if cluster.is_current() && is_known => outbox.confirmed(unix_now()),
                None => {}
            }
        }
    }
}

/// Whether anything is known.
fn publish(cluster: &Cluster, outbox: &Outbox) -> bool {
    let containers = cluster.containers();
    let is_known = containers.is_some();
    match (containers, cluster.failure().cloned()) {
        (Some(containers), None) => outbox.saw(containers, unix_now()),
        (Some(containers), Some(failure)) => outbox.saw_in_part(containers, failure, cluster.is_part()),
        (None, Some(failure)) => outbox.failed(failure),
        (None, None) => {}
    }
    is_known
}
