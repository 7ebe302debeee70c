//! Where samples are written.

use std::fmt::Write;

/// The samples of one metric, as text.
#[derive(Default)]
pub(crate) struct Sink {
    pub(crate) text: String,
    pub(crate) samples: u32,
}

/// A sample's value. A float that is not finite is unknown, and has no sample.
#[derive(Clone, Copy)]
pub(crate) enum Value {
    Integer(u64),
    Float(f64),
}

impl Sink {
    /// Empty again, with its capacity.
    pub(crate) fn clear(&mut self) {
        self.text.clear();
        self.samples = 0;
    }

    /// One sample: `labels` begin with `{` and lack their `}`, `more` are further ones beginning with a comma.
    pub(crate) fn sample(&mut self, name: &str, labels: &str, more: &str, value: Value) {
        if matches!(value, Value::Float(float) if !float.is_finite()) {
            return;
        }
        let text = &mut self.text;
        text.push_str(name);
        text.push_str(labels);
        text.push_str(more);
        text.push_str("} ");
        // The shortest digits that parse to the same number: valid in both formats.
        match value {
            Value::Integer(integer) => write!(text, "{integer}"),
            Value::Float(float) => write!(text, "{float}"),
        }
        .expect("writing into a string does not fail");
        text.push('\n');
        self.samples += 1;
    }
}
