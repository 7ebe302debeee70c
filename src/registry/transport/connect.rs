//! The connections to one registry: their TLS, proxy and names.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, header};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use rustls::RootCertStore;
use url::Url;

use super::redact::Secrets;
use super::redirect;
use super::tls::{Reach, Tls};
use crate::registry::error::SetupError;
use crate::registry::settings::{PROXY_SCHEMES, Settings};

/// Sent with every request.
const USER_AGENT: &str = concat!("image-size-exporter/", env!("CARGO_PKG_VERSION"));

/// The longest that making a connection may take.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// Idle connections are closed before middleboxes drop their state.
const IDLE_MAX: Duration = Duration::from_mins(1);

/// The HTTP clients for one registry. They follow no redirects by themselves.
pub(crate) struct Connections {
    own: reqwest::Client,
    /// Without the client certificate. The same as `own` where there is none.
    other_host: reqwest::Client,
}

impl Connections {
    pub(crate) fn new(
        owner: &str,
        home: &Url,
        settings: &Settings,
        tls: &Tls,
        system: &RootCertStore,
    ) -> Result<Self, SetupError> {
        let own = client(owner, home, settings, tls, system, true, by_system)?;
        let other_host = if tls.has_identity() {
            client(owner, home, settings, tls, system, false, by_system)?
        } else {
            own.clone()
        };
        Ok(Self { own, other_host })
    }

    /// The client for the registry's own host, or for other hosts that it names.
    pub(crate) fn to(&self, own_host: bool) -> &reqwest::Client {
        if own_host { &self.own } else { &self.other_host }
    }
}

fn client(
    owner: &str,
    home: &Url,
    settings: &Settings,
    tls: &Tls,
    system: &RootCertStore,
    identity: bool,
    look_up: Resolver,
) -> Result<reqwest::Client, SetupError> {
    let error = |key: &'static str, value: String, problem: String| SetupError {
        registry: owner.to_owned(),
        key,
        value,
        problem,
    };
    let reach = Reach { host: home.host_str(), identity };
    let config = tls.config(system, &reach).map_err(|problem| error("ca_file", String::new(), problem.to_string()))?;
    let mut builder = builder(config, settings);
    let at_loopback = home.host().is_some_and(|host| redirect::is_loopback(&host));
    let own: Arc<str> = home.host_str().unwrap_or_default().into();
    let mut named = vec![own.to_string()];
    if let Some(proxy_url) = &settings.proxy_url {
        builder = builder.proxy(proxy(owner, proxy_url)?);
        named.extend(proxy_url.host_str().map(str::to_owned));
    } else if at_loopback {
        // A proxy on another machine would connect to itself.
        builder = builder.no_proxy();
    } else {
        named.extend(environment_proxies().iter().filter_map(Url::host_str).map(str::to_owned));
    }
    builder = builder.dns_resolver(GuardedResolver { own, named: named.into(), at_loopback, look_up });
    builder.build().map_err(|problem| error("proxy_url", String::new(), crate::registry::error::chain(problem)))
}

/// The clients for a cloud's identity, whose endpoints only the environment and the cloud's own names determine: no
/// registry can lead them anywhere, as they follow no redirects either.
#[cfg(any(feature = "aws", feature = "azure", feature = "gcp"))]
#[derive(Clone)]
pub(crate) struct IdentityConnections {
    /// For metadata servers, which no proxy can reach.
    pub(crate) direct: reqwest::Client,
    /// For all others, through the proxy if there is one.
    pub(crate) proxied: reqwest::Client,
}

#[cfg(any(feature = "aws", feature = "azure", feature = "gcp"))]
impl IdentityConnections {
    /// The proxy and the authorities of `settings` hold for them, too.
    pub(crate) fn new(
        owner: &str,
        home: &Url,
        settings: &Settings,
        tls: &Tls,
        system: &RootCertStore,
    ) -> Result<Self, SetupError> {
        let error =
            |problem: String| SetupError { registry: owner.to_owned(), key: "identity", value: String::new(), problem };
        let reach = Reach { host: home.host_str(), identity: false };
        let config = tls.config(system, &reach).map_err(|problem| error(problem.to_string()))?;
        let direct = builder(config.clone(), settings).no_proxy();
        let proxied = builder(config, settings);
        let proxied = match &settings.proxy_url {
            Some(proxy_url) => proxied.proxy(proxy(owner, proxy_url)?),
            None => proxied,
        };
        let build = |builder: reqwest::ClientBuilder| {
            builder.build().map_err(|problem| error(crate::registry::error::chain(problem)))
        };
        Ok(Self { direct: build(direct)?, proxied: build(proxied)? })
    }
}

