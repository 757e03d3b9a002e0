//! Addresses: `quic:192.0.2.7:4433` or `quic:[2001:db8::7]:4433`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use driftless::Address;

const SCHEME: &str = "quic:";

/// A socket address as the core keeps it.
pub(crate) fn of(addr: SocketAddr) -> Address {
    let addr = canonical(addr);
    // Scheme and socket address have at most 65 bytes, so the text is always an address.
    Address::new(&format!("{SCHEME}{addr}")).unwrap_or_else(|| unreachable!("a socket address is short"))
}

/// The socket address in an address, if it is one that this driver can call.
pub(crate) fn parse(address: &Address) -> Option<SocketAddr> {
    let addr: SocketAddr = address.as_str().strip_prefix(SCHEME)?.parse().ok()?;
    let callable = addr.port() != 0 && !addr.ip().is_unspecified() && !addr.ip().is_multicast();
    callable.then(|| canonical(addr))
}

/// A socket for both versions of IP shows IPv4 addresses as IPv6 ones: this shows them as what they are.
pub(crate) fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

/// Where others can reach a socket that is bound to `bound`: if it listens everywhere, at the addresses of
/// all interfaces, IPv4 first. Loopback counts only where there is nothing else.
pub(crate) fn reachable(bound: SocketAddr) -> Vec<SocketAddr> {
    let bound = canonical(bound);
    if !bound.ip().is_unspecified() {
        return vec![bound];
    }
    let usable = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_link_local(),
        // Addresses of one link need a scope, which means nothing to others.
        IpAddr::V6(ip) => bound.is_ipv6() && !ip.is_loopback() && !ip.is_unicast_link_local(),
    };
    let interfaces = if_addrs::get_if_addrs().unwrap_or_else(|error| {
        tracing::debug!(%error, "cannot list the network interfaces");
        Vec::new()
    });
    let mut ips: Vec<IpAddr> = interfaces.iter().map(if_addrs::Interface::ip).filter(usable).collect();
    ips.sort();
    ips.dedup();
    if ips.is_empty() {
        ips.push(Ipv4Addr::LOCALHOST.into());
    }
    ips.into_iter().map(|ip| SocketAddr::new(ip, bound.port())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_where_it_came_from() {
        for text in ["192.0.2.7:4433", "[2001:db8::7]:4433"] {
            let addr: SocketAddr = text.parse().unwrap();
            assert_eq!(of(addr).as_str(), format!("quic:{text}"));
            assert_eq!(parse(&of(addr)), Some(addr));
        }
    }

    #[test]
    fn an_ipv4_address_seen_by_an_ipv6_socket_is_an_ipv4_address() {
        assert_eq!(of("[::ffff:192.0.2.7]:1".parse().unwrap()).as_str(), "quic:192.0.2.7:1");
    }

    #[test]
    fn what_cannot_be_called_is_no_address() {
        for text in
            ["tcp:192.0.2.7:1", "quic:192.0.2.7", "quic:192.0.2.7:0", "quic:0.0.0.0:1", "quic:[ff02::1]:1"]
        {
            assert_eq!(parse(&Address::new(text).unwrap()), None, "{text}");
        }
    }

    #[test]
    fn a_socket_that_listens_everywhere_is_reached_somewhere() {
        let found = reachable("[::]:7".parse().unwrap());
        assert!(!found.is_empty());
        assert!(found.iter().all(|addr| addr.port() == 7 && !addr.ip().is_unspecified()));
        let bound: SocketAddr = "127.0.0.1:7".parse().unwrap();
        assert_eq!(reachable(bound), [bound]);
    }
}
