//! Texts that many pods have in common, each kept once.

use std::collections::HashSet;
use std::sync::Arc;

/// Below so many texts nothing is dropped.
const FEW: usize = 1024;

#[derive(Default)]
pub(super) struct Names {
    texts: HashSet<Arc<str>>,
    /// How many there may be before those that are no longer used are looked for.
    sweep_at: usize,
}

impl Names {
    /// The shared text.
    pub(super) fn share(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return Arc::clone(known);
        }
        if self.texts.len() >= self.sweep_at.max(FEW) {
            self.texts.retain(|text| Arc::strong_count(text) > 1);
            self.sweep_at = self.texts.len() * 2;
        }
        let text: Arc<str> = text.into();
        self.texts.insert(Arc::clone(&text));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_kept_once_and_only_while_it_is_used() {
        let mut names = Names::default();
        let kept = names.share("kept");
        for at in 0..10 * FEW {
            names.share(&at.to_string());
        }
        assert!(names.texts.len() <= 2 * FEW, "{}", names.texts.len());
        assert!(Arc::ptr_eq(&kept, &names.share("kept")));
    }
}
