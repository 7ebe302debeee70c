//! Enums that people write as one of a few words, in the configuration and on the command line.

/// An enum with a word for each value.
pub trait Words: Copy + PartialEq + 'static {
    /// Every value with its word.
    const WORDS: &'static [(&'static str, Self)];

    /// The value of a word. The error says which words there are.
    fn from_word(text: &str) -> Result<Self, String> {
        let found = Self::WORDS.iter().find(|(word, _)| *word == text);
        found.map(|(_, value)| *value).ok_or_else(|| format!("`{text}` is not a valid value: {}", Self::remedy()))
    }

    /// The word of this value.
    fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, value)| *value == self).map_or("", |(word, _)| word)
    }

    /// What to write: `write "off", "cheap", "exact" or "files"`.
    fn remedy() -> String {
        let words: Vec<String> = Self::WORDS.iter().map(|(word, _)| format!("{word:?}")).collect();
        match words.split_last() {
            Some((last, others)) if !others.is_empty() => format!("write {} or {last}", others.join(", ")),
            _ => format!("write {}", words.concat()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::{Detail, NewestBy, Sort, Uncompressed};

    #[test]
    fn every_value_has_a_word_that_reads_as_the_value() {
        fn check<T: Words + std::fmt::Debug>() {
            for &(word, value) in T::WORDS {
                assert_eq!((value.word(), T::from_word(word)), (word, Ok(value)));
            }
        }
        check::<Uncompressed>();
        check::<Detail>();
        check::<NewestBy>();
        check::<Sort>();
        let expected = "`on` is not a valid value: write \"off\", \"cheap\", \"exact\" or \"files\"";
        assert_eq!(Uncompressed::from_word("on").unwrap_err(), expected);
    }
}
