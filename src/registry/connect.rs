//! The connections to one registry: their TLS, proxy and names.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, header};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use rustls::RootCertStore;
use url::Url;

use super::error::SetupError;
use super::redirect;
use super::repeated::Secrets;
use super::settings::Settings;
use super::tls::Tls;

/// Every request says who asks.
const USER_AGENT: &str = concat!("image-size-exporter/", env!("CARGO_PKG_VERSION"));

/// How proxies are spoken to.
const PROXY_SCHEMES: [&str; 6] = ["http", "https", "socks4", "socks4a", "socks5", "socks5h"];

/// A connection that takes longer than this to be made does not come about.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// Idle connections are closed before the middleboxes between forget them.
const IDLE_MAX: Duration = Duration::from_mins(1);

/// The client for one registry: it keeps connections, and follows no redirects by itself.
pub(crate) fn client(
    owner: &str,
    home: &Url,
    settings: &Settings,
    tls: &Tls,
    system: &RootCertStore,
) -> Result<reqwest::Client, SetupError> {
    let error = |key: &'static str, value: String, problem: String| SetupError {
        registry: owner.to_owned(),
        key,
        value,
        problem,
    };
    let config = tls.config(system).map_err(|problem| error("ca_file", String::new(), problem.to_string()))?;
    // Redirects are followed by `transport`, which knows what may go where.
    let mut builder = reqwest::Client::builder()
        .tls_backend_preconfigured(config)
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .user_agent(USER_AGENT)
        // Compressed manifests have neither the length nor the digest that the registry says.
        .default_headers(HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"))]))
        .connect_timeout(CONNECT_MAX.min(settings.timeout))
        .pool_idle_timeout(IDLE_MAX)
        .tcp_keepalive(IDLE_MAX)
        .tcp_nodelay(true);
    let at_loopback = home.host().is_some_and(|host| redirect::is_loopback(&host));
    let mut direct = true;
    if let Some(proxy_url) = &settings.proxy_url {
        let refuse = |problem: String| {
            // Without its path and user: there may be a password in it.
            let shown = format!("{}://{}", proxy_url.scheme(), redirect::authority(proxy_url));
            error("proxy_url", shown, problem)
        };
        if !PROXY_SCHEMES.contains(&proxy_url.scheme()) {
            return Err(refuse(format!("expected one of {}", PROXY_SCHEMES.join(", "))));
        }
        let proxy = reqwest::Proxy::all(proxy_url.clone()).map_err(|problem| refuse(super::error::chain(problem)))?;
        builder = builder.proxy(proxy);
        direct = false;
    } else if at_loopback {
        // A proxy elsewhere would look for the registry on itself.
        builder = builder.no_proxy();
    } else if !environment_proxies().is_empty() {
        direct = false;
    }
    // Behind a proxy it is the proxy that resolves names, and the proxy itself may well be on this machine.
    if direct && !at_loopback {
        builder = builder.dns_resolver(Elsewhere { home: home.host_str().unwrap_or_default().into() });
    }
    builder.build().map_err(|problem| error("proxy_url", String::new(), super::error::chain(problem)))
}

/// What may stand in the proxies' addresses that nobody is to read.
pub(crate) fn proxy_secrets(settings: &Settings) -> Secrets {
    // A scheme may be left out.
    let address = |text: String| if text.contains("://") { text } else { format!("http://{text}") };
    let named = environment_proxies().into_iter().filter_map(|text| address(text).parse::<Url>().ok());
    settings.proxy_url.iter().cloned().chain(named).fold(Secrets::default(), |secrets, url| secrets.proxy(&url))
}

/// The variables that reqwest itself reads, as far as they are set.
#[expect(clippy::disallowed_methods, reason = "what reqwest itself reads, only to know of it")]
fn environment_proxies() -> Vec<String> {
    ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]
        .iter()
        .filter_map(|name| std::env::var(name).ok())
        .filter(|value| !value.is_empty())
        .collect()
}

/// Resolves names, but none except the registry's own to an address of this machine or link: a redirect must not
/// reach there by way of a name either.
struct Elsewhere {
    home: Arc<str>,
}

impl Resolve for Elsewhere {
    fn resolve(&self, name: Name) -> Resolving {
        let home = Arc::clone(&self.home);
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let at_home = name.as_str().eq_ignore_ascii_case(&home);
            let usable: Vec<SocketAddr> =
                found.filter(|address| at_home || !redirect::is_local_address(address.ip())).collect();
            if usable.is_empty() {
                return Err(format!("{} has no address that may be asked", name.as_str()).into());
            }
            Ok(Box::new(usable.into_iter()) as Addrs)
        })
    }
}
