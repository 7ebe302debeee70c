//! The web server on a free port, and what it serves in the test's hands.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use image_size_exporter::inventory::snapshot::Snapshot;
use image_size_exporter::metrics;
use image_size_exporter::metrics::Publisher;
use image_size_exporter::metrics::Telemetry;
use image_size_exporter::web::{Listener, Options, ReloadReply, ServerState, WebConfig, serve};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A server that is ready. It ends with the test.
pub struct Server {
    pub address: SocketAddr,
    pub publisher: Publisher,
    pub reloads: mpsc::Receiver<ReloadReply>,
    pub state: Arc<ServerState>,
    pub stop: CancellationToken,
    pub serving: JoinHandle<()>,
}

impl Server {
    pub async fn start(options: Options) -> Self {
        Self::with(options, WebConfig::none(), "127.0.0.1:0").await
    }

    pub async fn with(options: Options, web_config: WebConfig, address: &str) -> Self {
        let telemetry = Arc::new(Telemetry::default());
        let (publisher, rendered) = metrics::channel(Arc::clone(&telemetry));
        let (reload, reloads) = mpsc::channel(1);
        let state = Arc::new(ServerState::new(rendered, telemetry, reload, web_config, options));
        state.set_ready(true);
        let listener = Listener::bind(&address.parse().unwrap()).await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let serving = tokio::spawn(serve(vec![listener], Arc::clone(&state), stop.clone()));
        Self { address, publisher, reloads, state, stop, serving }
    }

    pub async fn publish(&mut self, snapshot: Snapshot) {
        self.publisher.publish(Arc::new(snapshot), Vec::new(), Arc::new(BTreeSet::new())).await;
    }
}
