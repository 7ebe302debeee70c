//! Docker's `config.json`, podman's `auth.json` and Kubernetes' `.dockerconfigjson`: one format, many spellings. Also the
//! old format of `.dockercfg`, which Kubernetes' `kubernetes.io/dockercfg` secrets still have: its entries are at the top
//! level.
//!
//! Pure: selects the entry of a repository; where the file is belongs to `keychain`.

mod key;

use std::collections::BTreeMap;

use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{Engine as _, alphabet};
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use super::credential::Login;
use super::secret::Secret;
use crate::oci::json::or_default;
use crate::oci::reference::DOCKER_HUB;
use key::{DOCKER_HUB_KEY, host_of, is_namespaced, kubernetes_key, kubernetes_matches, names};

/// Some writers of these files leave the padding out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The part of a file that is about credentials.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DockerConfig {
    #[serde(default, deserialize_with = "without_nulls")]
    auths: BTreeMap<String, RawEntry>,
    #[serde(default, deserialize_with = "without_nulls")]
    cred_helpers: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "or_default")]
    creds_store: String,
}

#[derive(Default, Deserialize)]
struct RawEntry {
    #[serde(default, deserialize_with = "or_default")]
    auth: String,
    #[serde(default, deserialize_with = "or_default")]
    username: String,
    #[serde(default, deserialize_with = "or_default")]
    password: String,
    #[serde(default, deserialize_with = "or_default")]
    identitytoken: String,
    #[serde(default, deserialize_with = "or_default")]
    registrytoken: String,
}

/// A value at the top level: an entry of the old format, or a setting of the new one.
#[derive(Deserialize)]
#[serde(untagged)]
enum Top {
    Entry(RawEntry),
    Other(IgnoredAny),
}

/// What is wrong with a file. It quotes nothing of the file but an entry's key.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidDockerConfig {
    /// Not JSON, or a field of the wrong type.
    #[error("not a docker config.json (line {line}, column {column})")]
    Json { line: usize, column: usize },
    /// An `auth` that is not the base64 form of `user:password`.
    #[error("entry `{0}`: `auth` is not the base64 form of user:password")]
    Auth(String),
}

impl DockerConfig {
    /// Parses the file's text, as the old format where it has no entry of the new one. Ignores the byte order mark that
    /// some editors on Windows write.
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidDockerConfig> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let config: Self = from_json(text)?;
        if !(config.auths.is_empty() && config.cred_helpers.is_empty() && config.creds_store.is_empty()) {
            return Ok(config);
        }
        let top: BTreeMap<String, Top> = from_json(text)?;
        let auths = top.into_iter().filter_map(|(key, value)| match value {
            Top::Entry(entry) if !entry.is_empty() => Some((key, entry)),
            Top::Entry(_) | Top::Other(_) => None,
        });
        Ok(Self { auths: auths.collect(), ..Self::default() })
    }

    /// Whether every entry can be used.
    pub(crate) fn check(&self) -> Result<(), InvalidDockerConfig> {
        let broken = self.auths.iter().find(|(_, entry)| entry.login().is_none());
        broken.map_or(Ok(()), |(key, _)| Err(InvalidDockerConfig::Auth(key.clone())))
    }

    /// Without credential helpers: only entries that hold their own secret.
    pub(crate) fn without_helpers(self) -> Self {
        Self { auths: self.auths, ..Self::default() }
    }

    /// The suffix of the credential helper for `registry`: its own, or the one for all registries.
    pub(crate) fn helper(&self, registry: &str) -> Option<&str> {
        let own = names(registry).find_map(|name| self.cred_helpers.get(name)).or_else(|| {
            let same = |key: &str| names(registry).any(|name| host_of(key).eq_ignore_ascii_case(name));
            self.cred_helpers.iter().find(|(key, _)| same(key)).map(|(_, helper)| helper)
        });
        own.or(Some(&self.creds_store)).map(String::as_str).filter(|helper| !helper.is_empty())
    }

    /// The server address under which a helper stores `registry`: the file's key, if there is one.
    pub(crate) fn server_url<'a>(&'a self, registry: &'a str) -> &'a str {
        if registry == DOCKER_HUB {
            return DOCKER_HUB_KEY;
        }
        if self.auths.contains_key(registry) || self.cred_helpers.contains_key(registry) {
            return registry;
        }
        let same = |key: &&str| !is_namespaced(key) && host_of(key).eq_ignore_ascii_case(registry);
        self.auths.keys().map(String::as_str).find(same).unwrap_or(registry)
    }

    /// The logins for a repository of `registry`, the first to be tried first: the most specific namespace, then
    /// the registry in every spelling, then what only Kubernetes matches, which tries them all.
    /// Empty entries only mark that a helper has the login, and are skipped. It is an error if the first cannot be read.
    pub(crate) fn logins(&self, registry: &str, repository: &str) -> Result<Vec<Login>, InvalidDockerConfig> {
        let mut logins = Vec::new();
        for key in self.keys(registry, repository) {
            match self.auths[key].login() {
                Some(login) => logins.extend(login),
                None if logins.is_empty() => return Err(InvalidDockerConfig::Auth(key.to_owned())),
                None => {}
            }
        }
        Ok(logins)
    }

    /// The keys of entries for a repository of `registry`, each once.
    fn keys(&self, registry: &str, repository: &str) -> Vec<&str> {
        let whole = Some(repository).filter(|name| !name.is_empty());
        let namespaces = std::iter::successors(whole, |name| name.rsplit_once('/').map(|(parent, _)| parent));
        let in_namespaces =
            namespaces.flat_map(|namespace| names(registry).map(move |name| format!("{name}/{namespace}")));
        let exact = |key: String| self.auths.get_key_value(&key).map(|(key, _)| key.as_str());
        let all = || self.auths.keys().map(String::as_str);
        let is_host =
            |key: &&str| !is_namespaced(key) && names(registry).any(|name| host_of(key).eq_ignore_ascii_case(name));
        // In the reverse order of their texts, so that a longer path comes first.
        let mut others: Vec<&str> = all().filter(|key| kubernetes_matches(key, registry, repository)).collect();
        others.sort_by_key(|key| std::cmp::Reverse(kubernetes_key(key)));
        let mut keys: Vec<&str> = Vec::new();
        let found = in_namespaces
            .filter_map(exact)
            .chain(names(registry).map(str::to_owned).filter_map(exact))
            .chain(all().filter(is_host))
            .chain(others);
        for key in found {
            if !keys.contains(&key) && !self.auths[key].is_empty() {
                keys.push(key);
            }
        }
        keys
    }
}

