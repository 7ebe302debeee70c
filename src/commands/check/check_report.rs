//! The result of `check` as data: the schema of `--format json`.
//!
//! Sizes are in bytes, digests are `algorithm:value`. What is unknown is `null`, never 0.

use serde::Serialize;

use super::rules::{Judgement, Rule};
use crate::commands::inspect::{Change, Difference, FailedReport, FilesReport, GrowthReport, SizeKind};
use crate::oci::Digest;

/// The result.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Check {
    /// Whether the image may pass.
    pub verdict: Verdict,
    /// Which bytes are compared. Compressed ones, unless an image has none: see [`SizeKind`].
    pub size: SizeKind,
    /// The image that is judged.
    pub new: CheckedImage,
    /// The one before it, or why there is none.
    pub baseline: Baseline,
    /// Each platform of the new image, in the index's order.
    pub platforms: Vec<PlatformCheck>,
    /// Platforms of the new image that could not be read.
    pub failed: Vec<FailedReport>,
    /// What else there is to know, in words.
    pub notes: Vec<String>,
}

/// Whether an image may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// No rule fails.
    Fine,
    /// A rule fails.
    TooBig,
    /// No rule fails, and one could not be judged.
    Unknown,
}

/// An image that was read.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CheckedImage {
    /// In full.
    pub reference: String,
    /// Of its manifest or index; of its config, Docker's image ID, where it has neither.
    pub digest: Digest,
}

/// The image to compare with.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Baseline {
    /// None was asked for.
    None,
    /// It does not exist: the first push.
    Missing {
        /// What was looked for.
        reference: String,
        /// What was found instead.
        message: String,
    },
    /// It was read.
    Read(CheckedImage),
}

/// One platform.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlatformCheck {
    /// `linux/amd64`; empty for an artifact.
    pub platform: String,
    /// Bytes of the old image's layers; none without an old image, too.
    pub old_bytes: Option<u64>,
    /// Bytes of the new image's layers.
    pub new_bytes: Option<u64>,
    /// Whether these include an estimate.
    pub estimated: bool,
    /// Bytes of the new image's distinct layers that the old one has too.
    pub shared_bytes: Option<u64>,
    /// Bytes of the new image's distinct layers that the old one lacks: what a node that has the old one must fetch.
    pub update_bytes: Option<u64>,
    /// The rules that are set.
    pub rules: Vec<Judgement>,
    /// The layers, bottom first, as `inspect` compares them; all `added` without an old image.
    pub layers: Vec<Difference>,
    /// Whether there is an old image of this platform.
    pub compared: bool,
    /// The new image's files; only with `--files` and `--max-wasted`, and where they can be known. With `--max-wasted`
    /// alone only the wasted ones are listed.
    pub files: Option<FilesReport>,
    /// How they differ from the old image's; only with `--files`.
    pub files_growth: Option<GrowthReport>,
}

impl Check {
    /// The verdict in one line.
    pub fn summary(&self) -> String {
        let reference = &self.new.reference;
        match (self.verdict, &self.baseline) {
            (Verdict::TooBig, _) => format!("{reference} is too big: {}", self.complaints().join("; ")),
            (_, Baseline::Missing { message, .. }) => format!("nothing to compare {reference} with: {message}"),
            (Verdict::Unknown, _) => format!("{reference} cannot be judged: {}", self.complaints().join("; ")),
            (Verdict::Fine, _) => format!("{reference} is within its limits"),
        }
    }

    /// The failed rules, or where none failed those that could not be judged.
    fn complaints(&self) -> Vec<String> {
        let wanted = if self.verdict == Verdict::TooBig { Some(false) } else { None };
        let rules = self.platforms.iter().flat_map(|platform| {
            let wanted = platform.rules.iter().filter(move |judged| judged.passed == wanted);
            wanted.map(|judged| platform.named(&judged.message))
        });
        let unread = self.failed.iter().filter(|_| self.verdict == Verdict::Unknown);
        rules.chain(unread.map(|failed| format!("{} cannot be read ({})", failed.platform, failed.reason))).collect()
    }
}

impl PlatformCheck {
    /// A text about this platform.
    pub(super) fn named(&self, text: &str) -> String {
        if self.platform.is_empty() { text.to_owned() } else { format!("{}: {text}", self.platform) }
    }

    /// Whether this rule fails.
    pub(super) fn fails(&self, rule: Rule) -> bool {
        self.rules.iter().any(|judged| judged.rule == rule && judged.passed == Some(false))
    }

    /// Whether a rule fails.
    pub(super) fn is_too_big(&self) -> bool {
        self.rules.iter().any(|judged| judged.passed == Some(false))
    }

    /// The layers that made it grow and by how much, the worst first; without an old image the biggest ones.
    pub(super) fn culprits(&self, kind: SizeKind) -> Vec<(&Difference, u64)> {
        let growth = |layer: &Difference| {
            let bytes = |side: Option<&_>| side.and_then(|layer| kind.of(layer)).unwrap_or(0);
            match layer.change {
                Change::Shared | Change::Removed => 0,
                Change::Added | Change::Changed => bytes(layer.new.as_ref()).saturating_sub(bytes(layer.old.as_ref())),
            }
        };
        let mut grown: Vec<(&Difference, u64)> =
            self.layers.iter().map(|layer| (layer, growth(layer))).filter(|(_, growth)| *growth > 0).collect();
        grown.sort_by_key(|(_, growth)| std::cmp::Reverse(*growth));
        grown
    }
}
