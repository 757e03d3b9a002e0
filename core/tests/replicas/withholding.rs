//! A member that is pulled from and holds back what it has keeps nobody from what others have (S-25), nor from deciding
//! (S-18).

use std::cell::RefCell;

use super::*;

/// What a member sends instead of what is pulled from it.
#[derive(Clone, Copy, PartialEq)]
enum Sends {
    /// What it has sent before.
    Again,
    /// One small generation of very many at a time.
    OneByOne,
}

/// 0 pulls from 1, which sends little. After that 0 meets 2, which has news of 3, that 0 disagrees with. Returns after how
/// many steps of 400 ms it has the news, and after how many the application hears of the conflict.
fn pulls_from_one_that(sends: Sends, steps: usize) -> (Option<usize>, Option<usize>) {
    let (mut world, id) = World::together(4);
    world.schema(0, id, &[("", Policy::AppResolves)]);
    world.run(60_000);
    world.nodes[1].config.limits.chunk_bytes = 1;
    let store = world.nodes[1].store.clone();
    world.reboot(1, store, Continuity::Shown);
    world.apart();
    (0..steps + 50).for_each(|n| world.put(1, id, &format!("row {n:04}"), "value"));
    world.put(3, id, "row", "of 3");
    world.link(3, 2);
    world.run(10_000);
    world.apart();
    world.put(0, id, "row", "of 0");
    world.command(0, Command::Resolver { database: name("db"), attached: true }).unwrap();
    // Of what 1 sends to 0 nothing arrives by itself. On each link the syncgroup has another name.
    let kept = RefCell::new(VecDeque::new());
    let known = RefCell::new(None);
    let arrives = |frame: &[u8]| match inspect::frame(frame) {
        Some(inspect::Frame::Deltas { name, .. }) => {
            let is_first_links = *known.borrow_mut().get_or_insert(name) == name;
            if is_first_links {
                kept.borrow_mut().push_back(Bytes::copy_from_slice(frame));
            }
            !is_first_links
        }
        _ => true,
    };
    let near = world.link(0, 1);
    world.run_if(400, arrives);
    let (mut news, mut raised) = (None, None);
    for step in 0..steps {
        let next = match sends {
            Sends::Again => kept.borrow().front().cloned(),
            Sends::OneByOne => kept.borrow_mut().pop_front(),
        };
        world.event(0, Event::Received { link: near, frame: next.expect("more to send") });
        if step == 2 {
            world.link(0, 2);
        }
        world.run_if(400, arrives);
        news = news.or_else(|| (world.heads(0, id, "row").len() == 2).then_some(step));
        raised = raised.or_else(|| (!world.nodes[0].raised.is_empty()).then_some(step));
    }
    let held = world.rows(0, id).len();
    assert!(if sends == Sends::Again { held < 3 } else { held >= steps }, "{held} rows");
    (news, raised)
}

#[test]
fn a_member_that_sends_the_same_again_and_again_keeps_nobody_from_what_others_have() {
    let (news, raised) = pulls_from_one_that(Sends::Again, 100);
    assert!(news.is_some_and(|step| step < 20), "{news:?}");
    assert!(raised.is_some_and(|step| step < 60), "{raised:?}");
}

#[test]
fn a_member_that_sends_one_small_generation_at_a_time_keeps_nobody_from_what_others_have() {
    let (news, raised) = pulls_from_one_that(Sends::OneByOne, 200);
    assert!(news.is_some_and(|step| step < 80), "{news:?}");
    assert!(raised.is_some_and(|step| step < 120), "{raised:?}");
}
