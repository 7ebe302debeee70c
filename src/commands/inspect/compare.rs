//! Compares two images layer by layer.

use std::collections::VecDeque;

use serde::Serialize;

use super::files_report::GrowthReport;
use super::report::{ImageReport, LayerReport, SizeKind, Step};

/// Two images of one platform, the old one and the new one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// The new image's.
    pub platform: String,
    /// Which bytes are compared: compressed ones, for `inspect`.
    #[serde(skip)]
    pub kind: SizeKind,
    /// Bytes of the old one.
    pub old_bytes: Option<u64>,
    /// Bytes of the new one.
    pub new_bytes: Option<u64>,
    /// Bytes of the new image's layers that the old one has too, which a pull does not fetch again.
    pub shared_bytes: u64,
    /// The new image's layers, bottom first, and between them the old image's removed layers.
    pub layers: Vec<Difference>,
    /// How their files differ; only with `--files`, and where they can be known.
    pub files: Option<GrowthReport>,
}

/// One layer in two images.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// How it changed.
    pub change: Change,
    /// The command that created it, from the new image if it is in both.
    pub command: Option<String>,
    /// The old image's.
    pub old: Option<LayerReport>,
    /// The new image's.
    pub new: Option<LayerReport>,
}

/// How a layer changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// The same blob, or the same tar compressed differently.
    Shared,
    /// Different content from the same command.
    Changed,
    /// Only in the new image.
    Added,
    /// Only in the old image.
    Removed,
}

type Made<'a> = (&'a Step, &'a LayerReport);

impl Comparison {
    /// Finds the common layers, in order. The layers between two of these are changed where the commands are the same,
    /// and removed or added otherwise.
    pub(in crate::commands) fn new(old: &ImageReport, new: &ImageReport, kind: SizeKind) -> Self {
        let mut layers = Vec::new();
        let (old_layers, new_layers): (Vec<Made<'_>>, Vec<Made<'_>>) = (old.layers().collect(), new.layers().collect());
        let (mut old_start, mut new_start) = (0, 0);
        for (old_at, new_at) in common(&old_layers, &new_layers) {
            differ(&old_layers[old_start..old_at], &new_layers[new_start..new_at], &mut layers);
            layers.push(difference(Change::Shared, Some(old_layers[old_at]), Some(new_layers[new_at])));
            (old_start, new_start) = (old_at + 1, new_at + 1);
        }
        differ(&old_layers[old_start..], &new_layers[new_start..], &mut layers);
        let shared = layers.iter().filter(|layer| layer.change == Change::Shared);
        Self {
            platform: new.platform.clone(),
            kind,
            old_bytes: kind.of_image(old),
            new_bytes: kind.of_image(new),
            shared_bytes: shared.filter_map(|layer| same_bytes(layer, kind)).sum(),
            layers,
            files: None,
        }
    }
}

/// Bytes of a layer that is in both. The same tar compressed differently is fetched again.
fn same_bytes(layer: &Difference, kind: SizeKind) -> Option<u64> {
    let (old, new) = (layer.old.as_ref()?, layer.new.as_ref()?);
    kind.of(new).filter(|_| kind != SizeKind::Compressed || old.digest == new.digest)
}

fn is_same(old: &LayerReport, new: &LayerReport) -> bool {
    old.digest == new.digest || old.diff_id.is_some() && old.diff_id == new.diff_id
}

