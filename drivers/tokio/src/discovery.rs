//! Finding devices in the neighbourhood, and being found: multicast DNS with service discovery (RFC 6762 and
//! 6763).
//!
//! What is announced is the device's name, its addresses and the version of the protocol: nothing about its
//! syncgroups. A neighbourhood without multicast is no reason to fail: devices are then found by invitations,
//! by configuration and by past success.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use driftless::{Address, DeviceId};
use mdns_sd::{Receiver, ResolvedService, ServiceDaemon, ServiceEvent, ServiceInfo};
use tokio::sync::mpsc;

use crate::address;
use crate::link::Incoming;

const SERVICE: &str = "_driftless._udp.local.";
/// The version of what is announced.
const VERSION: &str = "1";
/// Devices whose addresses are remembered, to tell when they go. Anybody in the neighbourhood can announce
/// any number.
const MAX_DEVICES: usize = 1_024;

/// Announces this device, and looks for others as long as it lives.
pub(crate) struct Discovery {
    daemon: ServiceDaemon,
    device: DeviceId,
    port: u16,
    /// What this device is announced as, while it is.
    announced: Option<String>,
}

impl Discovery {
    /// Begins to look for others. `None` if the machine does not allow it; the reason is logged. It must be
    /// called within the runtime that runs the links.
    pub(crate) fn start(
        device: DeviceId,
        bound: SocketAddr,
        events: mpsc::UnboundedSender<Incoming>,
    ) -> Option<Self> {
        let begun = ServiceDaemon::new().and_then(|daemon| {
            let found = daemon.browse(SERVICE)?;
            Ok((daemon, found))
        });
        match begun {
            Ok((daemon, found)) => {
                tokio::spawn(Neighbours { device, events, known: BTreeMap::new() }.follow(found));
                Some(Self { daemon, device, port: bound.port(), announced: None })
            }
            Err(error) => {
                tracing::warn!(%error, "devices in the neighbourhood are not found: no multicast DNS here");
                None
            }
        }
    }

    /// Announces this device, or stops doing so.
    pub(crate) fn advertise(&mut self, on: bool) {
        let result = match (on, self.announced.take()) {
            (true, None) => self.register(),
            (false, Some(name)) => self.daemon.unregister(&name).map(drop),
            (_, unchanged) => {
                self.announced = unchanged;
                Ok(())
            }
        };
        if let Err(error) = result {
            tracing::warn!(%error, on, "this device cannot be announced in the neighbourhood");
        }
    }

    fn register(&mut self) -> mdns_sd::Result<()> {
        let name = self.device.to_string();
        let host = format!("{name}.local.");
        let text = [("v", VERSION), ("device", name.as_str())];
        let mut service =
            ServiceInfo::new(SERVICE, &name, &host, "", self.port, &text[..])?.enable_addr_auto();
        // Device names are unique, so nobody needs to be asked whether this one is free.
        service.set_requires_probe(false);
        let full_name = service.get_fullname().to_owned();
        self.daemon.register(service)?;
        self.announced = Some(full_name);
        Ok(())
    }

    /// Withdraws the name, and ends.
    pub(crate) async fn stop(mut self) {
        if let Some(name) = self.announced.take()
            && let Ok(status) = self.daemon.unregister(&name)
        {
            // The answer is that the good-bye is sent.
            let _ = status.recv_async().await;
        }
        if let Ok(status) = self.daemon.shutdown() {
            let _ = status.recv_async().await;
        }
    }
}

/// The devices that are announced now.
struct Neighbours {
    device: DeviceId,
    events: mpsc::UnboundedSender<Incoming>,
    known: BTreeMap<DeviceId, BTreeSet<Address>>,
}

impl Neighbours {
    async fn follow(mut self, found: Receiver<ServiceEvent>) {
        while let Ok(event) = found.recv_async().await {
            match event {
                ServiceEvent::ServiceResolved(service) => self.found(&service),
                ServiceEvent::ServiceRemoved(_, full_name) => self.lost(&full_name),
                _ => {}
            }
        }
    }

    fn found(&mut self, service: &ResolvedService) {
        let Some(device) = announced_device(service).filter(|device| *device != self.device) else { return };
        let now: BTreeSet<Address> = service
            .get_addresses()
            .iter()
            .map(mdns_sd::ScopedIp::to_ip_addr)
            // An address of one link needs a scope, which an address as text does not keep.
            .filter(|ip| !matches!(ip, std::net::IpAddr::V6(ip) if ip.is_unicast_link_local()))
            .map(|ip| address::of(SocketAddr::new(ip, service.get_port())))
            .filter(|address| address::parse(address).is_some())
            .collect();
        let before = self.known.remove(&device).unwrap_or_default();
        // Beyond that they are found all the same, and only not told when they go.
        if self.known.len() < MAX_DEVICES {
            self.known.insert(device, now.clone());
        }
        for address in before.difference(&now).cloned() {
            self.tell(Incoming::PeerLost { device, address });
        }
        // Those that were known are told again: that they are announced again is news.
        for address in now {
            self.tell(Incoming::PeerFound { device, address });
        }
    }

    fn lost(&mut self, full_name: &str) {
        let Some(device) = named_device(full_name) else { return };
        for address in self.known.remove(&device).unwrap_or_default() {
            self.tell(Incoming::PeerLost { device, address });
        }
    }

    fn tell(&self, news: Incoming) {
        // The replica's thread may be gone: then nobody wants to know.
        let _ = self.events.send(news);
    }
}

