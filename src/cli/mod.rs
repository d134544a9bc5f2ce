//! The commands: one file or directory each.

pub mod demo;
