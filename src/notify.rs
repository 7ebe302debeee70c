//! Notifications of registries: what they say has changed, and who may say so.
//!
//! A notification is only a hint where to look: what it claims about content is not used. Not here: the HTTP endpoint
//! (`web`), which tags are selected (`inventory`), and reading them (`daemon`).

mod endpoint;
mod event;
pub mod payload;
mod queue;
mod token;

pub use endpoint::{Endpoint, Failure};
pub use event::{Action, Event, Kind};
pub use queue::{Change, ChangeTarget, Full, Pulled, Queue, Task, TaskEnd};
pub use token::{Token, TokenSource};
