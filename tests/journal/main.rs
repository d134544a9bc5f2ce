//! The journal as its users see it: what was acknowledged is there, what is damaged says so.

mod crash;
mod damage;
mod migration;
mod power_loss;
mod projections;
mod retention;
mod samples;
mod story;
mod writing;
