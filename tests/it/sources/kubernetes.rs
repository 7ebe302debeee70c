//! A cluster's pods, as a scripted API server tells of them.

mod daemon;
mod pulled;
mod refused;
mod watched;

use std::fmt::Write as _;
use std::time::Duration;

use image_size_exporter::registry::PullSecrets;
use image_size_exporter::sources::kubernetes::{Settings, watch};
use image_size_exporter::sources::{Sight, outbox};
use tokio::sync::watch::Receiver;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::api_server::{ApiServer, pod};
use crate::support::files::Files;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

const HEX: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

/// A source that is watched.
struct Watched {
    files: Files,
    sight: Receiver<Sight>,
    watching: JoinHandle<()>,
}

impl Watched {
    fn start(server: &ApiServer, settings: Settings) -> Self {
        Self::start_with(&server.kubeconfig("token"), settings)
    }

    fn start_with(kubeconfig: &str, settings: Settings) -> Self {
        Self::start_for(&PullSecrets::default(), kubeconfig, settings)
    }

    fn start_for(pull_secrets: &PullSecrets, kubeconfig: &str, settings: Settings) -> Self {
        let files = Files::new();
        files.write("kubeconfig", kubeconfig);
        let settings = Settings { kubeconfig: Some(files.path().join("kubeconfig")), ..settings };
        let (outbox, sight) = outbox();
        let outbox = outbox.with_pull_secrets(pull_secrets.clone());
        let watching = tokio::spawn(async move { watch(&settings, &outbox).await });
        Self { files, sight, watching }
    }

    async fn until(&mut self, what: &str, is_so: impl Fn(&Sight) -> bool) -> Sight {
        let seen = timeout(PATIENCE, self.sight.wait_for(is_so)).await;
        match seen.map(|sight| sight.map(|sight| sight.clone())) {
            Ok(Ok(sight)) => sight,
            _ => panic!("not in time: {what}: {:?}", self.sight.borrow()),
        }
    }

    /// Waits for exactly these images.
    async fn until_images(&mut self, images: &[&str]) -> Sight {
        let what = images.join(" ");
        self.until(&what, |sight| sight.containers.is_some() && self::images(sight) == images).await
    }

    async fn until_error(&mut self, part: &str) -> Sight {
        self.until(part, |sight| sight.error.as_ref().is_some_and(|error| error.message.contains(part))).await
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

/// The images that are seen, in order.
fn images(sight: &Sight) -> Vec<&str> {
    let mut images: Vec<&str> = sight.containers.iter().flat_map(|all| all.iter()).map(|one| &*one.image).collect();
    images.sort_unstable();
    images
}

/// A pod `web-NUMBER` that runs an image.
fn web(number: usize, image: &str) -> serde_json::Value {
    let mut digest = "sha256:".to_owned();
    write!(digest, "{HEX}").unwrap();
    pod("default", &format!("web-{number}"), "node-1", image, &digest)
}
