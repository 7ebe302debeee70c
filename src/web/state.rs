//! The state behind the routes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot, watch};

use super::options::Options;
use super::page_limit::PageLimit;
use super::scrape_limit::ScrapeLimit;
use super::web_config::WebConfig;
use crate::image::Commands;
use crate::metrics::{Rendered, Telemetry};
use crate::notify::Endpoint;
use crate::oci::Digest;

/// The channel for the result of a reload. The error is a message for the operator.
pub type ReloadReply = oneshot::Sender<Result<(), String>>;

/// The commands of a config, by its digest, where they are known.
pub type CommandSource = Arc<dyn Fn(&Digest) -> Option<Commands> + Send + Sync>;

/// The state behind the routes.
pub struct ServerState {
    pub(super) rendered: watch::Receiver<Arc<Rendered>>,
    pub(super) telemetry: Arc<Telemetry>,
    pub(super) config: ArcSwap<String>,
    is_ready: AtomicBool,
    pub(super) reload: mpsc::Sender<ReloadReply>,
    pub(super) web_config: WebConfig,
    pub(super) scrapes: ScrapeLimit,
    pub(super) options: Options,
    pub(super) notifications: Arc<Endpoint>,
    pub(super) pages: PageLimit,
    pub(super) commands: CommandSource,
}

impl ServerState {
    /// Not ready yet, with an empty configuration to show, and without notifications.
    pub fn new(
        rendered: watch::Receiver<Arc<Rendered>>,
        telemetry: Arc<Telemetry>,
        reload: mpsc::Sender<ReloadReply>,
        web_config: WebConfig,
        options: Options,
    ) -> Self {
        let scrapes = ScrapeLimit::new(options.max_requests);
        let config = ArcSwap::from_pointee(String::new());
        let notifications = Arc::new(Endpoint::new(None));
        let is_ready = AtomicBool::new(false);
        Self {
            rendered,
            telemetry,
            config,
            is_ready,
            reload,
            web_config,
            scrapes,
            options,
            notifications,
            pages: PageLimit::default(),
            commands: Arc::new(|_| None),
        }
    }

    /// With an endpoint for notifications.
    #[must_use]
    pub fn with_notifications(mut self, notifications: Arc<Endpoint>) -> Self {
        self.notifications = notifications;
        self
    }

    /// With the commands of images.
    #[must_use]
    pub fn with_commands(mut self, commands: CommandSource) -> Self {
        self.commands = commands;
        self
    }

    /// What `/config` shows: TOML, with secrets masked.
    pub fn set_config(&self, redacted: String) {
        self.config.store(Arc::new(redacted));
    }

    /// What `/-/ready` answers.
    pub fn set_ready(&self, ready: bool) {
        self.is_ready.store(ready, Ordering::Relaxed);
    }

    pub(super) fn is_ready(&self) -> bool {
        self.is_ready.load(Ordering::Relaxed)
    }
}