impl RawEntry {
    fn is_empty(&self) -> bool {
        let fields = [&self.auth, &self.username, &self.password, &self.identitytoken, &self.registrytoken];
        fields.iter().all(|field| field.is_empty())
    }

    /// `None` where `auth` cannot be decoded; `Some(None)` where the entry has no login.
    #[expect(clippy::option_option, reason = "unreadable and absent differ, in one private function")]
    fn login(&self) -> Option<Option<Login>> {
        if !self.registrytoken.is_empty() {
            return Some(Some(Login::RegistryToken(Secret::new(self.registrytoken.as_str()))));
        }
        let (username, password) = match self.auth.as_str() {
            "" => (self.username.clone(), self.password.clone()),
            auth => decode(auth)?,
        };
        Some(if !self.identitytoken.is_empty() {
            Some(Login::IdentityToken { username, token: Secret::new(self.identitytoken.as_str()) })
        } else if username.is_empty() && password.is_empty() {
            None
        } else {
            Some(Login::from_pair(username, Secret::new(password)))
        })
    }
}

/// `user:password` from base64, padded or not, in one line or several: Go's decoder, and so docker, podman and
/// Kubernetes, ignores line ends. Old versions of docker padded the password with NULs before encoding.
fn decode(auth: &str) -> Option<(String, String)> {
    let auth: String = auth.chars().filter(|character| !matches!(character, '\r' | '\n')).collect();
    let text = String::from_utf8(BASE64.decode(auth.trim()).ok()?).ok()?;
    let (username, password) = text.split_once(':')?;
    Some((username.to_owned(), password.trim_end_matches('\0').to_owned()))
}

/// A map of which some editors and templates leave entries at `null`.
fn without_nulls<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, T>, D::Error> {
    let entries = Option::<BTreeMap<String, Option<T>>>::deserialize(deserializer)?.unwrap_or_default();
    Ok(entries.into_iter().filter_map(|(key, entry)| Some((key, entry?))).collect())
}

