//! Proxies, TLS or plain HTTP, and settings of connections.

use super::*;

#[tokio::test]
async fn a_proxy_is_used_where_it_is_configured() {
    let proxy = registry();
    let registry = TestRegistry::start();
    let client = registry.client_with(|settings| settings.proxy_url = Some(proxy.base().parse().unwrap()));
    proxy.always(
        "HEAD http://",
        Reply::Answer(200, vec![("docker-content-digest", small().digest().to_string())], String::new()),
    );
    head(&client, &registry).await.unwrap();
    assert_eq!(proxy.requests()[0].uri, format!("{}/v2/acme/app/manifests/v1", registry.base()));
    assert_eq!(registry.counts(), "");
}

#[tokio::test]
async fn tls_is_spoken_unless_plain_http_is_configured_or_the_registry_is_this_machine() {
    for (name, plain_http, expected) in [
        ("registry.example", false, "CONNECT registry.example:443"),
        ("registry.example:5000", false, "CONNECT registry.example:5000"),
        ("10.0.0.1:5000", false, "CONNECT 10.0.0.1:5000"),
        ("docker.io", false, "CONNECT registry-1.docker.io:443"),
        ("registry.example:5000", true, "HEAD http://registry.example:5000/v2/acme/app/manifests/v1"),
        ("localhost:5000", false, "HEAD http://localhost:5000/v2/acme/app/manifests/v1"),
        ("[::1]:5000", false, "HEAD http://[::1]:5000/v2/acme/app/manifests/v1"),
        ("localhost:443", false, "CONNECT localhost:443"),
    ] {
        let proxy = TestRegistry::start();
        proxy.always("* ", Reply::status(418));
        let proxy_url = proxy.base().replace("http://", "http://user:sesame@").parse().unwrap();
        let settings = Settings {
            credential: Credential::Anonymous,
            proxy_url: Some(proxy_url),
            plain_http,
            ..Settings::default()
        };
        let registry: Registry = name.parse().unwrap();
        let registries = Registries::new([(registry.clone(), settings)].into(), Settings::default());
        let repository = Repository::new(registry.clone(), APP).unwrap();
        let client = registries.unwrap().client(&registry);
        let error = client.head_manifest(&repository, At::Tag(&tag("v1"))).await.unwrap_err();
        let seen = &proxy.requests()[0];
        assert_eq!(format!("{} {}", seen.method, seen.uri), expected, "{name}: {error}");
        // The proxy's password goes to the proxy only, and is not shown.
        assert_eq!(seen.header("proxy-authorization"), basic("user", "sesame"), "{name}");
        assert!(!format!("{error} {error:?}").contains("sesame"), "{error}");
    }
}

#[tokio::test]
async fn a_socks_proxy_is_used_where_it_is_configured() {
    let registry = registry();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy_url = format!("socks5://{}", listener.local_addr().unwrap());
    let to = registry.base();
    let proxy = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut greeting = [0; 3];
        stream.read_exact(&mut greeting).await.unwrap();
        stream.write_all(&[5, 0]).await.unwrap();
        let mut wanted = [0; 10];
        stream.read_exact(&mut wanted).await.unwrap();
        assert_eq!(wanted[..4], [5, 1, 0, 1], "a connection to an IPv4 address");
        let mut upstream = tokio::net::TcpStream::connect(to.trim_start_matches("http://")).await.unwrap();
        stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
        let _ = tokio::io::copy_bidirectional(&mut stream, &mut upstream).await;
    });
    let client = registry.client_with(|settings| settings.proxy_url = Some(proxy_url.parse().unwrap()));
    head(&client, &registry).await.unwrap();
    drop(client);
    proxy.await.unwrap();
}

#[test]
fn settings_that_cannot_work_are_refused_with_their_place() {
    let files = Files::new();
    let nothing = files.write("nothing.pem", "nothing");
    let missing = files.path().join("missing.pem");
    let check = |change: &dyn Fn(&mut Settings), expected: &str| {
        let mut settings = Settings::default();
        change(&mut settings);
        let name: Registry = "registry.example".parse().unwrap();
        let made = Registries::new([(name, settings)].into(), Settings::default());
        let Err(error) = made else { panic!("it works: {expected}") };
        assert!(error.to_string().contains(expected), "{error}");
    };
    let (nothing, missing) = (&nothing, &missing);
    check(
        &|s| s.ca_file = Some(missing.clone()),
        &format!("registry registry.example: ca_file: {}: ", missing.display()),
    );
    check(&|s| s.ca_file = Some(nothing.clone()), "no certificate in PEM form in it");
    check(&|s| s.cert_file = Some(nothing.clone()), "cert_file: ");
    check(&|s| s.key_file = Some(nothing.clone()), "needs `cert_file` too");
    check(
        &|s| s.proxy_url = Some("ftp://user:sesame@proxy.example/".parse().unwrap()),
        "proxy_url: ftp://proxy.example: ",
    );
}

#[test]
fn a_reload_keeps_the_clients_of_registries_with_unchanged_settings() {
    let files = Files::new();
    let authority = || {
        let key = rcgen::KeyPair::generate().unwrap();
        rcgen::CertificateParams::new(["registry.example".to_owned()]).unwrap().self_signed(&key).unwrap().pem()
    };
    let ca_file = files.write("ca.pem", &authority());
    let names = ["one.example", "two.example", "other.example"].map(|name| name.parse::<Registry>().unwrap());
    let with = |change: &dyn Fn(&mut Settings, &mut Settings, &mut Settings)| {
        let [mut one, mut two, mut others] = [(); 3].map(|()| Settings::default());
        two.ca_file = Some(ca_file.clone());
        change(&mut one, &mut two, &mut others);
        (BTreeMap::from([(names[0].clone(), one), (names[1].clone(), two)]), others)
    };
    let (settings, others) = with(&|_, _, _| {});
    let before = Registries::new(settings, others).unwrap();
    let old = names.each_ref().map(|name| before.client(name));
    let goes_on = |change: &dyn Fn(&mut Settings, &mut Settings, &mut Settings)| {
        let (settings, others) = with(change);
        let after = before.renewed(settings, others).unwrap();
        after.map(|after| [0, 1, 2].map(|number| Arc::ptr_eq(&old[number], &after.client(&names[number]))))
    };
    assert_eq!(goes_on(&|_, _, _| {}), None);
    assert_eq!(goes_on(&|one, _, _| one.concurrency += 1), Some([false, true, true]));
    assert_eq!(goes_on(&|_, two, _| two.ca_file = None), Some([true, false, true]));
    assert_eq!(goes_on(&|_, _, others| others.timeout /= 2), Some([true, true, false]));
    let (mut settings, others) = with(&|_, _, _| {});
    settings.remove(&names[0]);
    let after = before.renewed(settings, others).unwrap().unwrap();
    assert!(Arc::ptr_eq(&old[0], &after.client(&names[0])), "it was spoken to as all others are");
    // Certificates are renewed in place.
    files.write("ca.pem", &authority());
    assert_eq!(goes_on(&|_, _, _| {}), Some([true, false, true]));
}
