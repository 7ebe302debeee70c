//! Which published values have to be recomputed: the only place where that is noted.
//!
//! The values of a registry and of each of its repositories are cached until a change marks both. Sums are part of the
//! view, so stale sums make the view stale.

/// Which cached values a change affects.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum StalePart {
    /// The view alone.
    View,
    /// The sums, and with them the view.
    Sums,
}

/// Which cached values of a registry or repository are stale. Initially all of them.
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

    /// Whether the view has to be made.
    pub(super) fn is_view_stale(&self) -> bool {
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