/// Which device a service is, if it is one that this version understands. Nothing is proven yet: whoever is
/// called there must show that device's key.
fn announced_device(service: &ResolvedService) -> Option<DeviceId> {
    let version = service.get_property_val_str("v")?;
    let device = service.get_property_val_str("device")?.parse().ok()?;
    // When it goes, only its name is told: one under another name would never be forgotten.
    (version == VERSION && named_device(service.get_fullname()) == Some(device)).then_some(device)
}

/// Which device a service is by its name.
fn named_device(full_name: &str) -> Option<DeviceId> {
    let label = full_name.split('.').next()?;
    label.parse().ok().filter(|device: &DeviceId| device.to_string() == label)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::mpsc::UnboundedReceiver;
    use tokio::time::timeout;

    use super::*;

    fn device() -> DeviceId {
        let mut id = [0; 16];
        getrandom::fill(&mut id).unwrap();
        DeviceId(id)
    }

    fn start(device: DeviceId, port: u16) -> Option<(Discovery, UnboundedReceiver<Incoming>)> {
        let (events, incoming) = mpsc::unbounded_channel();
        Discovery::start(device, ([0, 0, 0, 0], port).into(), events).map(|discovery| (discovery, incoming))
    }

    async fn hears(incoming: &mut UnboundedReceiver<Incoming>, wanted: impl Fn(&Incoming) -> bool) -> bool {
        let heard = async {
            while let Some(news) = incoming.recv().await {
                if wanted(&news) {
                    return true;
                }
            }
            false
        };
        timeout(Duration::from_secs(10), heard).await.unwrap_or(false)
    }

    fn neighbours() -> (Neighbours, UnboundedReceiver<Incoming>) {
        let (events, incoming) = mpsc::unbounded_channel();
        (Neighbours { device: DeviceId([0; 16]), events, known: BTreeMap::new() }, incoming)
    }

    /// A record of this instance that says to be this device, at one address.
    fn record(instance: &str, device: DeviceId, port: u16) -> ResolvedService {
        let text = [("v", VERSION), ("device", &device.to_string())];
        let service = ServiceInfo::new(SERVICE, instance, "host.local.", "192.0.2.1", port, &text[..]);
        service.unwrap().as_resolved_service()
    }

    /// What was told: whom it is about, the port, and whether it was found.
    fn told(incoming: &mut UnboundedReceiver<Incoming>) -> Vec<(DeviceId, String, bool)> {
        let port = |address: &Address| address.as_str().rsplit(':').next().unwrap().to_owned();
        std::iter::from_fn(|| incoming.try_recv().ok())
            .map(|news| match news {
                Incoming::PeerFound { device, address } => (device, port(&address), true),
                Incoming::PeerLost { device, address } => (device, port(&address), false),
                _ => unreachable!("discovery tells of peers alone"),
            })
            .collect()
    }

    #[test]
    fn a_record_under_another_name_than_its_device_is_ignored() {
        let (mut neighbours, mut incoming) = neighbours();
        let (ann, eve) = (device(), device());
        neighbours.found(&record(&ann.to_string(), ann, 1));
        assert_eq!(told(&mut incoming), [(ann, "1".to_owned(), true)]);
        for instance in [eve.to_string(), format!("{ann}x"), "eve".into()] {
            neighbours.found(&record(&instance, ann, 2));
        }
        assert!(told(&mut incoming).is_empty(), "nothing is taken from the real one");
        neighbours.lost(&format!("{ann}.{SERVICE}"));
        assert_eq!(told(&mut incoming), [(ann, "1".to_owned(), false)]);
        assert!(neighbours.known.is_empty());
    }

    #[test]
    fn a_neighbourhood_full_of_names_hides_nobody() {
        let (mut neighbours, mut incoming) = neighbours();
        for _ in 0..MAX_DEVICES {
            let stranger = device();
            neighbours.found(&record(&stranger.to_string(), stranger, 1));
        }
        told(&mut incoming);
        let ann = device();
        neighbours.found(&record(&ann.to_string(), ann, 2));
        assert_eq!(told(&mut incoming), [(ann, "2".to_owned(), true)]);
        assert_eq!(neighbours.known.len(), MAX_DEVICES);
    }

    #[tokio::test]
    async fn a_device_is_found_while_it_is_announced_and_never_finds_itself() {
        let (ann, bob) = (device(), device());
        let (Some((mut ann_here, mut ann_hears)), Some((bob_here, mut bob_hears))) =
            (start(ann, 4_001), start(bob, 4_002))
        else {
            println!("skipped: there is no multicast DNS on this machine");
            return;
        };
        ann_here.advertise(true);
        ann_here.advertise(true);
        let found = |news: &Incoming| {
            matches!(news, Incoming::PeerFound { device, address }
                if *device == ann && address.as_str().ends_with(":4001"))
        };
        if !hears(&mut bob_hears, found).await {
            println!("skipped: multicast does not come back to this machine");
            return;
        }
        ann_here.advertise(false);
        let lost = |news: &Incoming| matches!(news, Incoming::PeerLost { device, .. } if *device == ann);
        assert!(hears(&mut bob_hears, lost).await);
        ann_here.stop().await;
        bob_here.stop().await;
        while let Ok(news) = ann_hears.try_recv() {
            assert!(!matches!(news, Incoming::PeerFound { device, .. } if device == ann));
        }
    }
}
