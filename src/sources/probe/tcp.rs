//! A connection that must come about.

use tokio::net::{TcpStream, lookup_host};

use super::{Asked, Found, connection, is_own, not_asked};
use crate::engine::series::FailureKind;

/// Connects, to the first of the host's addresses that answers, and hangs up.
pub(super) async fn ask(address: &str) -> Asked {
    let unresolved =
        |why: &str| not_asked(FailureKind::Unreachable, &format!("cannot look {address} up: {why}"));
    let addresses = lookup_host(address).await.map_err(|error| unresolved(&error.to_string()))?;
    let mut last = None;
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(_) => {
                return Ok(Found { verdict: Ok("connected".to_owned()), status: None, value: None });
            }
            Err(error) => last = Some(error),
        }
    }
    match last {
        None => Err(unresolved("it has no address")),
        Some(error) if is_own(&error) => {
            Err(not_asked(FailureKind::Unreachable, &format!("no connection to {address}: {error}")))
        }
        Some(error) => Ok(Found::bad(connection(&error))),
    }
}
