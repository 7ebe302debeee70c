//! What the program does for the person who typed its name.

pub mod cli;
pub mod demo;
pub mod health;
pub mod inspect;
pub mod logging;
pub mod plan;
mod units;
