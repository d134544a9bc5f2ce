//! Hosts with ports, as Go's `net.SplitHostPort` takes them apart, and the path of a URL.

/// Splits `host:port` and `[v6]:port`; `None` where there is no port, or more than one could be meant.
fn split(address: &str) -> Option<(&str, &str)> {
    let (host, port) = address.rsplit_once(':')?;
    if let Some(bracketed) = host.strip_prefix('[') {
        let inner = bracketed.strip_suffix(']')?;
        return (!inner.contains(['[', ']'])).then_some((inner, port));
    }
    (!host.contains([':', '[', ']']) && !port.contains([']', '['])).then_some((host, port))
}

/// Takes the port away; what has none stays as it is.
pub(super) fn strip_port(address: &str) -> &str {
    split(address).map_or(address, |(host, _)| host)
}

/// Takes the domain away and keeps the port; addresses in numbers stay as they are.
pub(super) fn strip_domain(address: &str) -> String {
    let (host, port) = split(address).unwrap_or((address, ""));
    if is_address(host) {
        return address.to_owned();
    }
    let host = host.split('.').next().unwrap_or_default();
    if port.is_empty() { host.to_owned() } else { format!("{host}:{port}") }
}

/// Returns whether a host is an address in numbers. No name has a colon.
fn is_address(host: &str) -> bool {
    let octet = |part: &str| part.parse::<u8>().is_ok_and(|octet| octet.to_string() == part);
    host.contains(':') || (host.split('.').count() == 4 && host.split('.').all(octet))
}

/// Returns the path of a URL.
pub(super) fn path_of(url: &str) -> &str {
    let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = after_scheme.find('/').map_or("", |at| &after_scheme[at..]);
    path.split(['?', '#']).next().unwrap_or_default()
}
