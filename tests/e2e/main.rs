//! End-to-end tests: the real binary against the real programs that people run it with. They need Debian's packages
//! and root; `tests/run` installs what is missing. `cargo test` leaves them out, `cargo test --test e2e` runs them.

#![expect(unreachable_pub, reason = "the harness is a library to the modules beside it")]

#[cfg(feature = "kubernetes")]
#[path = "../common/api_server.rs"]
#[expect(dead_code, reason = "the hermetic tests need more of it")]
mod api_server;
mod harness;
mod layers;
mod registries;

mod bases;
#[cfg(feature = "postgres")]
mod database;
mod frugal;
mod history;
mod identity;
#[cfg(feature = "kubernetes")]
mod kubernetes;
mod life;
mod lists;
mod notified;
mod process;
mod pulp;
mod retained;
mod running;
mod scraped;
mod shards;
mod sizes;
mod truth;
mod unpushed;
mod updates;
mod web;
mod world;