fn proxy(owner: &str, proxy_url: &Url) -> Result<reqwest::Proxy, SetupError> {
    let refuse = |problem: String| SetupError {
        registry: owner.to_owned(),
        key: "proxy_url",
        // Without its user and path, which may hold a password.
        value: format!("{}://{}", proxy_url.scheme(), redirect::authority(proxy_url)),
        problem,
    };
    if !PROXY_SCHEMES.contains(&proxy_url.scheme()) {
        return Err(refuse(format!("expected one of {}", PROXY_SCHEMES.join(", "))));
    }
    reqwest::Proxy::all(proxy_url.clone()).map_err(|problem| refuse(crate::registry::error::chain(problem)))
}

/// Redirects are followed by `exchange`, which knows which credentials may go where.
fn builder(config: rustls::ClientConfig, settings: &Settings) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .tls_backend_preconfigured(config)
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .user_agent(USER_AGENT)
        // A compressed manifest has neither the length nor the digest that the registry states.
        .default_headers(HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"))]))
        .connect_timeout(CONNECT_MAX.min(settings.timeout))
        .pool_idle_timeout(IDLE_MAX)
        .tcp_keepalive(IDLE_MAX)
        .tcp_nodelay(true)
}

/// The proxies in the environment, which reqwest uses by itself. A scheme may be left out.
#[expect(clippy::disallowed_methods, reason = "looks only at the variables that reqwest itself reads")]
fn environment_proxies() -> Vec<Url> {
    let names = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
    let texts = names.iter().filter_map(|name| std::env::var(name).ok());
    let address = |text: String| if text.contains("://") { text } else { format!("http://{text}") };
    texts.filter_map(|text| address(text).parse().ok()).collect()
}

/// The credentials in the addresses of proxies.
pub(crate) fn proxy_secrets(settings: &Settings) -> Secrets {
    let proxies = settings.proxy_url.iter().cloned().chain(environment_proxies());
    proxies.fold(Secrets::default(), |secrets, url| secrets.proxy(&url))
}

/// How names are looked up.
type Resolver = fn(&str) -> Resolved;
type Resolved = Pin<Box<dyn Future<Output = std::io::Result<Vec<IpAddr>>> + Send>>;

fn by_system(name: &str) -> Resolved {
    let name = name.to_owned();
    Box::pin(async move { Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect()) })
}

