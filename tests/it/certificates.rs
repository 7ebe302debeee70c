//! To which hosts a registry's `ca_file`, client certificate and `insecure_skip_verify` apply: the registry, and not
//! every host that it names.

use std::sync::Arc;

use image_size_exporter::oci::Reason;
use image_size_exporter::oci::{Registry, Repository};
use image_size_exporter::registry::{At, Client, Credential, Registries, RegistryError, Settings};

use crate::support::images::{Blob, image};
use crate::support::registry::{Reply, TestRegistry, tag};
use crate::support::tls::{Authority, Client as Certificate, Front};

/// The registry's host, and another one; both this machine, as far as redirects are concerned.
const HOME: &str = "127.0.0.1";
const AWAY: &str = "127.0.0.2";

/// A registry that refers to another host, both behind TLS.
struct TwoHosts {
    authority: Authority,
    registry: TestRegistry,
    other: TestRegistry,
    front: Front,
    away: Front,
}

/// The other host.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Named {
    Redirect,
    TokenServer,
}

impl TwoHosts {
    /// The other one is on `ip`, and its certificate by `theirs` if not by the registry's own authority.
    async fn new(named: Named, ip: &str, theirs: Option<&Authority>, wants: Certificate) -> Self {
        let authority = Authority::new();
        let (registry, other) = (TestRegistry::start(), TestRegistry::start());
        for one in [&registry, &other] {
            one.push("acme/app", "v1", &image("linux/amd64", &[&Blob::named("base", 100)]));
        }
        let front = authority.front(HOME, registry.address(), Certificate::MayShow).await;
        let away = theirs.unwrap_or(&authority).front(ip, other.address(), wants).await;
        match named {
            Named::Redirect => registry.always("GET *", redirect(&away)),
            Named::TokenServer => registry.next(
                "GET *",
                Reply::status(401).and("www-authenticate", format!(r#"Bearer realm="https://{}/token""#, away.name())),
            ),
        }
        other.always("GET /token", Reply::json(r#"{"token":"x"}"#));
        Self { authority, registry, other, front, away }
    }

    fn client(&self, change: impl FnOnce(&mut Settings, &Authority)) -> Arc<Client> {
        let mut settings = Settings { credential: Credential::Anonymous, ..Settings::default() };
        change(&mut settings, &self.authority);
        let name: Registry = self.front.name().parse().unwrap();
        Registries::new([(name.clone(), settings)].into(), Settings::default()).unwrap().client(&name)
    }

    async fn ask(&self, client: &Client) -> Result<(), RegistryError> {
        let repository = Repository::new(self.front.name().parse().unwrap(), "acme/app").unwrap();
        client.get_manifest(&repository, At::Tag(&tag("v1"))).await.map(drop)
    }
}

fn redirect(to: &Front) -> Reply {
    Reply::redirect(format!("https://{}/v2/acme/app/manifests/v1", to.name()))
}

fn own_authority(settings: &mut Settings, authority: &Authority) {
    settings.ca_file = Some(authority.file("ca.pem"));
}

fn client_certificate(settings: &mut Settings, authority: &Authority) {
    own_authority(settings, authority);
    settings.cert_file = Some(authority.file("client.pem"));
    settings.key_file = Some(authority.file("client.key"));
}

fn skip_verify(settings: &mut Settings, _: &Authority) {
    settings.insecure_skip_verify = true;
}

#[tokio::test]
async fn a_client_certificate_is_shown_to_the_registry_and_not_to_other_hosts() {
    for (named, ip, shown) in [
        (Named::Redirect, AWAY, false),
        (Named::TokenServer, AWAY, false),
        // Another port is another server, as it is for passwords.
        (Named::Redirect, HOME, false),
        // GitLab's token server is beside its registry.
        (Named::TokenServer, HOME, true),
    ] {
        let hosts = TwoHosts::new(named, ip, None, Certificate::MayShow).await;
        let client = hosts.client(client_certificate);
        hosts.ask(&client).await.unwrap();
        assert_eq!(hosts.front.shown(), [true], "{named:?} {ip}");
        assert_eq!(hosts.away.shown(), [shown], "{named:?} {ip}");
    }
}

#[tokio::test]
async fn a_redirect_within_the_registry_keeps_the_client_certificate() {
    let hosts = TwoHosts::new(Named::Redirect, AWAY, None, Certificate::MayShow).await;
    hosts.registry.next("GET *", Reply::redirect("/v2/acme/app/manifests/v1?again"));
    hosts.registry.always("GET *", Reply::Usual);
    hosts.ask(&hosts.client(client_certificate)).await.unwrap();
    assert_eq!(hosts.registry.counts(), "get_manifest 2");
    assert!(hosts.front.shown().iter().all(|shown| *shown));
}

#[tokio::test]
async fn the_error_says_that_other_hosts_get_no_client_certificate() {
    let hosts = TwoHosts::new(Named::Redirect, AWAY, None, Certificate::MustShow).await;
    let error = hosts.ask(&hosts.client(client_certificate)).await.unwrap_err();
    assert_eq!(error.reason(), Reason::Network);
    assert!(error.to_string().contains("shown to the registry's own host only"), "{error}");
    assert_eq!(hosts.other.counts(), "");
}

#[tokio::test]
async fn an_own_authority_is_trusted_for_the_hosts_that_the_registry_names_too() {
    for named in [Named::Redirect, Named::TokenServer] {
        let hosts = TwoHosts::new(named, AWAY, None, Certificate::MayShow).await;
        hosts.ask(&hosts.client(own_authority)).await.unwrap();
        // Not with another authority.
        let hosts = TwoHosts::new(named, AWAY, Some(&Authority::new()), Certificate::MayShow).await;
        let client = hosts.client(own_authority);
        let error = hosts.ask(&client).await.unwrap_err();
        assert_eq!((error.reason(), hosts.other.counts().as_str()), (Reason::Network, ""), "{named:?}: {error}");
        assert!(error.to_string().contains("name it in `ca_file`"), "{error}");
    }
}

#[tokio::test]
async fn skipped_checks_are_skipped_for_the_registrys_own_host_alone() {
    for named in [Named::Redirect, Named::TokenServer] {
        // A certificate is for a host, not for a port.
        let hosts = TwoHosts::new(named, HOME, None, Certificate::MayShow).await;
        hosts.ask(&hosts.client(skip_verify)).await.unwrap();

        let hosts = TwoHosts::new(named, AWAY, None, Certificate::MayShow).await;
        let client = hosts.client(skip_verify);
        let error = hosts.ask(&client).await.unwrap_err();
        assert_eq!((error.reason(), hosts.other.counts().as_str()), (Reason::Network, ""), "{named:?}: {error}");
        assert!(error.to_string().contains("holds for the registry's own host alone"), "{error}");

        // Both together: the registry may show any certificate, the other host one of the authority.
        let hosts = TwoHosts::new(named, AWAY, None, Certificate::MayShow).await;
        let both = hosts.client(|settings, authority| {
            skip_verify(settings, authority);
            own_authority(settings, authority);
        });
        hosts.ask(&both).await.unwrap();
    }
}
