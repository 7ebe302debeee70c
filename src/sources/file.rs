//! Files with a reference a line, as other programs write them: read again when they change.
//!
//! A line is one container. Empty lines, and those that begin with `#`, say nothing.

mod listing;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::{Container, Outbox, SourceError};
use crate::clock::unix_now;
use crate::oci::Reason;

use listing::{Look, look};

pub use listing::{InvalidFilePattern, SHELL, check_pattern};

/// Time between two looks at the files' dates.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The longest that reading the files may take: a network's file system may hang.
const LOOK_TIMEOUT: Duration = Duration::from_secs(30);

/// Which files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Absolute paths, or relative to the working directory. `*` and `?` in the last segment stand for any characters and for one.
    pub paths: Vec<PathBuf>,
}

/// Watches the files; never returns.
pub async fn watch(settings: &Settings, outbox: &Outbox) {
    let mut before = None;
    loop {
        let (paths, stamps) = (settings.paths.clone(), before.take());
        let mut looking = tokio::task::spawn_blocking(move || {
            let found = look(&paths, stamps.as_ref());
            (found, stamps)
        });
        let looked = if let Ok(looked) = timeout(LOOK_TIMEOUT, &mut looking).await {
            looked
        } else {
            outbox.failed(SourceError {
                reason: Reason::Timeout,
                message: format!("reading the files takes longer than {} s", LOOK_TIMEOUT.as_secs()),
            });
            looking.await
        };
        // Ends only with the program, or by a panic, which ends the program.
        let Ok((found, stamps)) = looked else { return };
        match found {
            Ok(Look::Unchanged) => {
                before = stamps;
                outbox.confirmed(unix_now());
            }
            Ok(Look::Read { stamps, images }) => {
                before = Some(stamps);
                outbox.saw(images.into_iter().map(container).collect(), unix_now());
            }
            Err(error) => outbox.failed(error),
        }
        sleep(LOOK_INTERVAL).await;
    }
}

fn container(image: String) -> Container {
    Container { image: Arc::from(image), digest: None, node: None, workload: None, name: None }
}