/// A longest common subsequence, as positions. Images have tens of layers, at most some hundreds.
fn common(old: &[Made<'_>], new: &[Made<'_>]) -> Vec<(usize, usize)> {
    let width = new.len() + 1;
    let mut lengths = vec![0_u32; (old.len() + 1) * width];
    for (i, (_, a)) in old.iter().enumerate().rev() {
        for (j, (_, b)) in new.iter().enumerate().rev() {
            lengths[i * width + j] = if is_same(a, b) {
                lengths[(i + 1) * width + j + 1] + 1
            } else {
                lengths[(i + 1) * width + j].max(lengths[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j, mut pairs) = (0, 0, Vec::new());
    while i < old.len() && j < new.len() {
        if is_same(old[i].1, new[j].1) {
            pairs.push((i, j));
            (i, j) = (i + 1, j + 1);
        } else if lengths[(i + 1) * width + j] >= lengths[i * width + j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    pairs
}

/// Layers between two common ones.
fn differ(old: &[Made<'_>], new: &[Made<'_>], layers: &mut Vec<Difference>) {
    let mut left: VecDeque<Made<'_>> = old.iter().copied().collect();
    for &made in new {
        let same_command = |old: &Made<'_>| made.0.command.is_some() && old.0.command == made.0.command;
        match left.iter().position(same_command) {
            Some(position) => {
                for removed in left.drain(..position) {
                    layers.push(difference(Change::Removed, Some(removed), None));
                }
                layers.push(difference(Change::Changed, left.pop_front(), Some(made)));
            }
            None => layers.push(difference(Change::Added, None, Some(made))),
        }
    }
    layers.extend(left.into_iter().map(|removed| difference(Change::Removed, Some(removed), None)));
}

fn difference(change: Change, old: Option<Made<'_>>, new: Option<Made<'_>>) -> Difference {
    let command = new.or(old).and_then(|(step, _)| step.command.clone());
    let layer = |made: Option<Made<'_>>| made.map(|(_, layer)| layer.clone());
    Difference { change, command, old: layer(old), new: layer(new) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{Image, Layer};
    use crate::oci::{Digest, History, ImageConfig, MediaType, Platform};

    /// An image of layers `content:command`, each as many bytes as its command is long.
    fn image(layers: &[&str]) -> ImageReport {
        let split = |layer: &&str| layer.split_once(':').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        let parts: Vec<(String, String)> = layers.iter().map(split).collect();
        let layer = |(content, command): &(String, String)| Layer {
            digest: Digest::sha256_of(content.as_bytes()),
            bytes: Some(command.len() as u64),
            foreign: false,
            // Upper and lower case are the same tar.
            diff_id: Some(Digest::sha256_of(content.to_lowercase().as_bytes())),
            media_type: MediaType::default(),
            hint: None,
        };
        let config = ImageConfig {
            history: parts
                .iter()
                .map(|(_, command)| History { created_by: command.clone(), ..History::default() })
                .collect(),
            ..ImageConfig::default()
        };
        let image = Image {
            digest: Digest::sha256_of(b"manifest"),
            image_id: None,
            media_type: MediaType::default(),
            artifact_type: "".into(),
            platform: Platform::none(),
            created: None,
            config_bytes: 0,
            manifest_bytes: 0,
            layers: parts.iter().map(layer).collect(),
        };
        ImageReport::new(&image, Some(&config), |_| None, None)
    }

    #[test]
    fn layers_are_shared_changed_added_and_removed() {
        for (old, new, expected) in [
            (&["a:base", "b:copy"][..], &["a:base", "c:copy"][..], "=base ~copy"),
            (&["a:base", "b:copy"], &["a:base", "x:apt", "b:copy"], "=base +apt =copy"),
            (&["a:base", "x:apt", "b:copy"], &["a:base", "c:copy"], "=base -apt ~copy"),
            (&["a:base"], &["A:base"], "=base"),
            (&["a:one"], &["b:two"], "+two -one"),
            (&[], &["b:two"], "+two"),
        ] {
            let comparison = Comparison::new(&image(old), &image(new), SizeKind::Compressed);
            let sign = |change| match change {
                Change::Shared => '=',
                Change::Changed => '~',
                Change::Added => '+',
                Change::Removed => '-',
            };
            let text: Vec<String> = comparison
                .layers
                .iter()
                .map(|layer| format!("{}{}", sign(layer.change), layer.command.clone().unwrap()))
                .collect();
            assert_eq!(text.join(" "), expected);
        }
    }

    #[test]
    fn the_same_tar_compressed_differently_is_fetched_again() {
        let (old, new) = (image(&["a:base", "b:copy"]), image(&["A:base", "b:copy"]));
        let comparison = Comparison::new(&old, &new, SizeKind::Compressed);
        assert_eq!((comparison.shared_bytes, comparison.new_bytes), (4, Some(8)));
    }
}
