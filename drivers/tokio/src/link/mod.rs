//! Links: QUIC connections between devices that have proven who they are.
pub(crate) struct Wire {
    pub(crate) counters: crate::traffic::Counters,
}
impl Wire {
    pub(crate) fn local_addr(&self) -> std::net::SocketAddr {
        std::net::SocketAddr::from(([127, 0, 0, 1], 0))
    }
    pub(crate) fn set_online(&self, _online: bool) {}
    pub(crate) fn is_online(&self) -> bool {
        true
    }
}
