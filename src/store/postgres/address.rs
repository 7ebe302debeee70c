//! The URL of a database, as libpq reads it: where it is, who asks, and how TLS is used.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{ChannelBinding, Host, SslMode};

/// The most bytes of a file with a URL.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// The time for one address of the host to answer, where the URL sets none.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A URL that was read. It has a password, and neither `Debug` nor `Display`.
pub(super) struct Address {
    pub(super) config: Config,
    pub(super) verify: Verify,
    /// The file with authorities; none: the machine's.
    pub(super) root_file: Option<PathBuf>,
}

/// What is checked of the server's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verify {
    /// Nothing: `sslmode=require` and `prefer` only encrypt.
    Nothing,
    /// That a trusted authority signed it.
    Authority,
    /// That it is also the host's.
    Host,
}

impl Address {
    /// Reads the URL from its file. Errors do not quote it.
    pub(super) fn read(file: &Path) -> Result<Self, String> {
        let shown = file.display();
        let metadata = file.metadata().map_err(|error| format!("`{shown}` cannot be read: {error}"))?;
        if metadata.len() > FILE_BYTES_MAX {
            return Err(format!("`{shown}` has more than 64 KiB: name a file with the URL alone"));
        }
        let text = std::fs::read_to_string(file).map_err(|error| format!("`{shown}` cannot be read: {error}"))?;
        Self::parse(text.trim()).map_err(|problem| format!("`{shown}` {problem}"))
    }

    fn parse(text: &str) -> Result<Self, String> {
        const FORM: &str = "write postgres://USER@HOST:PORT/DATABASE, with `:PASSWORD` after the user and special characters in percent-encoding";
        if !["postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme)) {
            return Err(format!("is no URL of a PostgreSQL database: {FORM}"));
        }
        if text.contains(|character: char| character.is_whitespace() || character.is_control()) {
            return Err("holds more than a URL: leave one line without spaces in it".to_owned());
        }
        let (base, query) = text.split_once('?').unwrap_or((text, ""));
        // Else a part of the password would be taken for the host or the database, which are no secrets.
        let authority = base.split_once("://").map_or(base, |(_, rest)| rest).split('/').next().unwrap_or_default();
        if base.matches('@').count() > authority.matches('@').count().min(1) {
            return Err("has an `@` too many: write %40 for one in the password, and %2F for a slash".to_owned());
        }
        let (mut mode, mut root) = (None, None);
        let mut others = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("sslmode", value)) => mode = Some(value),
                Some(("sslrootcert", value)) => {
                    root = Some(percent_encoding::percent_decode_str(value).decode_utf8_lossy().into_owned());
                }
                _ => others.push(pair),
            }
        }
        let is_system = root.as_deref() == Some("system");
        let root_file = root.filter(|root| root != "system").map(PathBuf::from);
        let (mode, verify) = match mode {
            None if is_system => (SslMode::Require, Verify::Host),
            None | Some("prefer") if !is_system => (SslMode::Prefer, Verify::Nothing),
            Some("disable") if !is_system => (SslMode::Disable, Verify::Nothing),
            // As with libpq.
            Some("require") if root_file.is_some() => (SslMode::Require, Verify::Authority),
            Some("require") if !is_system => (SslMode::Require, Verify::Nothing),
            Some("verify-ca") if !is_system => (SslMode::Require, Verify::Authority),
            Some("verify-full") => (SslMode::Require, Verify::Host),
            Some("allow" | "disable" | "prefer" | "require" | "verify-ca") if is_system => {
                return Err("has sslrootcert=system, which needs sslmode=verify-full: write that".to_owned());
            }
            _ => {
                return Err(
                    "has another sslmode than disable, prefer, require, verify-ca and verify-full: write one of these"
                        .to_owned(),
                );
            }
        };
        let url = if others.is_empty() { base.to_owned() } else { format!("{base}?{}", others.join("&")) };
        let mut config: Config = url.parse().map_err(|error| match option(&error) {
            Some(option) => {
                format!("has `{option}`, which this program does not know or cannot read: correct it, or leave it out")
            }
            None => format!("is no URL of a PostgreSQL database: {FORM}"),
        })?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(format!("names no host: {FORM}"));
        }
        if config.get_channel_binding() == ChannelBinding::Require {
            return Err("has channel_binding=require, which this program does not support: leave it out".to_owned());
        }
        config.ssl_mode(mode);
        if config.get_application_name().is_none() {
            config.application_name("image-size-exporter");
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(Duration::from_secs(30));
        }
        if config.get_keepalives_interval().is_none() {
            config.keepalives_idle(Duration::from_secs(30)).keepalives_interval(Duration::from_secs(10));
            config.keepalives_retries(3);
        }
        Ok(Self { config, verify, root_file })
    }

    /// `HOST:PORT/DATABASE`, for messages.
    pub(super) fn shown(&self) -> String {
        let ports = self.config.get_ports();
        let hosts = self.config.get_hosts().iter().enumerate().map(|(at, host)| match host {
            Host::Tcp(host) => {
                format!("{host}:{}", ports.get(at).or(ports.first()).copied().unwrap_or(5432))
            }
            Host::Unix(path) => path.display().to_string(),
        });
        let hosts: Vec<String> = hosts.collect();
        let hosts = if hosts.is_empty() {
            self.config.get_hostaddrs().iter().map(ToString::to_string).collect()
        } else {
            hosts
        };
        format!("{}/{}", hosts.join(","), self.config.get_dbname().or(self.config.get_user()).unwrap_or_default())
    }
}