/// Resolves names, but resolves only names from the configuration to an address of this machine or link: a redirect
/// must not get there by a name either. A proxy resolves the names of requests through it.
struct GuardedResolver {
    /// The registry's own host.
    own: Arc<str>,
    /// The registry's own host, and its proxies.
    named: Arc<[String]>,
    /// A registry on this machine may use other servers on it.
    at_loopback: bool,
    look_up: Resolver,
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (own, named) = (Arc::clone(&self.own), Arc::clone(&self.named));
        let (at_loopback, look_up) = (self.at_loopback, self.look_up);
        Box::pin(async move {
            let name = name.as_str();
            let is_named = named.iter().any(|named| named.eq_ignore_ascii_case(name));
            let is_loopback = |address: &IpAddr| address.to_canonical().is_loopback();
            let found = look_up(name).await?;
            // A registry on this machine may have a name in `/etc/hosts`, and so may other servers there.
            let has_neighbours = at_loopback
                || !is_named
                    && found.iter().any(is_loopback)
                    && look_up(&own).await.is_ok_and(|own| own.iter().any(is_loopback));
            let may_be_asked = |address: &IpAddr| {
                is_named || !redirect::is_local_address(*address) || has_neighbours && is_loopback(address)
            };
            let (usable, local): (Vec<_>, Vec<_>) = found.into_iter().partition(may_be_asked);
            match (usable.is_empty(), local.first()) {
                (true, Some(local)) => Err(format!(
                    "{name} is {local}, an address of this machine or link, which only the configuration may name"
                )
                .into()),
                (true, None) => Err(format!("{name} has no address").into()),
                _ => Ok(Box::new(usable.into_iter().map(|address| SocketAddr::new(address, 0))) as Addrs),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// `a-b-c-d.example` has the addresses of its name, divided by `and`; every other name is this machine.
    fn scripted(name: &str) -> Resolved {
        let addresses = name.trim_end_matches(".example").split("and").filter_map(|part| match part {
            "none" => None,
            part => Some(part.replace('-', ".").parse().unwrap_or(IpAddr::from([127, 0, 0, 1]))),
        });
        let addresses = addresses.collect();
        Box::pin(std::future::ready(Ok(addresses)))
    }

    async fn resolved(home: &str, name: &str) -> String {
        let at_loopback = home == "localhost";
        let named = [home.to_owned(), "proxy.example".to_owned()].into();
        let resolver = GuardedResolver { own: home.into(), named, at_loopback, look_up: scripted };
        match resolver.resolve(name.parse().unwrap()).await {
            Ok(found) => found.map(|address| address.ip().to_string()).collect::<Vec<_>>().join(" "),
            Err(error) => error.to_string(),
        }
    }

    #[tokio::test]
    async fn a_name_leads_to_this_machine_or_link_only_where_the_configuration_names_it() {
        let refused = |name: &str, address: &str| {
            format!("{name} is {address}, an address of this machine or link, which only the configuration may name")
        };
        let (home, own) = ("203-0-113-9.example", "registry.example");
        for (home, name, expected) in [
            (home, "storage.example", refused("storage.example", "127.0.0.1")),
            (home, "169-254-169-254.example", refused("169-254-169-254.example", "169.254.169.254")),
            (home, "0-0-0-0.example", refused("0-0-0-0.example", "0.0.0.0")),
            (home, "203-0-113-1.example", "203.0.113.1".to_owned()),
            // Private networks are where private registries keep their blobs.
            (home, "10-0-0-1.example", "10.0.0.1".to_owned()),
            (home, "127-0-0-1and203-0-113-1.example", "203.0.113.1".to_owned()),
            (home, "none.example", "none.example has no address".to_owned()),
            (home, home, "203.0.113.9".to_owned()),
            (own, own, "127.0.0.1".to_owned()),
            (own, "REGISTRY.example", "127.0.0.1".to_owned()),
            // By its name it is this machine, too.
            (own, "storage.example", "127.0.0.1".to_owned()),
            (own, "169-254-169-254.example", refused("169-254-169-254.example", "169.254.169.254")),
            (home, "proxy.example", "127.0.0.1".to_owned()),
            ("localhost", "storage.example", "127.0.0.1".to_owned()),
            ("localhost", "169-254-169-254.example", refused("169-254-169-254.example", "169.254.169.254")),
        ] {
            assert_eq!(resolved(home, name).await, expected, "{home} -> {name}");
        }
    }

    /// Sends a request through that proxy; returns the status or the error.
    async fn ask(proxy_url: &str, url: &str) -> String {
        let settings = Settings { proxy_url: Some(proxy_url.parse().unwrap()), ..Settings::default() };
        let home = "http://203-0-113-9.example/".parse().unwrap();
        let tls = Tls::read("", &settings).unwrap();
        let client = client("", &home, &settings, &tls, &RootCertStore::empty(), false, scripted).unwrap();
        client.get(url).send().await.map_or_else(crate::registry::error::chain, |answer| answer.status().to_string())
    }

    #[tokio::test]
    async fn a_proxy_may_be_this_machine_and_what_it_does_not_resolve_is_looked_at() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let answers = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let read = stream.read(&mut [0; 1000]).await.unwrap();
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
            read
        });
        let answer = ask(&format!("http://proxy.example:{port}"), "http://storage.example/").await;
        assert_eq!(answer, "204 No Content");
        assert!(answers.await.unwrap() > 0);
        // With `socks5` names are resolved here, as they are for hosts that no proxy is used for.
        let answer = ask(&format!("socks5://proxy.example:{port}"), "http://storage.example/").await;
        assert!(answer.contains("storage.example is 127.0.0.1, an address of this machine"), "{answer}");
    }
}
