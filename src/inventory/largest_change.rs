//! The layer that makes a release bigger than the one before it.

use std::collections::HashSet;

use super::layer_table::{LayerTable, StoredImage};
use super::snapshot::LargestChange;
use crate::image::Commands;
use crate::oci::Digest;

/// The most characters of a command that are published as a label.
const COMMAND_CHARACTERS_MAX: usize = 120;

/// Looks up the commands that made an image's layers, by its config.
pub(super) type CommandsOf<'a> = &'a dyn Fn(&Digest) -> Option<Commands>;

/// The layer of `new` that grew most against `old`; none where each of its layers is in `old`, or smaller, and while the
/// commands of either are unknown: they tell which layer was made anew.
pub(super) fn largest_change(
    layers: &LayerTable,
    new: &StoredImage,
    old: &StoredImage,
    commands_of: CommandsOf<'_>,
) -> Option<LargestChange> {
    let digests = |image| layers.fetched(image).map(|(digest, _)| digest).collect::<HashSet<&Digest>>();
    let (in_new, in_old) = (digests(new), digests(old));
    let mut gone: Vec<Made> = made(layers, old, commands_of)?;
    gone.retain(|layer| !in_new.contains(layer.digest));
    let mut largest: Option<LargestChange> = None;
    for layer in made(layers, new, commands_of)?.into_iter().filter(|layer| !in_old.contains(layer.digest)) {
        let before = gone.iter().position(|other| layer.command.is_some() && other.command == layer.command);
        let bytes = layer.bytes.saturating_sub(before.map_or(0, |at| gone.remove(at).bytes));
        if bytes > largest.as_ref().map_or(0, |largest| largest.bytes) {
            let command =
                layer.command.map(|command| command.chars().take(COMMAND_CHARACTERS_MAX).collect::<String>().into());
            largest = Some(LargestChange { digest: layer.digest.clone(), bytes, command });
        }
    }
    largest
}

/// A layer, and the command that made it, where the history has one.
struct Made<'a> {
    digest: &'a Digest,
    bytes: u64,
    command: Option<Box<str>>,
}

/// The layers of an image that the registry stores; `None` where their commands are unknown.
fn made<'a>(layers: &'a LayerTable, image: &'a StoredImage, commands_of: CommandsOf<'_>) -> Option<Vec<Made<'a>>> {
    let commands = image.summary.image_id.as_ref().and_then(commands_of)?;
    if commands.len() as u64 != image.summary.layers {
        return None;
    }
    let command =
        |at: usize| Some(commands[image.places.in_manifest(at)].clone()).filter(|command| !command.is_empty());
    let stored = image.stored.iter().enumerate();
    let made =
        stored.map(|(at, layer)| Made { digest: layers.digest(layer.layer), bytes: layer.bytes, command: command(at) });
    Some(made.collect())
}
