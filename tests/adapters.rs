//! The adapters as programs, against stand-ins for `kubectl`, `systemctl` and flagd that answer as the real ones do.

#[path = "adapters/argo_rollouts.rs"]
mod argo_rollouts;
#[path = "adapters/bench.rs"]
mod bench;
#[path = "adapters/flagd.rs"]
mod flagd;
#[path = "adapters/kubernetes.rs"]
mod kubernetes;
#[path = "adapters/plans.rs"]
mod plans;
#[path = "adapters/systemd.rs"]
mod systemd;
