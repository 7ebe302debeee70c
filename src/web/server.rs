//! The server from its start to its end.

use std::sync::Arc;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::{ConnectionContext, OpenConnections, accept};
use super::listener::Listener;
use super::state::ServerState;
use super::systemd;

/// Serves until `stop`, then finishes answers under way, for at most [`super::ConnectionLimits::drain`].
pub async fn serve(listeners: Vec<Listener>, state: Arc<ServerState>, stop: CancellationToken) {
    let (tracker, kill) = (TaskTracker::new(), CancellationToken::new());
    let connections = Arc::new(OpenConnections::new(state.options.limits.connections_max));
    for listener in listeners {
        tracing::info!(address = %listener, tls = state.web_config.current().is_tls(), "listening");
        let context = ConnectionContext {
            state: Arc::clone(&state),
            connections: Arc::clone(&connections),
            stop: stop.clone(),
            kill: kill.clone(),
            tracker: tracker.clone(),
        };
        tracker.spawn(accept(listener, context));
    }
    systemd::notify_until(stop).await;
    state.set_ready(false);
    tracker.close();
    if timeout(state.options.limits.drain, tracker.wait()).await.is_err() {
        tracing::warn!(connections = connections.count(), "closing connections whose answers did not end in time");
        kill.cancel();
        tracker.wait().await;
    }
}
