//! Which redirects are followed, and with which credentials. Pure.

use std::net::{IpAddr, Ipv4Addr};

use url::{Host, Url};

/// Redirects followed for one request.
pub(crate) const REDIRECTS_MAX: usize = 5;

/// Why a redirect is not followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RedirectRefusal {
    /// `Location` is missing or not an address.
    #[error("it redirects without a valid `Location`")]
    NoLocation,
    /// The scheme is neither http nor https.
    #[error("it leads to `{0}:`, which is neither http nor https")]
    Scheme(String),
    /// The request would no longer be encrypted.
    #[error("it leads from https to plain http on {0}, which is never followed")]
    Downgrade(String),
    /// A registry on another host must not make this program send requests to its own machine or network link.
    #[error("it leads to {0}, an address of this machine or link, which is never followed from another host")]
    Local(String),
}

/// The address that the answer of `from` redirects to. `home` is the registry that was asked first.
pub(crate) fn target(home: &Url, from: &Url, location: Option<&str>) -> Result<Url, RedirectRefusal> {
    let url = location.and_then(|location| from.join(location).ok()).ok_or(RedirectRefusal::NoLocation)?;
    allowed(home, from, &url)?;
    Ok(url)
}

/// Whether a redirect from `from` to `to` may be followed.
pub(crate) fn allowed(home: &Url, from: &Url, to: &Url) -> Result<(), RedirectRefusal> {
    if !matches!(to.scheme(), "http" | "https") {
        return Err(RedirectRefusal::Scheme(to.scheme().to_owned()));
    }
    if from.scheme() == "https" && to.scheme() == "http" {
        return Err(RedirectRefusal::Downgrade(authority(to)));
    }
    let local = to.host().is_some_and(|host| is_local(&host));
    let neighbours =
        |one: &Url, other: &Url| [one, other].iter().all(|url| url.host().is_some_and(|h| is_loopback(&h)));
    let at_home = to.host() == home.host() || neighbours(home, to);
    if local && !at_home {
        return Err(RedirectRefusal::Local(authority(to)));
    }
    Ok(())
}

/// Whether credentials for `home` may be sent to `to`: the same host and port, or its upgrade to https.
pub(crate) fn shares_credentials(home: &Url, to: &Url) -> bool {
    let upgraded = home.scheme() == "http" && to.scheme() == "https" && home.port().is_none() && to.port().is_none();
    home.host() == to.host()
        && ((home.scheme() == to.scheme() && home.port_or_known_default() == to.port_or_known_default()) || upgraded)
}

/// Whether a token server is on the registry's own host, on any port, as GitLab's often is. Every token server of the
/// registry receives the password; one on its own host is also shown the client certificate.
pub(crate) fn is_own_host(home: &Url, to: &Url) -> bool {
    home.host() == to.host()
}

/// Host and port, the only parts of an address that messages show.
pub(crate) fn authority(url: &Url) -> String {
    match (url.host_str(), url.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (Some(host), None) => host.to_owned(),
        (None, _) => String::new(),
    }
}

/// Loopback, link-local or unspecified: addresses that mean this machine or its link.
pub(crate) fn is_local_address(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => is_local_v4(v4),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unspecified() || v6.is_unicast_link_local(),
    }
}

fn is_local_v4(v4: Ipv4Addr) -> bool {
    v4.is_loopback() || v4.is_link_local() || v4.octets()[0] == 0
}

fn is_local(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => is_localhost(name),
        Host::Ipv4(v4) => is_local_v4(*v4),
        Host::Ipv6(v6) => is_local_address(IpAddr::V6(*v6)),
    }
}

/// Whether a host is this machine itself.
pub(crate) fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => is_localhost(name),
        Host::Ipv4(v4) => v4.is_loopback(),
        Host::Ipv6(v6) => IpAddr::V6(*v6).to_canonical().is_loopback(),
    }
}

fn is_localhost(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(home: &str, location: &str, expected: &str) {
        let home: Url = home.parse().unwrap();
        let shown = match target(&home, &home, Some(location)) {
            Ok(url) => format!("{} {}", if shares_credentials(&home, &url) { "with" } else { "without" }, url),
            Err(refusal) => refusal.to_string(),
        };
        assert_eq!(shown, expected, "{home} -> {location}");
    }

    #[test]
    fn redirects_go_where_they_may_and_credentials_stay_at_home() {
        let https = "https://registry.example/v2/a/blobs/x";
        check(https, "/v2/b", "with https://registry.example/v2/b");
        check(https, "https://registry.example:443/b", "with https://registry.example/b");
        check(https, "https://registry.example:8443/b", "without https://registry.example:8443/b");
        check(https, "https://cdn.example/b?sig=1", "without https://cdn.example/b?sig=1");
        check(https, "https://sub.registry.example/b", "without https://sub.registry.example/b");
        check("http://registry.example/v2/", "https://registry.example/v2/", "with https://registry.example/v2/");
        check("http://registry.example:5000/", "https://registry.example/", "without https://registry.example/");
        check("http://localhost:5000/", "http://127.0.0.1:9000/b", "without http://127.0.0.1:9000/b");
        check(
            "http://localhost:5000/",
            "http://169.254.169.254/b",
            "it leads to 169.254.169.254, an address of this machine or link, which is never followed from another host",
        );
        check("http://10.0.0.1/", "http://10.0.0.2/b", "without http://10.0.0.2/b");
        check(https, "https://10.0.0.1/b", "without https://10.0.0.1/b");
    }

    #[test]
    fn redirects_never_lead_to_plain_http_or_to_this_machine() {
        let https = "https://registry.example/";
        check(
            https,
            "http://registry.example/b",
            "it leads from https to plain http on registry.example, which is never followed",
        );
        check(https, "ftp://registry.example/b", "it leads to `ftp:`, which is neither http nor https");
        for local in [
            "localhost",
            "reg.localhost",
            "LOCALHOST",
            "127.0.0.1",
            "127.1",
            "0.0.0.0",
            "0x7f000001",
            "2130706433",
            "169.254.169.254",
            "[::1]",
            "[::]",
            "[fe80::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:169.254.169.254]",
        ] {
            let home: Url = https.parse().unwrap();
            let refused = target(&home, &home, Some(&format!("https://{local}/b")));
            assert!(matches!(refused, Err(RedirectRefusal::Local(_))), "{local}: {refused:?}");
        }
    }

    #[test]
    fn a_registry_on_a_link_local_address_may_redirect_to_itself_only() {
        check("http://169.254.1.1:5000/", "/b", "with http://169.254.1.1:5000/b");
        check(
            "http://169.254.1.1:5000/",
            "http://169.254.169.254/b",
            "it leads to 169.254.169.254, an address of this machine or link, which is never followed from another host",
        );
    }

    #[test]
    fn a_redirect_without_a_readable_location_is_refused() {
        let home: Url = "https://registry.example/".parse().unwrap();
        assert_eq!(target(&home, &home, None), Err(RedirectRefusal::NoLocation));
        assert_eq!(target(&home, &home, Some("https://")), Err(RedirectRefusal::NoLocation));
    }
}
