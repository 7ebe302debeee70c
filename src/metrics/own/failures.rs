//! What failed, as the log says it, for the page: nobody has to look for a line of three days ago.

use std::sync::Arc;

use crate::image::Timestamp;
use crate::oci::Reason;
use crate::oci::text::beginning;

/// The most failures that are kept of a scan.
const KEPT_MAX: usize = 100;

/// The most bytes that are kept of a message.
const MESSAGE_BYTES_MAX: usize = 1_024;

/// The failures of a target's last scan that had any, and what the log said of it otherwise.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScanTrouble {
    /// The last scan with failures; it stays when a later one has none.
    pub failures: Option<Arc<ScanFailures>>,
    /// Why the target selects nothing, or why a tag has none of its platforms, as of its last scan.
    pub remarks: Arc<[String]>,
}

/// The failures of one scan.
#[derive(Clone, Debug, PartialEq)]
pub struct ScanFailures {
    /// When the scan ended.
    pub at: Timestamp,
    /// How many there were.
    pub count: u64,
    /// The first of them.
    pub first: Vec<ScanFailure>,
}

/// One failure of a scan.
#[derive(Clone, Debug, PartialEq)]
pub struct ScanFailure {
    /// The tag, `registry/repository:tag`, or the target.
    pub location: String,
    /// Why, as in metrics.
    pub reason: Reason,
    /// Why, as in the log.
    pub message: String,
}

impl ScanFailures {
    /// Keeps the first failures; `None` if there is none.
    pub fn new(at: Timestamp, failures: &[ScanFailure]) -> Option<Self> {
        let kept = |failure: &ScanFailure| ScanFailure {
            message: beginning(&failure.message, MESSAGE_BYTES_MAX).to_owned(),
            ..failure.clone()
        };
        let first = failures.iter().take(KEPT_MAX).map(kept).collect();
        (!failures.is_empty()).then_some(Self { at, count: failures.len() as u64, first })
    }
}
