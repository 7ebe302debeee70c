//! The crate's web server on a free port, serving a snapshot.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use image_size_exporter::inventory::snapshot::Snapshot;
use image_size_exporter::metrics;
use image_size_exporter::metrics::{Publisher, Telemetry};
use image_size_exporter::web::{Listener, Options, ServerState, WebConfig, serve};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::harness::scratch;

/// A server. It ends with the test.
pub struct Endpoint {
    pub address: SocketAddr,
    publisher: Publisher,
    runtime: Runtime,
    _directory: tempfile::TempDir,
}

impl Endpoint {
    pub fn plain(snapshot: Snapshot) -> Self {
        Self::start(snapshot, "")
    }

    /// With this web configuration.
    pub fn start(snapshot: Snapshot, web_config: &str) -> Self {
        let directory = scratch();
        let file = directory.path().join("web-config.yml");
        std::fs::write(&file, web_config).expect("a file");
        let web_config = WebConfig::open(&file).expect("a good web configuration");
        let runtime = Runtime::new().expect("a runtime");
        let (address, publisher) = runtime.block_on(async {
            let telemetry = Arc::new(Telemetry::default());
            let (mut publisher, rendered) = metrics::channel(Arc::clone(&telemetry));
            publisher.publish(Arc::new(snapshot), Vec::new(), Arc::new(BTreeSet::new())).await;
            let state = ServerState::new(rendered, telemetry, mpsc::channel(1).0, web_config, Options::default());
            let listener = Listener::bind(&"127.0.0.1:0".parse().expect("an address")).await.expect("a free port");
            let address = listener.local_addr().expect("an address");
            tokio::spawn(serve(vec![listener], Arc::new(state), CancellationToken::new()));
            (address, publisher)
        });
        Self { address, publisher, runtime, _directory: directory }
    }

    /// Shows another snapshot.
    pub fn publish(&mut self, snapshot: Snapshot) {
        self.runtime.block_on(self.publisher.publish(Arc::new(snapshot), Vec::new(), Arc::new(BTreeSet::new())));
    }

    /// By name, as certificates have it.
    pub fn url(&self, scheme: &str, path: &str) -> String {
        format!("{scheme}://localhost:{}{path}", self.address.port())
    }
}
