use super::elsewhere::{bytes, counts};
use super::*;

/// The series of one repository.
fn part(listed: &[Listed], repository: u32) -> Vec<Listed> {
    listed.iter().filter(|one| one.0 == repository).cloned().collect()
}

/// A registry, and others that some of its repositories take their series from, one after the other.
fn histories() -> impl Strategy<Value = Vec<Vec<Listed>>> {
    let changes = prop::collection::vec((registries(), prop::collection::btree_set(0..4_u32, 1..3)), 0..6);
    (registries(), changes).prop_map(|(first, changes)| {
        let mut history = vec![first];
        for (other, repositories) in changes {
            let before = &history[history.len() - 1];
            let of = |repository| part(if repositories.contains(&repository) { &other } else { before }, repository);
            let mut next: Vec<Listed> = (0..4).flat_map(of).collect();
            // Tags are numbered over all repositories.
            let mut key = None;
            let mut tag = 0;
            for one in &mut next {
                let this = (one.0, one.1);
                tag += u32::from(key.is_some_and(|key| key != this));
                key = Some(this);
                one.1 = tag;
            }
            history.push(next);
        }
        history
    })
}

/// Without the numbers of tags.
fn is_same(one: &[Listed], other: &[Listed]) -> bool {
    let content = |listed: &[Listed]| {
        let first = listed.first().map_or(0, |one| one.1);
        listed.iter().map(|one| (one.1 - first, one.2, one.3.clone())).collect::<Vec<_>>()
    };
    content(one) == content(other)
}

proptest! {
    /// To the last bit, whether or not one of the repositories is counted elsewhere.
    #[test]
    fn after_any_changes_figures_are_those_of_a_new_census(history in histories(), has_others: bool) {
        let own = if has_others { 3 } else { 4 };
        let mut census = Census::default();
        let mut before: Vec<Vec<Listed>> = vec![Vec::new(); own as usize];
        let mut known = vec![Figures::default(); own as usize];
        for listed in &history {
            let elsewhere = counts(&part(listed, own), 12);
            (0..).zip(&elsewhere).for_each(|(layer, count)| census.set_elsewhere(layer, *count));
            for repository in 0..own {
                let (now, before) = (part(listed, repository), &mut before[repository as usize]);
                if !is_same(&now, before) {
                    let listed: Vec<StoredLayer> = before.iter().flat_map(|one| one.3.clone()).collect();
                    census.replace(repository, &listed, series_of(&now, |_| 0).1.into_iter());
                }
                *before = now;
            }
            let changed = census.settle(mark).repositories;
            let mut accounting = Accounting::new(&census, false);
            for repository in changed {
                let (tags, series) = series_of(&before[repository as usize], |_| 0);
                known[repository as usize] = accounting.repository(repository, tags.len(), &series);
            }

            let new = usage(listed);
            prop_assert_eq!(census.stored_bytes(bytes(&elsewhere)), new.stored_bytes);
            if !has_others {
                prop_assert_eq!(census.disagreeing().collect::<Vec<_>>(), new.disagreeing);
            }
            let mut series = new.series.iter();
            for (repository, (figures, listed)) in known.iter().zip(&before).enumerate() {
                prop_assert_eq!(figures.usage, new.repositories.get(repository).copied().flatten());
                prop_assert!(figures.series.iter().eq(series.by_ref().take(listed.len())));
                let tags = series_of(listed, |_| 0).0;
                prop_assert!(figures.tags.iter().eq(tags.iter().map(|&tag| &new.tag_stored_bytes[tag as usize])));
            }
            for layer in 0..12 {
                prop_assert_eq!(census.count(layer, mark), counts(&before.concat(), 12)[layer as usize]);
            }
        }
    }
}

#[test]
fn only_repositories_with_a_layer_that_others_count_otherwise_are_named() {
    let (base, x, y, z) = ((0, 100), (1, 10), (2, 20), (3, 30));
    let one = |repository: u32, own: (u32, u64)| (repository, repository, repository, layers(&[base, own]));
    let mut census = noted(&[one(0, x), one(1, y), (2, 2, 2, layers(&[z]))]);
    assert_eq!(census.settle(mark).repositories.len(), 3);
    let mut changed = |repository: u32, before: &[(u32, u64)], now: &[(u32, u64)], image: u32| {
        let now = layers(now);
        let series = Series { tag: 0, image, groups: 0, layers: &now };
        census.replace(repository, &layers(before), std::iter::once(series));
        let mut changed: Vec<u32> = census.settle(mark).repositories.into_iter().collect();
        changed.sort_unstable();
        changed
    };
    assert_eq!(changed(0, &[base, x], &[base, x], 0), [0], "nothing is other than before");
    assert_eq!(changed(0, &[base, x], &[base, (4, 7)], 5), [0], "the base still is in two series");
    assert_eq!(changed(0, &[base, (4, 7)], &[(4, 7), z], 5), [0, 1, 2], "less of the base, and more of another layer");
    assert_eq!(changed(2, &[z], &[z], 5), [0, 2], "the same image, so that the layer is that image's own");
}
