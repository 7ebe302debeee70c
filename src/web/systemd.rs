//! Notifies systemd that the service is ready, alive and stopping (`sd_notify(3)`). Without systemd it does nothing.

use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;

/// Notifies that the service is ready; then, with a watchdog, that it is alive, twice per watchdog period; after
/// `stop`, that it is stopping.
pub(super) async fn notify_until(stop: CancellationToken) {
    notify(&[NotifyState::Ready]);
    if let Some(period) = sd_notify::watchdog_enabled() {
        let mut beat = tokio::time::interval(period / 2);
        loop {
            tokio::select! {
                _ = beat.tick() => notify(&[NotifyState::Watchdog]),
                () = stop.cancelled() => break,
            }
        }
    }
    stop.cancelled().await;
    notify(&[NotifyState::Stopping]);
}

fn notify(state: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "cannot notify systemd");
    }
}
