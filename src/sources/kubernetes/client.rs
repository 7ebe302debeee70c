//! The connection to a cluster: which credentials, which address, which limits.

use std::time::Duration;

use kube::client::ClientBuilder;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

use super::Settings;
use super::failure::{Failure, Next};
use super::guard::{Guard, Heard};
use crate::oci::Reason;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Time for the program that a kubeconfig may name to give credentials.
const LOGIN_TIMEOUT: Duration = Duration::from_mins(1);

type Connected = Result<(Client, Heard), Failure>;

/// Reads credentials, one reading at a time.
#[derive(Default)]
pub(super) struct Connector {
    /// A reading that has taken too long, and still goes on.
    late: Option<JoinHandle<Connected>>,
}

impl Connector {
    /// Reads the credentials and makes a client of them, without speaking to the cluster yet.
    pub(super) async fn connect(&mut self, settings: &Settings) -> Connected {
        let mut reading = self.late.take().unwrap_or_else(|| {
            let (settings, handle) = (settings.clone(), Handle::current());
            // Files are read, and programs run, by calls that block.
            spawn_blocking(move || handle.block_on(connect(&settings)))
        });
        match timeout(LOGIN_TIMEOUT, &mut reading).await {
            Ok(Ok(connected)) => connected,
            Ok(Err(_)) => {
                Err(Failure::new(Reason::Invalid, "the credentials for the cluster cannot be used", Next::Login))
            }
            Err(_) => {
                self.late = Some(reading);
                let message = "the program that the kubeconfig names gave no credentials within a minute";
                Err(Failure::new(Reason::Timeout, message, Next::Login))
            }
        }
    }
}

async fn connect(settings: &Settings) -> Connected {
    let mut config = config(settings).await?;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    // Failures are to be seen at once: the pauses are this program's own.
    config.default_retry = false;
    let builder = ClientBuilder::try_from(config).map_err(|error| Failure::of_credentials(&error))?;
    let (sender, heard) = watch::channel(None);
    let guarded = tower::layer::layer_fn(|service| Guard::new(service, sender.clone()));
    Ok((builder.with_layer(&guarded).build(), heard))
}

async fn config(settings: &Settings) -> Result<Config, Failure> {
    let options = KubeConfigOptions { context: settings.context.clone(), ..KubeConfigOptions::default() };
    if let Some(path) = &settings.kubeconfig {
        let what = format!("cannot use the kubeconfig `{}`", path.display());
        let kubeconfig = Kubeconfig::read_from(path).map_err(|error| Failure::of_kubeconfig(&what, &error))?;
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
        return config.map_err(|error| Failure::of_kubeconfig(&what, &error));
    }
    if settings.context.is_none()
        && let Ok(config) = Config::incluster()
    {
        return Ok(config);
    }
    let config = Config::from_kubeconfig(&options).await;
    let what = if settings.context.is_some() {
        "cannot use the kubeconfig"
    } else {
        "this is no pod with a service account, and there is no kubeconfig that can be used"
    };
    config.map_err(|error| Failure::of_kubeconfig(what, &error))
}
