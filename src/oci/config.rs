//! Image configs: platform, uncompressed layers, and how each layer was made.

use serde::Deserialize;

use super::digest::Digest;
use super::document::InvalidDocument;
use super::json::{or_default, problem};
use super::platform::PlatformFields;

/// A container image's config (OCI image specification, "Image Configuration"), the parts that this program uses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct ImageConfig {
    /// When the image was made, RFC 3339; empty where the config does not say.
    #[serde(default, deserialize_with = "or_default")]
    pub created: String,
    /// Its platform.
    #[serde(flatten)]
    pub platform: PlatformFields,
    /// The layers' uncompressed digests.
    #[serde(default, deserialize_with = "or_default")]
    pub rootfs: RootFs,
    /// The steps that made the image, those without a layer included.
    #[serde(default, deserialize_with = "or_default")]
    pub history: Vec<History>,
}

/// The layers' uncompressed digests, bottom first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct RootFs {
    /// One for each layer of the manifest.
    #[serde(default, deserialize_with = "or_default")]
    pub diff_ids: Vec<Digest>,
}

/// One step of an image's making.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct History {
    /// RFC 3339.
    #[serde(default, deserialize_with = "or_default")]
    pub created: String,
    /// The command.
    #[serde(default, deserialize_with = "or_default")]
    pub created_by: String,
    /// The builder's comment.
    #[serde(default, deserialize_with = "or_default")]
    pub comment: String,
    /// Whether the step made no layer.
    #[serde(default)]
    pub empty_layer: bool,
}

impl ImageConfig {
    /// Reads a config's bytes.
    pub fn parse(body: &[u8]) -> Result<Self, InvalidDocument> {
        let config: Self = serde_json::from_slice(body).map_err(|error| InvalidDocument::Json(problem(&error)))?;
        config.platform.check()?;
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_config_may_leave_everything_out_or_null() {
        assert_eq!(ImageConfig::parse(b"{}").unwrap(), ImageConfig::default());
        let config = ImageConfig::parse(br#"{"created":null,"rootfs":{"diff_ids":null},"history":null,"os":"linux","architecture":"arm64","variant":"v8","config":{"Env":["A=b"]}}"#).unwrap();
        assert_eq!(config.platform.normal().as_str(), "linux/arm64");
    }

    proptest! {
        #[test]
        fn no_body_panics_the_parser(body: Vec<u8>) {
            let _ = ImageConfig::parse(&body);
        }
    }
}
