//! What of the published values no longer follows from what is known: the only place where that is noted.
//!
//! A registry's and each of its repositories' values are cached until a change marks both. Sums are published too, so
//! that stale sums are always a stale view.

/// Which cached values a change affects.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// The view: what is published, without the sums that enter it.
    View,
    /// The sums, and the view with them.
    Sums,
}

/// Which cached values of a registry or repository have to be computed again. At first all of them.
pub(super) struct Stale {
    sums: bool,
    view: bool,
}

impl Default for Stale {
    fn default() -> Self {
        Self { sums: true, view: true }
    }
}

impl Stale {
    /// Marks a registry's, or of one of its repositories alone, where the registry is marked for all of them.
    pub(super) fn mark(&mut self, part: Part) {
        self.view = true;
        self.sums |= part == Part::Sums;
    }

    /// Marks a registry's values and those of one of its repositories.
    pub(super) fn mark_with(&mut self, repository: &mut Self, part: Part) {
        repository.mark(part);
        self.mark(part);
    }

    /// Whether what is published may differ from what was published last.
    pub(super) fn has_view(&self) -> bool {
        self.view
    }

    /// Whether the sums have to be computed, which the caller does now.
    pub(super) fn take_sums(&mut self) -> bool {
        std::mem::take(&mut self.sums)
    }

    /// Whether the view has to be made, which the caller does now.
    pub(super) fn take_view(&mut self) -> bool {
        std::mem::take(&mut self.view)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stale_sums_are_a_stale_view_and_not_the_other_way_round() {
        let (mut registry, mut repository) = (Stale::default(), Stale::default());
        for stale in [&mut registry, &mut repository] {
            assert!(stale.take_sums() && stale.take_view(), "nothing was computed yet");
            assert!(!stale.take_sums() && !stale.take_view());
        }
        registry.mark_with(&mut repository, Part::View);
        for stale in [&mut registry, &mut repository] {
            assert!(stale.has_view() && !stale.take_sums() && stale.take_view() && !stale.has_view());
        }
        registry.mark_with(&mut repository, Part::Sums);
        for stale in [&mut registry, &mut repository] {
            assert!(stale.take_sums() && stale.take_view());
        }
    }
}
