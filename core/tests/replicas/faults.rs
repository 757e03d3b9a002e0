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
