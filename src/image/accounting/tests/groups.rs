use super::*;

/// The same series, with the groups of each tag.
fn in_groups(listed: &[Listed], sets: &[BTreeSet<u32>], set_of: impl Fn(u32) -> usize) -> Usage {
    let numbered: Vec<Box<[u32]>> = sets.iter().map(|set| set.iter().copied().collect()).collect();
    let mut census = noted(listed);
    census.settle(mark);
    figures(listed, &census, 0, &numbered, set_of)
}

#[test]
fn groups_may_share_a_base_and_an_image() {
    let (base, x, y, z) = ((0, 100), (1, 10), (2, 20), (3, 7));
    let listed = [
        (0, 0, 0, layers(&[base, x])),
        (1, 1, 1, layers(&[base, y])),
        (1, 2, 2, layers(&[base, z])),
        (2, 3, 3, layers(&[base])),
    ];
    // The first repository is in one group, the second's tags in another one or in both, the third in none.
    let sets = [[0].into(), [1].into(), [0, 1].into(), [].into()];
    let usage = in_groups(&listed, &sets, |tag| tag as usize);
    // Each of them has z, in an image that is in no third one.
    let groups = [
        GroupUsage { stored_bytes: 117, unique_bytes: 17, proportional_bytes: 35.0 + 32.0 / 2.0 },
        GroupUsage { stored_bytes: 127, unique_bytes: 27, proportional_bytes: 45.0 + 32.0 / 2.0 },
    ];
    assert_eq!(usage.groups, groups.map(Some));
}

proptest! {
    #[test]
    fn the_figures_of_groups_equal_their_definitions(
        listed in registries(),
        sets in prop::collection::vec(prop::collection::btree_set(0..4_u32, 0..3), 1..5),
        // Of few sets, most repositories have tags of one only.
        seed: u64,
        by_repository: bool,
    ) {
        let repository_of: BTreeMap<u32, u32> = listed.iter().map(|one| (one.1, one.0)).collect();
        let set_of = |tag: u32| {
            let of = if by_repository { u64::from(repository_of[&tag]) } else { u64::from(tag) };
            usize::try_from(seed.rotate_left(u32::try_from(of * 7 % 64).unwrap()) % sets.len() as u64).unwrap()
        };
        let usage = in_groups(&listed, &sets, set_of);
        let plain = Plain(&listed);
        let is_in = |one: &Listed, group: u32| sets[set_of(one.1)].contains(&group);
        let of = |group: u32| usage.groups.get(group as usize).copied().flatten();
        for group in 0..4 {
            let inside = plain.distinct(|one| is_in(one, group));
            let outside = plain.distinct(|one| !is_in(one, group));
            let members = || listed.iter().filter(|one| is_in(one, group));
            prop_assert_eq!(of(group).is_some(), members().next().is_some());
            let Some(sums) = of(group) else { continue };
            prop_assert_eq!(sums.stored_bytes, plain.bytes(inside.clone()));
            prop_assert_eq!(sums.unique_bytes, plain.bytes(&inside - &outside));
            let share: f64 = members().map(|one| plain.share(one) / sets[set_of(one.1)].len() as f64).sum();
            prop_assert!((sums.proportional_bytes - share).abs() < 1e-9 * (1.0 + share), "{share}");
            prop_assert!(sums.unique_bytes <= sums.stored_bytes && sums.stored_bytes <= usage.stored_bytes);
            prop_assert!(sums.proportional_bytes <= sums.stored_bytes as f64 + 1e-6);
            // What nobody else has, nobody else pays for.
            let is_alone = members().all(|one| sets[set_of(one.1)].len() == 1);
            prop_assert!(!is_alone || sums.unique_bytes as f64 <= sums.proportional_bytes + 1e-6);
        }
        let in_none: f64 = listed.iter().zip(&usage.series).filter(|(one, _)| sets[set_of(one.1)].is_empty())
            .map(|(_, shares)| shares.proportional_bytes).sum();
        let in_groups: f64 = (0..4).filter_map(of).map(|sums| sums.proportional_bytes).sum();
        prop_assert!((in_groups + in_none - usage.stored_bytes as f64).abs() < 1e-6 * (1.0 + in_groups));

        let without = super::usage(&listed);
        prop_assert_eq!(Usage { groups: Vec::new(), ..usage }, without);
    }
}
