//! The daemon: scans at their time, the one task that writes what is published, and a graceful end.
//!
//! Every target has a worker that sleeps, scans and sends what it found to the state loop. The state loop alone
//! changes the inventory, the stored tags and the published snapshot, so no other task ever waits for a lock on them.

mod first_scans;
mod layers;
mod messages;
mod notified;
mod reload;
mod run;
mod scan_target;
mod schedule;
mod source;
mod state_loop;
mod timer;
mod workers;

pub use crate::web::ReloadReply;
pub use reload::RELOADS_WAITING_MAX;
pub use run::{Start, end_on_panic, run};
