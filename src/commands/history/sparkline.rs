//! A line of blocks, as high as the values.

const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The values from the smallest to the biggest, in at most `width` blocks: of more values the last of each block is
/// shown. Values that are all the same are in the middle.
pub(super) fn sparkline(values: &[u64], width: usize) -> String {
    let shown = values.len().min(width);
    let last = |block: usize| values[(block + 1) * values.len() / shown - 1];
    let values: Vec<u64> = (0..shown).map(last).collect();
    let (Some(&min), Some(&max)) = (values.iter().min(), values.iter().max()) else { return String::new() };
    let height = |value: u64| -> usize {
        if min == max {
            return 3;
        }
        let height = u128::from(value - min) * 7 / u128::from(max - min);
        usize::try_from(height).unwrap_or(7)
    };
    values.into_iter().map(|value| BLOCKS[height(value).min(7)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_as_high_as_its_values() {
        for (values, width, expected) in [
            (&[][..], 9, ""),
            (&[5], 9, "▄"),
            (&[5, 5], 9, "▄▄"),
            (&[0, 7, 3], 9, "▁█▄"),
            (&[u64::MAX, 0], 9, "█▁"),
            (&[1, 2, 3, 4, 5, 6], 3, "▁▄█"),
            (&[1, 2, 3, 4, 5], 2, "▁█"),
        ] {
            assert_eq!(sparkline(values, width), expected, "{values:?}");
        }
    }
}
