//! A certificate authority, by openssl.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::run;

/// An authority and what it signs.
#[derive(Clone)]
pub struct Authority {
    /// Its own certificate, PEM.
    pub certificate: PathBuf,
    key: PathBuf,
    directory: PathBuf,
}

impl Authority {
    pub fn new(directory: &Path) -> Self {
        std::fs::create_dir_all(directory).expect("a directory");
        let (certificate, key) = (directory.join("ca.pem"), directory.join("ca.key"));
        openssl(
            &["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=tests", "-days", "2"],
            &key,
            &certificate,
        );
        Self { certificate, key, directory: directory.to_owned() }
    }

    /// A certificate and its key, both PEM. `extension` is a line of openssl's configuration.
    pub fn issue(&self, name: &str, extension: &str) -> (PathBuf, PathBuf) {
        let path = |end: &str| self.directory.join(format!("{name}.{end}"));
        openssl(&["req", "-newkey", "rsa:2048", "-nodes", "-subj", &format!("/CN={name}")], &path("key"), &path("csr"));
        std::fs::write(path("ext"), format!("basicConstraints=CA:FALSE\n{extension}\n")).expect("a file");
        run(Command::new("openssl")
            .args(["x509", "-req", "-days", "2", "-CAcreateserial"])
            .arg("-in")
            .arg(path("csr"))
            .arg("-CA")
            .arg(&self.certificate)
            .arg("-CAkey")
            .arg(&self.key)
            .arg("-extfile")
            .arg(path("ext"))
            .arg("-out")
            .arg(path("pem")));
        (path("pem"), path("key"))
    }

    /// A certificate that signed itself, as many private registries have it, and its key.
    pub fn self_signed(directory: &Path, extension: &str, days: &str) -> (PathBuf, PathBuf) {
        let (certificate, key) = (directory.join(format!("self{days}.pem")), directory.join(format!("self{days}.key")));
        let arguments =
            ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=registry", "-addext", extension];
        openssl(&[&arguments[..], &["-days", days]].concat(), &key, &certificate);
        (certificate, key)
    }

    /// RS256, by the authority's own key.
    pub fn sign(&self, text: &str) -> Vec<u8> {
        let (input, output) = (self.directory.join("signed"), self.directory.join("signature"));
        std::fs::write(&input, text).expect("a file");
        run(Command::new("openssl")
            .args(["dgst", "-sha256", "-sign"])
            .arg(&self.key)
            .arg("-out")
            .arg(&output)
            .arg(&input));
        std::fs::read(output).expect("a signature")
    }

    /// Its certificate as a token's header has it: base64 of DER.
    pub fn x5c(&self) -> String {
        let pem = std::fs::read_to_string(&self.certificate).expect("a certificate");
        pem.lines().filter(|line| !line.starts_with("-----")).collect()
    }
}

fn openssl(arguments: &[&str], key: &Path, out: &Path) {
    run(Command::new("openssl").args(arguments).arg("-keyout").arg(key).arg("-out").arg(out));
}
