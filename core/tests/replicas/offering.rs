//! What a device is told of what is published there (S-33), where links end, frames are lost and time passes.

use super::publishing::with_a_stranger;
use super::*;

#[test]
fn what_was_withdrawn_while_nobody_was_linked_is_open_no_more_on_the_next_link() {
    for restarts in [false, true] {
        let (mut world, id) = with_a_stranger(2);
        let link = world.link(0, 2);
        world.publish(0, id, 2).unwrap();
        world.run(10_000);
        assert_eq!(world.offers(2).len(), 1);
        world.unlink(link);
        assert_eq!(world.offers(2).len(), 1, "it can be answered while nobody is linked");
        if restarts {
            let store = world.nodes[0].store.clone();
            world.reboot(0, store, Continuity::Shown);
        }
        let link = world.link(0, 2);
        world.run(10_000);
        assert_eq!((world.offers(2).len(), world.told(2)), (1, 1), "it is still open, and no news");
        world.unlink(link);
        world.unpublish(0, id, 2).unwrap();
        if restarts {
            let store = world.nodes[0].store.clone();
            world.reboot(0, store, Continuity::Shown);
        }
        let link = world.link(0, 2);
        world.run(10_000);
        assert_eq!(world.offers(2).len(), 0, "restarts: {restarts}");
        let before = world.sent;
        world.run(3_600_000);
        assert_eq!(world.sent, before, "nothing more is said of it");
        world.unlink(link);
        assert_eq!(world.offers(2).len(), 0);
    }
}

#[test]
fn that_nothing_is_offered_any_more_is_said_until_it_is_heard() {
    let (mut world, id) = with_a_stranger(2);
    world.link(0, 2);
    world.publish(0, id, 2).unwrap();
    world.run(10_000);
    assert_eq!(world.offers(2).len(), 1);
    world.unpublish(0, id, 2).unwrap();
    // It gets lost, and so does the answer to its repetition.
    for lost in [2, 0] {
        while world.frames.iter().all(|(to, ..)| *to != lost) {
            match world.frames.pop_front() {
                Some((at, link, frame)) => world.event(at, Event::Received { link, frame }),
                None => {
                    let next = world.nodes[0].core.next_deadline().unwrap();
                    world.now.mono = world.now.mono.max(next);
                    world.event(0, Event::Tick);
                }
            }
        }
        world.frames.retain(|(to, ..)| *to != lost);
    }
    world.run(600_000);
    assert_eq!(world.offers(2).len(), 0);
    let before = world.sent;
    world.run(3_600_000);
    assert_eq!(world.sent, before, "nothing is said once it was heard");
}

#[test]
fn what_comes_late_of_what_was_offered_does_not_count() {
    let (mut world, id) = with_a_stranger(2);
    world.link(0, 2);
    world.run(10_000);
    world.publish(0, id, 2).unwrap();
    let is_to_other = |(to, ..): &(usize, LinkId, Bytes)| *to == 2;
    let late: Vec<_> = world.frames.iter().filter(|it| is_to_other(it)).cloned().collect();
    world.frames.retain(|it| !is_to_other(it));
    world.unpublish(0, id, 2).unwrap();
    world.run(60_000);
    assert!(!late.is_empty());
    world.frames.extend(late);
    world.run(3_600_000);
    assert_eq!((world.offers(2).len(), world.told(2)), (0, 0));
}

#[test]
fn who_publishes_over_a_long_time_is_heard_where_it_is_answered_and_on_a_new_link() {
    let (mut world, id) = with_a_stranger(2);
    let link = world.link(0, 2);
    for nth in 1..=70 {
        world.publish(0, id, 2).unwrap();
        world.run(1_000);
        assert_eq!(world.told(2), nth, "what is answered makes room");
        world.decline(2);
    }
    // What is withdrawn without an answer does not.
    for _ in 0..70 {
        world.publish(0, id, 2).unwrap();
        world.run(1_000);
        world.unpublish(0, id, 2).unwrap();
        world.run(1_000);
    }
    assert_eq!(world.told(2), 70 + 64);
    world.unlink(link);
    world.link(0, 2);
    world.publish(0, id, 2).unwrap();
    world.run(1_000);
    assert_eq!(world.told(2), 70 + 65);
}
