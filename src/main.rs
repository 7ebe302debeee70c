//! The program: argv, logging, signals, exit code.

fn main() {}
