//! A world under virtual time in which everything works, and an armed target that can be rolled back in it.

mod armed;
mod obliging;

pub use armed::armed_app;
pub use obliging::obliging;
