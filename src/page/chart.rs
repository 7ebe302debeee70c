//! Places of a chart's points and marks. Pure arithmetic: `html` draws it.

use crate::image::Timestamp;

/// A scale of sizes from 0 to a round number, with the marks in between.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SizeScale {
    pub(super) max: u64,
    pub(super) marks: Vec<u64>,
}

impl SizeScale {
    /// A scale that holds these bytes: three to six marks at 1, 2 or 5 times a power of ten of a binary unit.
    pub(super) fn new(bytes: u64) -> Self {
        let rough = bytes as f64 / 4.0;
        let mut unit = 1.0;
        while rough >= unit * 1000.0 && unit < 1e18 {
            unit *= 1024.0;
        }
        let steps = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0];
        let step = steps.iter().map(|step| step * unit).find(|step| *step >= rough).unwrap_or(unit * 1000.0);
        let count = (bytes as f64 / step).ceil().max(1.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "as casts saturate")]
        let marks: Vec<u64> = (0..=count as u32).map(|mark| (f64::from(mark) * step) as u64).collect();
        Self { max: marks.last().copied().unwrap_or(1).max(1), marks }
    }

    /// Where a size stands between 0 and 1.
    pub(super) fn place(&self, bytes: u64) -> f64 {
        bytes as f64 / self.max as f64
    }
}

/// A scale of times from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct TimeScale {
    first: Timestamp,
    seconds: f64,
}

impl TimeScale {
    /// A scale that holds these times; `None` if there is none.
    pub(super) fn new(times: impl Iterator<Item = Timestamp>) -> Option<Self> {
        let (first, last) = times.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), at| (a.min(at), b.max(at)));
        first.is_finite().then_some(Self { first, seconds: last - first })
    }

    /// Where a time stands between 0 and 1; in the middle if there is only one.
    pub(super) fn place(&self, at: Timestamp) -> f64 {
        if self.seconds > 0.0 { (at - self.first) / self.seconds } else { 0.5 }
    }

    /// The times at the ends; one if they are the same.
    pub(super) fn ends(&self) -> Vec<Timestamp> {
        if self.seconds > 0.0 { vec![self.first, self.first + self.seconds] } else { vec![self.first] }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_scale_holds_its_sizes_with_a_few_round_marks(bytes in 0..1_u64 << 60) {
            let scale = SizeScale::new(bytes);
            prop_assert!(scale.max >= bytes && scale.place(bytes) <= 1.0);
            prop_assert!((2..=7).contains(&scale.marks.len()), "{scale:?}");
            prop_assert!(scale.marks.is_sorted() && scale.marks[0] == 0);
        }
    }

    #[test]
    fn marks_are_round_in_binary_units() {
        assert_eq!(SizeScale::new(78 << 20).marks, [0, 20 << 20, 40 << 20, 60 << 20, 80 << 20]);
        assert_eq!(SizeScale::new(0).marks, [0, 1]);
    }

    #[test]
    fn one_time_stands_in_the_middle() {
        let one = TimeScale::new([5.0].into_iter()).unwrap();
        assert_eq!((one.place(5.0), one.ends()), (0.5, vec![5.0]));
        let two = TimeScale::new([9.0, 5.0].into_iter()).unwrap();
        assert_eq!((two.place(6.0), two.ends()), (0.25, vec![5.0, 9.0]));
        assert_eq!(TimeScale::new(std::iter::empty()), None);
    }
}
