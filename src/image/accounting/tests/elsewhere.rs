use super::*;

/// All layers' numbers are below this.
fn layers_end(listed: &[Listed]) -> u32 {
    listed.iter().flat_map(|one| &one.3).map(|one| one.layer + 1).max().unwrap_or(0)
}

/// What these series say of each layer below `end`.
pub(super) fn counts(listed: &[Listed], end: u32) -> Vec<LayerCount> {
    let mut census = noted(listed);
    census.settle(mark);
    (0..end).map(|layer| census.count(layer, mark)).collect()
}

/// Bytes of the layers that any series lists.
pub(super) fn bytes(counts: &[LayerCount]) -> u128 {
    counts.iter().map(|count| u128::from(count.bytes)).sum()
}

proptest! {
    #[test]
    fn a_part_with_what_others_count_has_the_figures_of_the_whole(
        listed in registries(),
        place in prop::collection::vec(0..3_u32, 4),
    ) {
        let whole = usage(&listed);
        let end = layers_end(&listed);
        let part = |of: u32| -> Vec<Listed> {
            listed.iter().filter(|one| place[one.0 as usize] == of).cloned().collect()
        };
        let mut stored = Vec::new();
        for own in 0..3 {
            let series = part(own);
            let others = (0..3).filter(|&other| other != own).map(|other| counts(&part(other), end));
            let together = others.reduce(|a, b| a.into_iter().zip(b).map(|(a, b)| a.and(b)).collect()).unwrap();
            let mut census = noted(&series);
            (0..).zip(&together).for_each(|(layer, count)| census.set_elsewhere(layer, *count));
            census.settle(mark);
            let usage = figures(&series, &census, bytes(&together), &[], |_| 0);
            for (one, shares) in series.iter().zip(&usage.series) {
                let same = listed.iter().zip(&whole.series).find(|(other, _)| *other == one).unwrap().1;
                prop_assert_eq!(shares, same);
                prop_assert_eq!(usage.tag_stored_bytes[one.1 as usize], whole.tag_stored_bytes[one.1 as usize]);
                let repository = |usage: &Usage| usage.repositories[one.0 as usize];
                prop_assert_eq!(repository(&usage), repository(&whole));
            }
            stored.push(usage.stored_bytes);
        }
        prop_assert_eq!(stored, [whole.stored_bytes; 3]);
    }
}

#[test]
fn a_layer_that_nobody_lists_counts_for_nothing() {
    let none = LayerCount::default();
    let one = LayerCount { bytes: 5, image: Some(mark(1)), series: 2 };
    assert_eq!((none.and(one), one.and(none), none.and(none)), (one, one, none));
    let other = LayerCount { bytes: 4, image: Some(mark(2)), series: 1 };
    assert_eq!(one.and(other), LayerCount { bytes: 4, image: None, series: 3 });
    assert_eq!(one.and(one).image, Some(mark(1)));
    assert_eq!(one.and(other).and(other).image, None, "several stay several");
}
