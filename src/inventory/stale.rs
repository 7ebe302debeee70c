//! What of the published values no longer follows from what is known: the only place where that is noted.
//!
//! A registry's and each of its repositories' values are cached until a change marks both. Sums are published too, so
//! that stale sums are always a stale view.

/// Which cached values a change affects.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum StalePart {
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
    /// Marks the values of a registry, or of a repository whose registry is marked anyway.
    pub(super) fn mark(&mut self, part: StalePart) {
        self.view = true;
        self.sums |= part == StalePart::Sums;
    }

    /// Marks a registry's values and those of one of its repositories.
    pub(super) fn mark_with(&mut self, repository: &mut Self, part: StalePart) {
        repository.mark(part);
        self.mark(part);
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
        registry.mark_with(&mut repository, StalePart::View);
        for stale in [&mut registry, &mut repository] {
            assert!(!stale.take_sums() && stale.take_view());
        }
        registry.mark_with(&mut repository, StalePart::Sums);
        for stale in [&mut registry, &mut repository] {
            assert!(stale.take_sums() && stale.take_view());
        }
    }
}
