//! Image configs: platform, uncompressed layers, and how each layer was made.

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, IgnoredAny};

use super::digest::Digest;
use super::json::{self, Lossy, or_default};
use super::platform::{InvalidPlatformPart, PlatformFields};
use super::text::beginning;

/// A container image's config (OCI image specification, "Image Configuration"), the parts that this program uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageConfig {
    /// When the image was made, RFC 3339; empty where the config does not say.
    pub created: String,
    /// Its platform.
    pub platform: PlatformFields,
    /// The layers' uncompressed digests.
    pub rootfs: RootFs,
    /// The build steps, those without a layer included.
    pub history: Vec<History>,
}

/// The layers' uncompressed digests, bottom first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct RootFs {
    /// One for each layer of the manifest; none where the config has something else than a digest.
    #[serde(default, deserialize_with = "digests")]
    pub diff_ids: Vec<Option<Digest>>,
}

/// One build step of an image. `null` is an empty step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct History {
    /// RFC 3339.
    #[serde(default, deserialize_with = "short")]
    pub created: String,
    /// The command, at most its first 64 KiB. What is not valid Unicode is replaced.
    #[serde(default, deserialize_with = "command")]
    pub created_by: String,
    /// The builder's comment, limited as the command is.
    #[serde(default, deserialize_with = "command")]
    pub comment: String,
    /// Whether the step made no layer.
    #[serde(default, deserialize_with = "or_default")]
    pub empty_layer: bool,
}

/// Why an image config cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidConfig {
    /// Broken JSON, or a field of the wrong shape.
    #[error("not an image config: {0}")]
    Json(String),
    /// A platform that would not fit into a label.
    #[error("invalid image config: {0}")]
    Platform(#[from] InvalidPlatformPart),
}

/// Longer texts are not dates.
const DATE_BYTES_MAX: usize = 64;

/// The most bytes that are kept of a command or comment.
const COMMAND_BYTES_MAX: usize = 64 << 10;

/// A config's JSON; `H` is its history, or a type that ignores it.
#[derive(Deserialize)]
struct RawConfig<H> {
    #[serde(default, deserialize_with = "short")]
    created: String,
    #[serde(default, deserialize_with = "or_default")]
    os: Box<str>,
    #[serde(default, deserialize_with = "or_default")]
    architecture: Box<str>,
    #[serde(default, deserialize_with = "or_default")]
    variant: Box<str>,
    #[serde(default, rename = "os.version", deserialize_with = "or_default")]
    os_version: Box<str>,
    #[serde(default, deserialize_with = "or_default")]
    rootfs: RootFs,
    history: Option<H>,
}

impl ImageConfig {
    /// Reads a config's bytes. No bytes are an empty config.
    pub fn parse(body: &[u8]) -> Result<Self, InvalidConfig> {
        let (config, history) = read::<Vec<Option<History>>>(body)?;
        let history = history.unwrap_or_default().into_iter().map(Option::unwrap_or_default).collect();
        Ok(Self { history, ..config })
    }

    /// As [`Self::parse`], without the history, which is most of a big config and irrelevant for sizes.
    pub fn parse_without_history(body: &[u8]) -> Result<Self, InvalidConfig> {
        Ok(read::<IgnoredAny>(body)?.0)
    }
}

fn read<H: DeserializeOwned>(body: &[u8]) -> Result<(ImageConfig, Option<H>), InvalidConfig> {
    if body.is_empty() {
        return Ok((ImageConfig::default(), None));
    }
    let raw: RawConfig<H> = json::parse(body).map_err(InvalidConfig::Json)?;
    let RawConfig { os, architecture, variant, os_version, .. } = raw;
    let platform = PlatformFields { os, architecture, variant, os_version };
    platform.check()?;
    Ok((ImageConfig { created: raw.created, platform, rootfs: raw.rootfs, history: Vec::new() }, raw.history))
}

/// A text, unless it is too long to be a date.
fn short<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let Lossy(text) = or_default(deserializer)?;
    Ok(if text.len() <= DATE_BYTES_MAX { text } else { String::new() })
}

fn command<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let Lossy(mut text) = or_default(deserializer)?;
    text.truncate(beginning(&text, COMMAND_BYTES_MAX).len());
    text.shrink_to_fit();
    Ok(text)
}

fn digests<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Option<Digest>>, D::Error> {
    let texts: Vec<Option<Lossy>> = or_default(deserializer)?;
    Ok(texts.into_iter().map(|text| text.and_then(|Lossy(text)| text.parse().ok())).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_config_may_leave_everything_out_or_null_or_be_empty() {
        assert_eq!(ImageConfig::parse(b"{}").unwrap(), ImageConfig::default());
        assert_eq!(ImageConfig::parse(b"").unwrap(), ImageConfig::default());
        let config = ImageConfig::parse(br#"{"created":null,"rootfs":{"diff_ids":null},"history":null,"os":"linux","architecture":"arm64","variant":"v8","config":{"Env":["A=b"]}}"#).unwrap();
        assert_eq!(config.platform.normal().as_str(), "linux/arm64");
    }

    #[test]
    fn an_invalid_field_of_a_config_loses_only_that_field() {
        let digest = Digest::sha256_of(b"x");
        let mut body = format!(
            r#"{{"os":"linux","architecture":"amd64","config":{{"Labels":{{"a":"\ud800"}}}},"rootfs":{{"diff_ids":["","{digest}",null,"md5:x"]}},
            "history":[null,{{"created_by":"RUN \ud800 RAW","empty_layer":null}},{{"comment":null,"empty_layer":true}}]}}"#
        )
        .into_bytes();
        let raw = body.windows(3).position(|bytes| bytes == b"RAW").unwrap();
        body[raw] = 0xff;
        let config = ImageConfig::parse(&body).unwrap();
        assert_eq!(config.rootfs.diff_ids, [None, Some(digest), None, None]);
        let steps: Vec<_> = config.history.iter().map(|step| (step.created_by.as_str(), step.empty_layer)).collect();
        let replaced = steps[1].0;
        assert!(replaced.starts_with("RUN \u{fffd}") && replaced.ends_with("\u{fffd}AW"), "{replaced}");
        assert_eq!([steps[0], steps[2]], [("", false), ("", true)]);
        let without = ImageConfig::parse_without_history(&body).unwrap();
        assert_eq!(without, ImageConfig { history: Vec::new(), ..config });
    }

    #[test]
    fn long_texts_are_cut_left_out_or_refused() {
        let long = "é".repeat(COMMAND_BYTES_MAX);
        let config = |key: &str| ImageConfig::parse(format!(r#"{{"{key}":"{long}"}}"#).as_bytes());
        assert_eq!(config("created").unwrap(), ImageConfig::default());
        for key in ["os", "architecture", "variant", "os.version"] {
            let error = config(key).unwrap_err().to_string();
            assert!(error.starts_with(&format!("invalid image config: `{key}` is not part of a platform")), "{error}");
        }
        let step = format!(r#"{{"history":[{{"created_by":"{long}"}}]}}"#);
        assert_eq!(ImageConfig::parse(step.as_bytes()).unwrap().history[0].created_by.len(), COMMAND_BYTES_MAX);
    }

    #[test]
    fn text_that_is_not_a_config_is_refused() {
        let error = ImageConfig::parse(b"<html>").unwrap_err().to_string();
        assert_eq!(error, "not an image config: expected value at line 1 column 1");
    }

    proptest! {
        #[test]
        fn no_body_panics_the_parser(body: Vec<u8>) {
            let _ = ImageConfig::parse(&body);
        }
    }
}
