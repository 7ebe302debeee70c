//! What systemd is told of the service: that it is ready, that it lives, that it ends (`sd_notify(3)`). Without
//! systemd nothing happens.

use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;

/// Tells that the service is ready, then, if systemd watches it, that it lives, twice as often as it must.
pub(super) async fn live(stop: CancellationToken) {
    tell(&[NotifyState::Ready]);
    if let Some(period) = sd_notify::watchdog_enabled() {
        let mut beat = tokio::time::interval(period / 2);
        loop {
            tokio::select! {
                _ = beat.tick() => tell(&[NotifyState::Watchdog]),
                () = stop.cancelled() => break,
            }
        }
    }
    stop.cancelled().await;
    tell(&[NotifyState::Stopping]);
}

fn tell(state: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "cannot notify systemd");
    }
}
