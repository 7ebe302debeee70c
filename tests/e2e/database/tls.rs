//! TLS with the database: what each `sslmode` believes.

use std::process::Command;

use super::*;
use crate::harness::run;

/// A certificate of `localhost` by an authority, and another authority, in a directory that PostgreSQL's user can read.
fn certificates() -> tempfile::TempDir {
    let directory = scratch();
    let openssl = |arguments: &[&str]| {
        run(Command::new("openssl").args(arguments).current_dir(directory.path()));
    };
    for authority in ["ca", "other"] {
        let [key, certificate, subject] =
            [format!("{authority}.key"), format!("{authority}.pem"), format!("/CN={authority}")];
        let new = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
        openssl(&[&new[..], &["-keyout", &key, "-out", &certificate, "-subj", &subject]].concat());
    }
    openssl(&[
        "req",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-keyout",
        "server.key",
        "-out",
        "server.csr",
        "-subj",
        "/CN=localhost",
    ]);
    std::fs::write(directory.path().join("names"), "subjectAltName=DNS:localhost\n").expect("a file");
    openssl(&[
        "x509",
        "-req",
        "-in",
        "server.csr",
        "-CA",
        "ca.pem",
        "-CAkey",
        "ca.key",
        "-CAcreateserial",
        "-days",
        "2",
        "-extfile",
        "names",
        "-out",
        "server.pem",
    ]);
    run(Command::new("chown").arg("-R").arg("postgres:postgres").arg(directory.path()));
    directory
}

#[test]
fn each_sslmode_believes_what_libpq_says_that_it_does() {
    let files = certificates();
    let at = |name: &str| files.path().join(name).display().to_string();
    let settings = [
        "ssl=on".to_owned(),
        format!("ssl_cert_file={}", at("server.pem")),
        format!("ssl_key_file={}", at("server.key")),
    ];
    let database = Postgresql::start_with(DATABASE, &settings);
    database.sql("postgres", "ALTER ROLE postgres PASSWORD 'sesame'");
    let site = Site { registry: Registry::start(), database, directory: scratch() };
    site.push("v1", 1_000);
    let encrypted = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                     WHERE application_name = 'image-size-exporter'";
    for (host, parameters, is_encrypted, refused) in [
        ("localhost", "sslmode=disable".to_owned(), Some(false), ""),
        ("127.0.0.1", "sslmode=require".to_owned(), Some(true), ""),
        ("localhost", format!("sslmode=verify-full&sslrootcert={}", at("ca.pem")), Some(true), ""),
        ("127.0.0.1", format!("sslmode=verify-ca&sslrootcert={}", at("ca.pem")), Some(true), ""),
        ("127.0.0.1", format!("sslmode=verify-full&sslrootcert={}", at("ca.pem")), None, "not valid for name"),
        ("localhost", format!("sslmode=verify-ca&sslrootcert={}", at("other.pem")), None, "UnknownIssuer"),
        ("localhost", "sslmode=verify-full".to_owned(), None, "UnknownIssuer"),
    ] {
        site.write_url(&format!("postgres://postgres:sesame@{host}:{}/{DATABASE}?{parameters}", site.database.port()));
        let mut exporter = Exporter::start(&site.config());
        wait_for_sizes(&exporter, &[("v1", 1_000.0)]);
        if let Some(expected) = is_encrypted {
            wait_for_persistence(&exporter, 1.0);
            assert_eq!(site.sql(encrypted).trim() == "t", expected, "{host} {parameters}");
        } else {
            assert_eq!(exporter.scrape().value(PERSISTENT, &[]), Some(0.0), "{host} {parameters}");
            assert!(exporter.output().contains(refused), "{host} {parameters}: {}", exporter.output());
        }
        assert!(!exporter.output().contains("sesame"));
        end(&mut exporter);
    }
}