/// The name of the option that an error is about, without its value.
fn option(error: &tokio_postgres::Error) -> Option<String> {
    let source = std::error::Error::source(error)?.to_string();
    let name =
        ["unknown option `", "invalid value for option `"].iter().find_map(|begin| source.strip_prefix(begin))?;
    let name = name.strip_suffix('`')?;
    name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_').then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_is_used_as_libpq_would() {
        let root = Some(PathBuf::from("/etc/ca.pem"));
        for (query, mode, verify, root_file) in [
            ("", SslMode::Prefer, Verify::Nothing, None),
            ("?sslmode=disable", SslMode::Disable, Verify::Nothing, None),
            ("?sslmode=require&connect_timeout=3", SslMode::Require, Verify::Nothing, None),
            ("?sslmode=require&sslrootcert=/etc/ca.pem", SslMode::Require, Verify::Authority, root.clone()),
            ("?sslrootcert=%2Fetc%2Fca.pem&sslmode=verify-ca", SslMode::Require, Verify::Authority, root.clone()),
            ("?sslmode=verify-full", SslMode::Require, Verify::Host, None),
            ("?sslrootcert=system", SslMode::Require, Verify::Host, None),
        ] {
            let address =
                Address::parse(&format!("postgres://u:p@h/d{query}")).unwrap_or_else(|why| panic!("{query}: {why}"));
            let read = (address.config.get_ssl_mode(), address.verify, address.root_file);
            assert_eq!(read, (mode, verify, root_file), "{query}");
        }
    }

    #[test]
    fn what_is_shown_has_no_password() {
        for (url, shown) in [
            ("postgres://me:sesame@db.example:5433/sizes", "db.example:5433/sizes"),
            ("postgresql://me:sesame@db.example", "db.example:5432/me"),
            ("postgresql://me@a:1,b:2/sizes", "a:1,b:2/sizes"),
            ("postgresql:///sizes?host=/run/postgresql&user=me", "/run/postgresql/sizes"),
        ] {
            assert_eq!(Address::parse(url).map(|address| address.shown()), Ok(shown.to_owned()), "{url}");
        }
    }

    #[test]
    fn a_bad_url_is_refused_without_being_repeated() {
        for (url, expected) in [
            ("", "is no URL"),
            ("mysql://me:sesame@db/x", "is no URL"),
            ("postgres://me:sesame@db:port/x", "`port`"),
            ("postgres://me:sesame@db/x?sesame=1", "`sesame`"),
            ("postgres://me:sesame@db/x?sslmode=sometimes", "sslmode"),
            ("postgres://me:sesame@db/x?sslmode=require&sslrootcert=system", "verify-full"),
            ("postgres:///x", "names no host"),
            ("postgres://me:sesame@2024@db/x", "%40"),
            ("postgres://me:@sesame/me:sesame@db/x", "%40"),
            ("postgres://me:12/me:sesame@db/x", "%2F"),
            ("postgres://me:p@db/x\n#postgres://me:sesame@db/x", "one line"),
            ("postgres://me:sesame@db/x?channel_binding=require", "channel_binding"),
        ] {
            let said = Address::parse(url).err().unwrap_or_else(|| panic!("{url} is accepted"));
            assert!(said.contains(expected), "{url}: {said}");
            assert!(!said.contains("me:sesame"), "{url}: {said}");
        }
    }
}
