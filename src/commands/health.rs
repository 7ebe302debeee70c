//! `health`: asks a running daemon whether it is up. A container without a shell has no curl for its health check.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use clap::Args;

use super::output::CommandFailure;
use super::run::AddressFlags;
use crate::config::Config;
use crate::registry::error::describe;

/// A daemon that does not answer within this is not healthy.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Which daemon to ask.
#[derive(Debug, Args)]
pub struct HealthArguments {
    /// URL to ask, or only host and port, instead of the configured address on this machine
    #[arg(value_name = "URL", value_parser = parse_url)]
    pub url: Option<url::Url>,
    /// As the daemon has them.
    #[command(flatten)]
    pub address: AddressFlags,
}

/// Checks the daemon. The error says what is wrong.
pub(super) async fn run(config_file: &Path, arguments: &HealthArguments) -> Result<(), CommandFailure> {
    let urls = match &arguments.url {
        Some(url) => vec![url.clone()],
        None => own_urls(&arguments.address, &Config::load(config_file)?)?,
    };
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .timeout(TIMEOUT)
        .no_proxy()
        // The certificate need not name this machine's loopback address.
        .tls_danger_accept_invalid_certs(true)
        .build()
        .context("cannot make an HTTP client")?;
    let mut result = Err(anyhow::anyhow!("there is no address to check"));
    for url in urls {
        result = ask(&client, url).await;
        if result.is_ok() {
            break;
        }
    }
    Ok(result?)
}

/// A URL, or only host and port. Without a path it is that of the health check.
fn parse_url(text: &str) -> Result<url::Url, String> {
    const EXAMPLE: &str = "write for example `localhost:10048` or `http://localhost:10048/-/healthy`";
    let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let mut url: url::Url = whole.parse().map_err(|error| format!("{error}: {EXAMPLE}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("neither http nor https: {EXAMPLE}"));
    }
    if url.path() == "/" {
        url.set_path("/-/healthy");
    }
    Ok(url)
}

async fn ask(client: &reqwest::Client, url: url::Url) -> anyhow::Result<()> {
    let response = client.get(url.clone()).send().await;
    let response = response.map_err(|error| anyhow!("{url} does not answer: {}", describe(error)))?;
    // A daemon with users configured asks for a password, so it is up.
    if response.status().is_success() || response.status() == http::StatusCode::UNAUTHORIZED {
        return Ok(());
    }
    bail!("{url} answered {}", response.status())
}

/// The first configured address as this machine reaches it: loopback where the daemon listens on all interfaces. A web
/// configuration may set up TLS or only users, so both schemes are tried.
fn own_urls(flags: &AddressFlags, config: &Config) -> anyhow::Result<Vec<url::Url>> {
    let address = flags
        .listen_address
        .first()
        .or(config.web.listen.first())
        .context("the configuration has no address to listen on")?;
    let schemes = if flags.web_config_file.is_some() || config.web.config_file.is_some() {
        &["https", "http"][..]
    } else {
        &["http"]
    };
    let host = match address.host() {
        "" | "0.0.0.0" => "127.0.0.1".to_owned(),
        "::" => "[::1]".to_owned(),
        v6 if v6.contains(':') => format!("[{v6}]"),
        host => host.to_owned(),
    };
    let port = address.port();
    let url = |scheme: &&str| format!("{scheme}://{host}:{port}/-/healthy").parse();
    schemes.iter().map(url).collect::<Result<_, _>>().with_context(|| format!("`{address}` is not a valid address"))
}
