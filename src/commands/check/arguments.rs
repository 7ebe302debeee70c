//! The command line of `check`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::rules::Percent;
use crate::config::size;
use crate::local::{Location, Transport};
use crate::oci::{Platform, Reference};
use crate::target::Uncompressed;
use crate::target::Words as _;

/// The arguments of `check`.
#[derive(Clone, Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct Arguments {
    /// The image to judge: a reference, or `docker-archive:FILE`, `oci:DIRECTORY`, `oci-archive:FILE`, `docker-daemon:NAME`
    #[arg(value_name = "NEW")]
    pub new: Source,
    /// The image to compare it with: as NEW, or `newest:TARGET`, the newest release of a target of the configuration
    #[arg(long, value_name = "OLD")]
    pub against: Option<Against>,
    /// Fail if an image is bigger
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub max_size: Option<u64>,
    /// Fail if an image grew by more than this share of the old one, as in `10%`
    #[arg(long, value_name = "PERCENT", requires = "against")]
    pub max_growth: Option<Percent>,
    /// … and by more than this size
    #[arg(long, value_name = "SIZE", value_parser = size, requires = "max_growth")]
    pub max_growth_floor: Option<u64>,
    /// Fail if an image has more bytes in files that a later layer overwrites or removes; streams all of its layers
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub max_wasted: Option<u64>,
    /// List the files: what grew and what is wasted; streams all layers of both images
    #[arg(long)]
    pub files: bool,
    /// Fail, with exit code 8, if the image to compare with does not exist
    #[arg(long, requires = "against")]
    pub require_baseline: bool,
    /// The reference under which NEW will be pushed: for the configuration's budgets, and for `newest:TARGET`
    #[arg(long = "as", value_name = "REF")]
    pub pushed_as: Option<Reference>,
    /// Only this platform, as in `linux/arm64`
    #[arg(long)]
    pub platform: Option<Platform>,
    /// How a registry's layers are measured where compressed sizes cannot be compared: `cheap` fetches a few bytes of each
    /// layer, `exact` streams those that differ
    #[arg(long, value_name = "cheap|exact", default_value = "cheap", value_parser = uncompressed)]
    pub uncompressed: Uncompressed,
    /// What to print, perhaps to a file; repeatable: `text`, `json`, `markdown`, `github`, `junit`
    #[arg(long, value_name = "FORMAT[=FILE]")]
    pub format: Vec<Output>,
    /// JSON instead of text: the same as `--format json`
    #[arg(long, conflicts_with = "format")]
    pub json: bool,
    /// Exact bytes instead of KiB and MiB
    #[arg(long)]
    pub bytes: bool,
    /// Whole commands, and every column, however narrow the terminal is
    #[arg(long)]
    pub no_trunc: bool,
}

impl Arguments {
    /// What to print: text, where nothing is asked for.
    pub(super) fn outputs(&self) -> Vec<Output> {
        if !self.format.is_empty() {
            return self.format.clone();
        }
        vec![Output { format: if self.json { Format::Json } else { Format::Text }, file: None }]
    }

    /// Whether the new image's files have to be listed.
    pub(super) fn lists_new_files(&self) -> bool {
        self.files || self.max_wasted.is_some()
    }

    /// The reference under which the new image is or will be known.
    pub(super) fn pushed_as(&self) -> Option<&Reference> {
        match (&self.pushed_as, &self.new) {
            (Some(reference), _) | (None, Source::Registry(reference)) => Some(reference),
            (None, Source::Local(_)) => None,
        }
    }
}

/// An image, on a registry or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// On a registry.
    Registry(Reference),
    /// Not on a registry.
    Local(Location),
}

/// The image to compare with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Against {
    /// This one.
    Source(Source),
    /// The newest release of the target with this name.
    Newest(String),
}

/// A format, and where it is written: standard output, or a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// The format.
    pub format: Format,
    /// The file.
    pub file: Option<PathBuf>,
}

/// How the result is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// For a comment on a pull request.
    Markdown,
    /// Annotations of GitHub Actions.
    Github,
    /// A JUnit report, which GitLab and others show.
    Junit,
}

const FORMATS: [(&str, Format); 5] = [
    ("text", Format::Text),
    ("json", Format::Json),
    ("markdown", Format::Markdown),
    ("github", Format::Github),
    ("junit", Format::Junit),
];

fn uncompressed(text: &str) -> Result<Uncompressed, String> {
    match Uncompressed::from_word(text) {
        Ok(Uncompressed::Off | Uncompressed::Files) | Err(_) => Err(format!("`{text}` is neither `cheap` nor `exact`")),
        Ok(mode) => Ok(mode),
    }
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if Transport::of(text).is_some() {
            return text.parse().map(Self::Local).map_err(|error: crate::local::InvalidLocation| error.to_string());
        }
        text.parse().map(Self::Registry).map_err(|error: crate::oci::reference::InvalidReference| error.to_string())
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(reference) => reference.fmt(f),
            Self::Local(location) => location.fmt(f),
        }
    }
}

impl FromStr for Against {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("newest:") {
            Some("") => Err("`newest:` names no target: write for example newest:backend".to_owned()),
            Some(target) => Ok(Self::Newest(target.to_owned())),
            None => text.parse().map(Self::Source),
        }
    }
}

impl FromStr for Output {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (word, file) = text.split_once('=').map_or((text, None), |(word, file)| (word, Some(file)));
        let format = FORMATS.iter().find(|(name, _)| *name == word).map(|(_, format)| *format);
        match (format, file) {
            (Some(_), Some("")) => Err(format!("`{text}` names no file: write for example {word}=size.txt")),
            (Some(format), file) => Ok(Self { format, file: file.map(PathBuf::from) }),
            (None, _) => Err(format!("`{word}` is not a format: write text, json, markdown, github or junit")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_references_or_named_with_their_format() {
        for (text, expected) in [
            ("alpine", "docker.io/library/alpine:latest"),
            ("localhost:5000/acme/app:v1", "localhost:5000/acme/app:v1"),
            ("oci:dist", "oci:dist"),
            ("docker-archive:app.tar:acme/app:v1", "docker-archive:app.tar:acme/app:v1"),
        ] {
            assert_eq!(text.parse::<Source>().unwrap().to_string(), expected);
        }
        assert_eq!("newest:api".parse(), Ok(Against::Newest("api".to_owned())));
        assert_eq!("newest".parse::<Against>(), Ok(Against::Source("newest".parse().unwrap())));
        assert!("newest:".parse::<Against>().is_err() && "oci:".parse::<Against>().is_err());
    }

    #[test]
    fn an_output_is_a_format_and_perhaps_a_file() {
        let output = |text: &str| text.parse::<Output>();
        assert_eq!(output("github"), Ok(Output { format: Format::Github, file: None }));
        assert_eq!(output("junit=a=b.xml"), Ok(Output { format: Format::Junit, file: Some("a=b.xml".into()) }));
        assert_eq!(output("xml").unwrap_err(), "`xml` is not a format: write text, json, markdown, github or junit");
        assert!(output("json=").is_err());
    }
}
