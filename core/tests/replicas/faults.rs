//! Whoever breaks the protocol: what that costs others, and how often they try again (S-26, S-39, S-53).

use std::cell::RefCell;

use super::*;

#[test]
fn digests_that_say_something_twice_or_out_of_order_are_a_fault() {
    let (mut world, id) = World::together(2);
    let other = world.create(0, "other");
    let invitation = world.invite(0, other, Rights::Write);
    world.ask_to_join(1, invitation).unwrap();
    world.run(60_000);
    // Both have changed while apart, so one tells the other its digests.
    world.apart();
    world.put(0, id, "row", "of 0");
    world.put(1, id, "row", "of 1");
    let near = world.link(0, 1);
    let told = RefCell::new(None);
    world.run_if(60_000, |frame| {
        if matches!(inspect::frame(frame), Some(inspect::Frame::Digests(_))) {
            told.replace(Some(Bytes::copy_from_slice(frame)));
        }
        true
    });
    assert_eq!(world.closed, []);
    let told = told.into_inner().unwrap();
    let Some(inspect::Frame::Digests(pairs)) = inspect::frame(&told) else { unreachable!() };
    let [one, next] = pairs[..] else { panic!("{pairs:?}") };
    assert!(one.0 < next.0, "they come in the order of names");
    let frame = |pairs: [(Tag, Tag); 2]| -> Bytes {
        let pairs = pairs.iter().flat_map(|(name, digest)| [name.0, digest.0]).flatten();
        told.iter().copied().take(told.len() - 64).chain(pairs).collect()
    };
    assert_eq!(frame([one, next]), told);
    world.event(0, Event::Received { link: near, frame: told.clone() });
    assert_eq!(world.closed, [], "the same frame again is none");
    for wrong in [[one, one], [next, one]] {
        world.apart();
        world.closed.clear();
        let near = world.link(0, 1);
        world.run(10_000);
        world.event(0, Event::Received { link: near, frame: frame(wrong) });
        assert_eq!(world.closed, [CloseReason::Protocol]);
    }
}

impl World {
    /// Has the first replica reach the second one whenever it wants to, for so long, and `then` happen on the link as soon as
    /// it has heard what the other end offers. Returns how often.
    fn reaches(&mut self, millis: u64, mut then: impl FnMut(&mut Self, LinkId)) -> usize {
        let end = self.now.mono + Millis(millis);
        let mut calls = 0;
        while self.now.mono < end {
            let before = self.nodes[0].called.len();
            self.run(100);
            if self.nodes[0].called.len() == before {
                continue;
            }
            calls += 1;
            // It was answered, by somebody at the other end.
            let (near, far) = (LinkId(self.next_link - 1), LinkId(self.next_link));
            self.next_link += 1;
            self.links.insert(near, (0, far, 1));
            self.links.insert(far, (1, near, 0));
            let peer = self.nodes[0].core.public_key();
            self.event(1, Event::LinkUp { link: far, peer: peer.into(), initiated: false, address: None });
            self.event(0, Event::Writable { link: near, credit: 1 << 40 });
            self.event(1, Event::Writable { link: far, credit: 1 << 40 });
            let mut is_heard = false;
            while !is_heard {
                let Some((at, link, frame)) = self.frames.pop_front() else {
                    self.now.mono = self.now.mono + Millis(50);
                    (0..2).for_each(|at| self.event(at, Event::Tick));
                    continue;
                };
                let is_offer = matches!(inspect::frame(&frame), Some(inspect::Frame::Offer { .. }));
                self.event(at, Event::Received { link, frame });
                is_heard = at == 0 && is_offer;
            }
            then(self, near);
        }
        calls
    }
}

#[test]
fn whoever_breaks_the_protocol_after_its_offer_is_called_less_and_less_often() {
    let (mut world, _) = World::together(2);
    world.apart();
    let device = world.nodes[1].core.public_key().device();
    let address = Address::new("10.0.0.1:1").unwrap();
    world.event(0, Event::PeerFound { device, address });
    world.nodes[0].is_answered = true;
    let breaks = |world: &mut World, link| {
        world.event(0, Event::Received { link, frame: b"\xff"[..].into() });
        assert_eq!(world.closed.pop(), Some(CloseReason::Garbled));
    };
    let calls = world.reaches(600_000, breaks);
    assert!((8..30).contains(&calls), "{calls} calls in ten minutes");
    // Once both hold the same, it is as good as any other; and then a link that is lost is made again at once.
    let mut agreed = 0;
    world.reaches(240_000, |world, link| {
        world.run(5_000);
        agreed += 1;
        world.unlink(link);
    });
    assert!(agreed > 10, "{agreed} links in four minutes");
    let calls = world.reaches(20_000, breaks);
    assert!(calls > 3, "{calls} calls in twenty seconds");
}
