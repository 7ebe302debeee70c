//! Which command made which layer of an image.

use super::world::World;
use crate::image::Commands;
use crate::inventory::snapshot::{ImageView, LayerPlaces};

pub(super) struct LayerCommands<'a> {
    /// One for each layer of the manifest.
    commands: Option<Commands>,
    places: &'a LayerPlaces,
}

impl<'a> LayerCommands<'a> {
    pub(super) fn new(world: &World, view: &'a ImageView) -> Self {
        let commands = view.image.image_id.as_ref().and_then(|config| (world.commands)(config));
        let commands = commands.filter(|commands| commands.len() as u64 == view.image.layers);
        Self { commands, places: &view.places }
    }

    /// The command that made a layer, by its place in the view's `layers`; none while it is unknown.
    pub(super) fn of(&self, at: usize) -> Option<Box<str>> {
        self.commands.as_ref()?.get(self.places.in_manifest(at)).cloned()
    }
}
