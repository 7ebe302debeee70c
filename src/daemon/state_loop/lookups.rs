//! What the inventory looks up in the store.

use crate::inventory::{BaseSource, Inventory};
use crate::store::Store;

/// Has the inventory look up in `store` what made layers, and what images are built on.
pub(super) fn set(inventory: &mut Inventory, store: &Store) {
    let [commands, names, bases] = [store.clone(), store.clone(), store.clone()];
    inventory.set_commands(Box::new(move |config| commands.commands(config)));
    inventory.set_bases(BaseSource {
        names: Box::new(move |document| names.base_names(document)),
        bases: Box::new(move |image| bases.base(image)),
    });
}
