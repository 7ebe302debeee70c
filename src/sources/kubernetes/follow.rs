//! Follows the pods of one namespace, or of the whole cluster, for as long as the source is watched.

use std::pin::Pin;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use kube::runtime::watcher::{self, DefaultBackoff, Event};
use kube::{Api, Client};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use super::Settings;
use super::client::Connector;
use super::failure::{Failure, Next};
use super::guard::Heard;
use super::pod::WatchedPod;
use crate::oci::Reason;

/// Pods on a page of the list: as many as kubectl asks for.
const PAGE_PODS: u32 = 500;

/// After so many seconds the API server ends a watch, and the next one begins where it was.
const WATCH_SECONDS: u32 = 290;

/// Time for a whole list.
const LIST_TIMEOUT: Duration = Duration::from_mins(10);

/// Pods that have ended run nothing. The server says of one that ends that it is gone.
const NOT_ENDED: &str = "status.phase!=Succeeded,status.phase!=Failed";

/// What is learnt about the pods of one namespace.
pub(super) enum News {
    /// A pod, or the beginning or end of a list.
    Event(Box<Event<WatchedPod>>),
    /// The API server was heard from, and the watch goes on.
    Heard,
    /// They cannot be read now.
    Failed(Failure),
}

type Events = Pin<Box<dyn Stream<Item = watcher::Result<Event<WatchedPod>>> + Send>>;

/// Follows the pods in `namespace`, in the whole cluster without one. Ends when nobody reads `news` any more.
pub(super) async fn follow(settings: &Settings, namespace: Option<&str>, at: usize, news: mpsc::Sender<(usize, News)>) {
    let scope =
        namespace.map_or_else(|| "in the whole cluster".to_owned(), |name| format!("in the namespace `{name}`"));
    let mut connector = Connector::default();
    // Pauses between 0.8 and 30 seconds; after two minutes without a failure they begin anew.
    let mut pauses = DefaultBackoff::default();
    loop {
        let failure = match connector.connect(settings).await {
            Ok((client, heard)) => {
                let pods = Pods { client, namespace, scope: &scope, settings };
                match pods.follow(heard, at, &news, &mut pauses).await {
                    Some(failure) => failure,
                    None => return,
                }
            }
            Err(failure) => failure,
        };
        let pause = failure.pause;
        if news.send((at, News::Failed(failure))).await.is_err() {
            return;
        }
        sleep(pauses.next().unwrap_or_default().max(pause)).await;
    }
}

struct Pods<'s> {
    client: Client,
    namespace: Option<&'s str>,
    scope: &'s str,
    settings: &'s Settings,
}

impl Pods<'_> {
    /// Follows them with these credentials, until they are refused; `None` when nobody reads the news any more.
    async fn follow(
        &self,
        mut heard: Heard,
        at: usize,
        news: &mpsc::Sender<(usize, News)>,
        pauses: &mut DefaultBackoff,
    ) -> Option<Failure> {
        let mut events = self.list();
        // Until when the list that is being read must end.
        let mut due = Some(Instant::now() + LIST_TIMEOUT);
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    let minutes = LIST_TIMEOUT.as_secs() / 60;
                    let message = format!("cannot list the pods {} within {minutes} minutes", self.scope);
                    let failure = Failure::new(Reason::Timeout, &message, Next::List);
                    news.send((at, News::Failed(failure))).await.ok()?;
                    sleep(pauses.next().unwrap_or_default()).await;
                    (events, due) = (self.list(), Some(Instant::now() + LIST_TIMEOUT));
                    continue;
                }
                Ok(()) = heard.changed() => {
                    news.send((at, News::Heard)).await.ok()?;
                    continue;
                }
            };
            let failure = match event {
                Some(Ok(event)) => {
                    match &event {
                        Event::Init => due = Some(Instant::now() + LIST_TIMEOUT),
                        Event::InitDone => due = None,
                        Event::InitApply(_) | Event::Apply(_) | Event::Delete(_) => {}
                    }
                    news.send((at, News::Event(Box::new(event)))).await.ok()?;
                    continue;
                }
                Some(Err(error)) => Failure::of_watch(&error, self.scope),
                None => {
                    events = self.list();
                    continue;
                }
            };
            let (next, pause) = (failure.next, failure.pause);
            match next {
                Next::Login => return Some(failure),
                Next::Again | Next::List => news.send((at, News::Failed(failure))).await.ok()?,
                Next::Resume | Next::Expired => {}
            }
            sleep(pauses.next().unwrap_or_default().max(pause)).await;
            if matches!(next, Next::List | Next::Expired) {
                events = self.list();
            }
        }
    }

    /// All pods, and then what changes.
    fn list(&self) -> Events {
        let api: Api<WatchedPod> = match self.namespace {
            Some(name) => Api::namespaced(self.client.clone(), name),
            None => Api::all(self.client.clone()),
        };
        let mut config = watcher::Config::default().page_size(PAGE_PODS).timeout(WATCH_SECONDS).fields(NOT_ENDED);
        config.label_selector.clone_from(&self.settings.selector);
        Box::pin(watcher::watcher(api, config))
    }
}
