//! Image configs: platform, uncompressed layers, and how each layer was made.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::digest::Digest;
use super::json::{self, Lenient, Lossy};
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
    /// The build steps, those without a layer included; empty where there are more than 10,000.
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
    #[serde(default, deserialize_with = "lenient")]
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

/// The most build steps. An image has at most 4,096 layers.
const STEPS_MAX: usize = 10_000;

/// A config's JSON.
///
/// The layers stand in the manifest, so a field of the wrong shape loses only itself, and of a field that is there twice the
/// last one counts, as in Go. Only the platform has to be right and there once, since an image under a wrong one would be
/// worse than none.
#[derive(Default)]
struct RawConfig {
    created: String,
    platform: PlatformFields,
    rootfs: RootFs,
    history: Steps,
}

impl<'de> Deserialize<'de> for RawConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ConfigVisitor;

        impl<'de> Visitor<'de> for ConfigVisitor {
            type Value = RawConfig;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut config = RawConfig::default();
                let mut parts = [const { None::<Box<str>> }; 4];
                while let Some(Lossy(key)) = map.next_key()? {
                    if let Some(part) = PLATFORM_KEYS.iter().position(|known| *known == key) {
                        let text =
                            map.next_value::<Option<Lossy>>()?.map_or_else(Box::default, |Lossy(text)| text.into());
                        if parts[part].replace(text).is_some() {
                            return Err(A::Error::duplicate_field(PLATFORM_KEYS[part]));
                        }
                        continue;
                    }
                    match key.as_str() {
                        "created" => config.created = date(map.next_value()?),
                        "rootfs" => Lenient(config.rootfs) = map.next_value()?,
                        "history" => Lenient(config.history) = map.next_value()?,
                        _ => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                let [os, architecture, variant, os_version] = parts.map(Option::unwrap_or_default);
                config.platform = PlatformFields { os, architecture, variant, os_version };
                Ok(config)
            }
        }

        deserializer.deserialize_map(ConfigVisitor)
    }
}

/// The fields of a config that are its platform.
const PLATFORM_KEYS: [&str; 4] = ["os", "architecture", "variant", "os.version"];

impl ImageConfig {
    /// Reads a config's bytes. No bytes are an empty config.
    pub fn parse(body: &[u8]) -> Result<Self, InvalidConfig> {
        if body.is_empty() {
            return Ok(Self::default());
        }
        // Some editors on Windows write a byte order mark.
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
        let RawConfig { created, platform, rootfs, history: Steps(history) } =
            json::parse(body).map_err(InvalidConfig::Json)?;
        platform.check()?;
        Ok(Self { created, platform, rootfs, history })
    }
}

/// The build steps, read one after the other, since they are most of a big config.
#[derive(Default)]
struct Steps(Vec<History>);

impl<'de> Deserialize<'de> for Steps {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct StepsVisitor;

        impl<'de> Visitor<'de> for StepsVisitor {
            type Value = Steps;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a sequence")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Steps, A::Error> {
                let mut steps = Vec::new();
                while let Some(Lenient(step)) = seq.next_element()? {
                    if steps.len() == STEPS_MAX {
                        while seq.next_element::<IgnoredAny>()?.is_some() {}
                        return Ok(Steps::default());
                    }
                    steps.push(step);
                }
                Ok(Steps(steps))
            }
        }

        deserializer.deserialize_seq(StepsVisitor)
    }
}

/// A text, unless it is too long to be a date.
fn date(Lenient(Lossy(text)): Lenient<Lossy>) -> String {
    if text.len() <= DATE_BYTES_MAX { text } else { String::new() }
}

fn short<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Lenient::deserialize(deserializer).map(date)
}

fn command<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let Lossy(mut text) = lenient(deserializer)?;
    text.truncate(beginning(&text, COMMAND_BYTES_MAX).len());
    text.shrink_to_fit();
    Ok(text)
}

fn digests<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Option<Digest>>, D::Error> {
    let texts: Vec<Lenient<Lossy>> = lenient(deserializer)?;
    Ok(texts.into_iter().map(|Lenient(Lossy(text))| text.parse().ok()).collect())
}

fn lenient<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(deserializer: D) -> Result<T, D::Error> {
    Lenient::deserialize(deserializer).map(|Lenient(value)| value)
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
    }

    #[test]
    fn a_field_of_another_type_or_that_is_there_twice_loses_only_itself() {
        let digest = Digest::sha256_of(b"x");
        let id = format!(r#"{{"diff_ids":["{digest}",1,{{}}]}}"#);
        for (fields, created, diff_ids, commands) in [
            (r#""created":0"#.to_owned(), "", vec![], vec![]),
            (r#""created":"\ud800""#.to_owned(), "\u{fffd}\u{fffd}\u{fffd}", vec![], vec![]),
            (
                format!(r#""created":"1","rootfs":{id},"created":"2""#),
                "2",
                vec![Some(digest.clone()), None, None],
                vec![],
            ),
            (format!(r#""rootfs":"layers","rootfs":{id}"#), "", vec![Some(digest.clone()), None, None], vec![]),
            (r#""rootfs":{"diff_ids":"x"},"history":{"x":1}"#.to_owned(), "", vec![], vec![]),
            (
                r#""history":[1,{"created_by":2,"empty_layer":"yes"},{"created_by":"RUN"}]"#.to_owned(),
                "",
                vec![],
                vec!["", "", "RUN"],
            ),
            (r#""config":1,"config":2,"\ud800":3"#.to_owned(), "", vec![], vec![]),
            (r#""history":"\ud800","history":1e400"#.to_owned(), "", vec![], vec![]),
            (r#""history":-1,"history":1.5,"history":true,"history":null"#.to_owned(), "", vec![], vec![]),
        ] {
            let text = format!("\u{feff}{{\"os\":\"linux\",{fields},\"architecture\":\"arm64\"}}");
            let config = ImageConfig::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(config.platform.normal().as_str(), "linux/arm64");
            assert_eq!((config.created.as_str(), &config.rootfs.diff_ids), (created, &diff_ids), "{text}");
            assert_eq!(config.history.iter().map(|step| step.created_by.as_str()).collect::<Vec<_>>(), commands);
        }
    }

    #[test]
    fn a_platform_that_cannot_be_known_is_refused() {
        for (text, expected) in [
            (r#"{"os":1,"architecture":"amd64"}"#, "not an image config: invalid type: integer `1`"),
            (r#"{"os":"linux","os":"windows"}"#, "not an image config: duplicate field `os`"),
            (r#"{"os":"\ud800","architecture":"amd64"}"#, "invalid image config: `os` is not part of a platform"),
            ("null", "not an image config: invalid type: null"),
        ] {
            let error = ImageConfig::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
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
        for (steps, kept) in [(STEPS_MAX, STEPS_MAX), (STEPS_MAX + 1, 0), (STEPS_MAX + 2, 0)] {
            let config =
                format!(r#"{{"history":[{}],"os":"linux","architecture":"arm64"}}"#, vec!["{}"; steps].join(","));
            let config = ImageConfig::parse(config.as_bytes()).unwrap();
            assert_eq!((config.history.len(), config.platform.normal().as_str()), (kept, "linux/arm64"));
        }
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
