//! `health`: asks a running daemon whether it is up. A container without a shell has no curl for its health check.

use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;

use crate::config::Config;

/// A daemon that does not answer within this is not healthy.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Which daemon to ask.
#[derive(Debug, Args)]
pub struct HealthArgs {
    /// URL to ask, instead of the configured address on this machine
    #[arg(value_name = "URL")]
    pub url: Option<url::Url>,
}

/// Asks. An error says what is wrong.
pub async fn health(args: &HealthArgs, config: impl FnOnce() -> anyhow::Result<Config>) -> anyhow::Result<()> {
    let url = match &args.url {
        Some(url) => url.clone(),
        None => own_url(&config()?)?,
    };
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .timeout(TIMEOUT)
        .no_proxy()
        // It is this machine's own daemon, under whatever name its certificate has.
        .tls_danger_accept_invalid_certs(true)
        .build()
        .context("cannot make an HTTP client")?;
    let response = client.get(url.clone()).send().await.with_context(|| format!("{url} does not answer"))?;
    // With users configured the daemon asks for a password: it is alive.
    if response.status().is_success() || response.status() == http::StatusCode::UNAUTHORIZED {
        return Ok(());
    }
    bail!("{url} answered {}", response.status())
}

/// The first configured address as this machine reaches it: loopback where the daemon listens on all of them.
fn own_url(config: &Config) -> anyhow::Result<url::Url> {
    let address = config.web.listen.first().context("the configuration has no address to listen on")?;
    let scheme = if config.web.config_file.is_some() { "https" } else { "http" };
    let (host, port) = address.rsplit_once(':').with_context(|| format!("`{address}` has no port"))?;
    let host = match host {
        "" | "0.0.0.0" => "127.0.0.1",
        "[::]" => "[::1]",
        host => host,
    };
    format!("{scheme}://{host}:{port}/-/healthy").parse().with_context(|| format!("`{address}` is no address"))
}
