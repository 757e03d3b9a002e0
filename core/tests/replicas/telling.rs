//! What members are told of a syncgroup: what it is for, and where to meet (S-30).

use super::*;

fn describes(text: &str) -> SpecChange {
    SpecChange { description: Some(text.into()), rendezvous: None }
}

impl World {
    fn tell(
        &mut self,
        at: usize,
        id: SyncgroupId,
        change: SpecChange,
        unless_changed: Option<SpecVersion>,
    ) -> Result<SpecVersion, Refusal> {
        match self.command(at, Command::SetSpec { syncgroup: id, change, unless_changed })? {
            Outcome::SpecSet(_, version) => Ok(version),
            other => panic!("{other:?}"),
        }
    }

    fn place(&self, at: usize) -> Rendezvous {
        let address = Address::new(&format!("quic:here:{at}")).unwrap();
        Rendezvous { device: self.nodes[at].core.public_key().device(), address }
    }

    fn make_admin(&mut self, at: usize, id: SyncgroupId) {
        let device = self.nodes[at].core.public_key().device();
        let command = Command::SetRights { syncgroup: id, device, rights: Rights::Admin, ends: None };
        self.command(0, command).unwrap();
        self.run(60_000);
    }
}

#[test]
fn each_field_is_what_was_said_last_on_every_device_and_after_a_restart() {
    let (mut world, id) = World::together(3);
    world.make_admin(1, id);
    world.apart();
    let meets = SpecChange { description: None, rendezvous: Some(vec![world.place(2)]) };
    world.tell(1, id, meets, None).unwrap();
    world.tell(1, id, describes("first"), None).unwrap();
    world.run(1_000);
    world.tell(0, id, describes("second"), None).unwrap();
    world.all_linked();
    let spec = Spec { description: "second".into(), rendezvous: vec![world.place(2)] };
    let last = world.info(0, id).spec_version;
    for at in 0..3 {
        let info = world.info(at, id);
        assert_eq!((&info.spec, info.spec_version), (&spec, last), "at {at}");
        let news = Notice::Spec { syncgroup: id };
        assert!(world.nodes[at].notices.contains(&news), "{at} was told");
    }
    let store = world.nodes[2].store.clone();
    world.reboot(2, store, Continuity::Shown);
    assert_eq!(world.info(2, id).spec, spec);
}

#[test]
fn who_goes_by_an_old_version_is_refused_and_who_may_not_say_anything_too() {
    let (mut world, id) = World::together(2);
    let unset = SpecVersion::default();
    let first = world.tell(0, id, describes("a"), Some(unset)).unwrap();
    assert_eq!(world.info(0, id).spec_version, first);
    let refusal = world.tell(0, id, describes("b"), Some(unset)).unwrap_err();
    assert_eq!(refusal, Refusal::SpecChanged(first));
    assert!(refusal.to_string().contains("read them again"), "{refusal}");
    // What is so already is not written again.
    assert_eq!(world.tell(0, id, describes("a"), Some(first)), Ok(first));
    assert_ne!(world.tell(0, id, describes("b"), Some(first)), Ok(first));
    let forbidden = world.tell(1, id, describes("c"), None).unwrap_err();
    assert!(matches!(forbidden, Refusal::Forbidden(_)), "{forbidden}");
    let long = "x".repeat(limits::MAX_DESCRIPTION + 1);
    let refusal = world.tell(0, id, describes(&long), None).unwrap_err();
    assert!(matches!(refusal, Refusal::Limit { limit: limits::MAX_DESCRIPTION, .. }), "{refusal}");
}

#[test]
fn what_was_said_of_one_field_before_and_arrives_late_is_a_change() {
    let (mut world, id) = World::together(2);
    world.make_admin(1, id);
    world.apart();
    world.tell(1, id, describes("early"), None).unwrap();
    world.run(1_000);
    let meets = SpecChange { description: None, rendezvous: Some(vec![world.place(1)]) };
    let read = world.tell(0, id, meets, None).unwrap();
    world.nodes[0].notices.clear();
    world.all_linked();
    assert_eq!(world.info(0, id).spec.description, "early");
    assert!(world.nodes[0].notices.contains(&Notice::Spec { syncgroup: id }), "it is told");
    let refusal = world.tell(0, id, describes("over it"), Some(read)).unwrap_err();
    assert!(matches!(refusal, Refusal::SpecChanged(_)), "{refusal}");
}

#[test]
fn what_an_admin_said_beside_its_removal_is_not_told() {
    let (mut world, id) = World::together(3);
    world.make_admin(1, id);
    world.tell(0, id, describes("before"), None).unwrap();
    world.run(60_000);
    world.apart();
    world.eject(0, id, 1);
    world.tell(1, id, describes("beside"), None).unwrap();
    world.link(1, 2);
    world.run(10_000);
    assert_eq!(world.info(2, id).spec.description, "beside");
    world.apart();
    world.all_linked();
    world.run(60_000);
    for at in [0, 2] {
        assert_eq!(world.info(at, id).spec.description, "before", "at {at}");
    }
}

#[test]
fn members_try_where_others_can_be_met_and_strangers_are_not_tried() {
    let (mut world, id) = World::together(3);
    world.apart();
    let stranger = Rendezvous { device: DeviceId([9; 16]), ..world.place(1) };
    let change = SpecChange { description: None, rendezvous: Some(vec![world.place(1), stranger]) };
    world.tell(0, id, change, None).unwrap();
    world.link(0, 2);
    world.run(60_000);
    let called = |world: &World, at: usize| world.nodes[at].called.clone();
    let Rendezvous { device, address } = world.place(1);
    assert!(called(&world, 2).contains(&(device, vec![address])), "{:?}", called(&world, 2));
    assert!(called(&world, 2).iter().all(|(device, _)| *device != DeviceId([9; 16])), "it is no member");
    assert!(called(&world, 1).is_empty(), "it has not heard of it, and would not call itself");
}

#[test]
fn where_others_can_be_met_is_not_forgotten_because_nobody_is_seen_there_any_more() {
    let (mut world, id) = World::together(2);
    let change = SpecChange { description: None, rendezvous: Some(vec![world.place(0)]) };
    world.tell(0, id, change, None).unwrap();
    world.run(60_000);
    let Rendezvous { device, address } = world.place(0);
    let elsewhere = Address::new("elsewhere").unwrap();
    // It is seen at so many places that there is room for no more.
    let many = (0..limits::MAX_ADDRESSES).map(|at| Address::new(&format!("other:{at}")).unwrap());
    let seen: Vec<Address> = many.chain([address.clone(), elsewhere]).collect();
    for address in &seen {
        world.event(1, Event::PeerFound { device, address: address.clone() });
    }
    for address in &seen {
        world.event(1, Event::PeerLost { device, address: address.clone() });
    }
    world.apart();
    world.nodes[1].called.clear();
    world.run(10 * 60_000);
    assert!(world.nodes[1].called.len() > 2, "{:?}", world.nodes[1].called);
    assert!(world.nodes[1].called.iter().all(|call| *call == (device, vec![address.clone()])));
    // Nobody says so any more, and it was withdrawn before.
    let change = SpecChange { description: None, rendezvous: Some(vec![]) };
    world.link(0, 1);
    world.tell(0, id, change, None).unwrap();
    world.run(60_000);
    world.apart();
    world.nodes[1].called.clear();
    world.run(10 * 60_000);
    assert_eq!(world.nodes[1].called, []);
}