/// serde's own message may quote the wrong value, which may be a secret.
fn from_json<'de, T: Deserialize<'de>>(text: &'de str) -> Result<T, InvalidDockerConfig> {
    serde_json::from_str(text).map_err(|error| InvalidDockerConfig::Json { line: error.line(), column: error.column() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, registry: &str, repository: &str) -> String {
        all_shown(text, registry, repository).into_iter().next().unwrap_or_else(|| "none".to_owned())
    }

    fn all_shown(text: &str, registry: &str, repository: &str) -> Vec<String> {
        let shown = |login| match login {
            Login::Password { username, password } => format!("{username}:{}", password.expose()),
            Login::IdentityToken { username, token } => format!("identity {username}:{}", token.expose()),
            Login::RegistryToken(token) => format!("bearer {}", token.expose()),
        };
        match DockerConfig::parse(text).and_then(|config| config.logins(registry, repository)) {
            Ok(logins) => logins.into_iter().map(shown).collect(),
            Err(error) => vec![format!("error: {error}")],
        }
    }

    #[test]
    fn an_entry_is_found_under_every_form_of_its_key() {
        // YTpi is a:b.
        for key in [
            "r.example",
            "https://r.example",
            "http://r.example",
            "https://r.example/v1/",
            "r.example/v2/",
            "R.EXAMPLE",
        ] {
            let text = format!(r#"{{"auths":{{"other.example":{{"auth":"eDp5"}},"{key}":{{"auth":"YTpi"}}}}}}"#);
            assert_eq!(shown(&text, "r.example", "acme/app"), "a:b", "{key}");
        }
        for key in
            ["https://index.docker.io/v1/", "index.docker.io", "docker.io", "registry-1.docker.io", "https://docker.io"]
        {
            let text = format!(r#"{{"auths":{{"{key}":{{"auth":"YTpi"}}}}}}"#);
            assert_eq!(shown(&text, "docker.io", "library/alpine"), "a:b", "{key}");
        }
        for (key, registry) in
            [("r.example", "r.example:5000"), ("r.example:5000", "r.example"), ("x.r.example", "r.example")]
        {
            let text = format!(r#"{{"auths":{{"{key}":{{"auth":"YTpi"}}}}}}"#);
            assert_eq!(shown(&text, registry, "acme/app"), "none", "{key}");
        }
    }

    #[test]
    fn a_secret_is_read_from_every_form_of_an_entry() {
        for (entry, expected) in [
            (r#""auth":"YTpi""#, "a:b"),
            (r#""auth":"YWE6Yg==""#, "aa:b"),
            (r#""auth":"YWE6Yg""#, "aa:b"),
            (r#""auth":"YTpiOmM=""#, "a:b:c"),
            (r#""auth":"YWE6Yg==\n""#, "aa:b"),
            (r#""auth":"YW\nE6\r\nYg=\n=\r\n""#, "aa:b"),
            (r#""auth":"YTpiAAA=""#, "a:b"),
            (r#""username":"a","password":"b""#, "a:b"),
            (r#""auth":"YTpi","username":"x","password":"y""#, "a:b"),
            (r#""auth":"YTo=","identitytoken":"t""#, "identity a:t"),
            (r#""auth":"PHRva2VuPjp0""#, "identity :t"),
            (r#""registrytoken":"t""#, "bearer t"),
            (r#""registrytoken":"t","auth":"YTpi""#, "bearer t"),
            ("", "none"),
            (r#""auth":null"#, "none"),
            (r#""email":"x@y","auth":"YTpi""#, "a:b"),
            (r#""auth":"!!""#, "error: entry `r.example`: `auth` is not the base64 form of user:password"),
            (r#""auth":"YWI=""#, "error: entry `r.example`: `auth` is not the base64 form of user:password"),
        ] {
            let text = format!(r#"{{"auths":{{"r.example":{{{entry}}}}}}}"#);
            assert_eq!(shown(&text, "r.example", "acme/app"), expected, "{entry}");
        }
    }

    #[test]
    fn the_old_format_has_its_entries_at_the_top_level() {
        for (text, expected) in [
            (r#"{"r.example":{"auth":"YTpi","email":"x@y"}}"#, "a:b"),
            (r#"{"https://r.example/v1/":{"username":"a","password":"b"}}"#, "a:b"),
            (r#"{"other.example":{"auth":"eDp5"},"r.example":{"auth":"YTpi"}}"#, "a:b"),
            // A file of the new format, without entries and with others: nothing at its top level is an entry.
            (r#"{"auths":{},"psFormat":"x","HttpHeaders":{"X":"y"},"proxies":{"default":{"httpProxy":"x"}}}"#, "none"),
            (r#"{"auths":{"other.example":{"auth":"eDp5"}},"r.example":{"auth":"YTpi"}}"#, "none"),
            (r#"{"credsStore":"x","r.example":{"auth":"YTpi"}}"#, "none"),
            ("{}", "none"),
        ] {
            assert_eq!(shown(text, "r.example", "acme/app"), expected, "{text}");
        }
    }

    #[test]
    fn the_most_specific_namespace_wins() {
        let text = r#"{"auths":{"r.example":{"auth":"YTpi"},"r.example/acme":{"auth":"Yzpk"},"r.example/acme/app":{"auth":"ZTpm"}}}"#;
        for (repository, expected) in
            [("acme/app", "e:f"), ("acme/app/x", "e:f"), ("acme/other", "c:d"), ("acmeapp", "a:b"), ("", "a:b")]
        {
            assert_eq!(shown(text, "r.example", repository), expected, "{repository}");
        }
        let only = r#"{"auths":{"docker.io/acme":{"auth":"Yzpk"}}}"#;
        assert_eq!(shown(only, "docker.io", "acme/app"), "c:d");
        assert_eq!(shown(only, "docker.io", "library/alpine"), "none");
    }

    #[test]
    fn a_glob_is_used_where_no_key_names_the_registry_and_a_longer_path_first() {
        let text = r#"{"auths":{"*.example":{"auth":"YTpi"},"https://*.example/acme":{"auth":"Yzpk"},
            "r.example":{"auth":"ZTpm"},"*.hollow":{}}}"#;
        for (registry, repository, expected) in [
            ("q.example", "acme/app", "c:d"),
            ("q.example", "other/app", "a:b"),
            ("q.example", "", "a:b"),
            ("r.example", "acme/app", "e:f"),
            ("q.hollow", "acme/app", "none"),
            ("docker.io", "library/alpine", "none"),
        ] {
            assert_eq!(shown(text, registry, repository), expected, "{registry}/{repository}");
        }
    }

    #[test]
    fn all_entries_for_a_repository_are_found_in_the_order_in_which_they_are_tried() {
        // Of users a to g.
        let text = r#"{"auths":{"*.example":{"auth":"YTp4"},"r.example":{"auth":"Yjp4"},"https://r.example/v1/":{"auth":"Yzp4"},
            "r.example/acm":{"auth":"ZDp4"},"r.example/acme":{"auth":"ZTp4"},"[q-s].example/acme":{"auth":"Zjp4"},
            "r.example/other":{"auth":"Zzp4"},"r.example/acme/":{},"r.example/a":{"auth":"!!"},"r.example/ac":null}}"#;
        assert_eq!(all_shown(text, "r.example", "acme/app"), ["e:x", "b:x", "c:x", "d:x", "f:x", "a:x"]);
        assert_eq!(all_shown(text, "r.example", "other/app"), ["g:x", "b:x", "c:x", "a:x"]);
        assert_eq!(all_shown(text, "r.example", ""), ["b:x", "c:x", "a:x"]);
        assert_eq!(all_shown(text, "r.example", "about/app"), ["b:x", "c:x", "a:x"], "what cannot be read is left out");
        let first = all_shown(text, "r.example", "a/app");
        assert_eq!(first, ["error: entry `r.example/a`: `auth` is not the base64 form of user:password"]);
    }

    #[test]
    fn an_entry_that_is_null_loses_no_other() {
        let text = r#"{"auths":{"a.example":null,"r.example":{"auth":"YTpi"}},"credHelpers":{"b.example":null,"c.example":"own"}}"#;
        assert_eq!(shown(text, "r.example", "acme/app"), "a:b");
        assert_eq!(shown(text, "a.example", "acme/app"), "none");
        assert_eq!(DockerConfig::parse(text).unwrap().helper("c.example"), Some("own"));
    }

    #[test]
    fn helpers_are_found_for_a_registry_and_else_for_all() {
        let text = r#"{"credsStore":"desktop","credHelpers":{"r.example":"own","https://index.docker.io/v1/":"hub","off.example":""}}"#;
        let config = DockerConfig::parse(text).unwrap();
        for (registry, helper) in [
            ("r.example", Some("own")),
            ("docker.io", Some("hub")),
            ("other.example", Some("desktop")),
            ("off.example", None),
        ] {
            assert_eq!(config.helper(registry), helper, "{registry}");
        }
        assert_eq!(DockerConfig::parse("{}").unwrap().helper("r.example"), None);
    }

    #[test]
    fn helpers_are_asked_by_the_key_of_the_file() {
        let config = DockerConfig::parse(r#"{"auths":{"https://r.example/v2/":{}, "q.example":{}}}"#).unwrap();
        for (registry, server_url) in [
            ("docker.io", "https://index.docker.io/v1/"),
            ("r.example", "https://r.example/v2/"),
            ("q.example", "q.example"),
            ("s.example", "s.example"),
        ] {
            assert_eq!(config.server_url(registry), server_url);
        }
    }

    #[test]
    fn an_error_quotes_nothing_of_the_file() {
        for text in ["", "sesame", r#"{"auths":{"r":{"password":{"sesame":1}}}}"#, r#"{"auths":"sesame"}"#] {
            let Err(error) = DockerConfig::parse(text) else { panic!("{text} is no config") };
            assert!(!error.to_string().contains("sesame"), "{error}");
        }
    }
}
