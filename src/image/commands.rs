//! The commands that made an image's layers, as its config tells them.

use std::sync::Arc;

use super::human::command;
use crate::oci::ImageConfig;
use crate::oci::text::beginning;

/// The commands that made an image's layers, bottom first: one for each layer, each on one line of at most 400 bytes.
pub type Commands = Arc<[Box<str>]>;

/// The most bytes that are kept of a command: longer ones are told apart by their beginnings.
const COMMAND_BYTES_MAX: usize = 400;

/// Of an image with more layers no commands are kept. Docker allows 127 layers.
const LAYERS_MAX: usize = 256;

/// The steps of a config's history that made a layer; none where it has no history, or too many steps.
pub fn layer_commands(config: &ImageConfig) -> Option<Commands> {
    let steps = config.history.iter().filter(|step| !step.empty_layer);
    let steps: Vec<_> = steps.take(LAYERS_MAX + 1).collect();
    let written: Vec<&str> = steps.iter().map(|step| [&*step.created_by, &*step.comment]).map(first).collect();
    if written.len() > LAYERS_MAX || written.iter().all(|text| text.is_empty()) {
        return None;
    }
    let text = |text: &str| beginning(&command(text), COMMAND_BYTES_MAX).into();
    Some(written.into_iter().map(text).collect())
}

/// The first that is not empty: some builders write a comment alone.
fn first(texts: [&str; 2]) -> &str {
    texts.into_iter().find(|text| !text.is_empty()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::config::History;

    #[test]
    fn each_step_that_made_a_layer_has_its_command() {
        let step = |created_by: &str, empty_layer| History {
            created_by: created_by.to_owned(),
            empty_layer,
            ..History::default()
        };
        let of = |history| layer_commands(&ImageConfig { history, ..ImageConfig::default() });
        assert_eq!(of(vec![]), None);
        assert_eq!(of(vec![step("", false)]), None);
        assert_eq!(of(vec![step("RUN x", true)]), None);
        assert_eq!(of(vec![step("RUN x", false); LAYERS_MAX + 1]), None);
        let long = "x".repeat(500);
        let commands = of(vec![step("/bin/sh -c  a\n b", false), step("ENV a=b", true), step(&long, false)]).unwrap();
        assert_eq!((&*commands[0], commands[1].len(), commands.len()), ("RUN a b", 400, 2));
    }
}
