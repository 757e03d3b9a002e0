//! Watching rows, now and after a while (S-52).

use driftless::read::{Changes, Marker, Update, WatchEnd};

use super::*;

fn watch(world: &World, at: usize, id: SyncgroupId, prefix: &'static str) -> Changes {
    Changes::new(vec![(world.collection(at, id), prefix.into())])
}

/// Everything that there is to tell, as text: `key=value` or `key-`, batches in brackets.
fn told(world: &World, at: usize, changes: &mut Changes) -> String {
    let mut text = Vec::new();
    while let Some(update) = changes.next(&world.nodes[at].store, 2).unwrap() {
        let rows = |rows: &[read::RowUpdate]| {
            let row = |row: &read::RowUpdate| match &row.value {
                Some(value) => format!("{}={}", row.key.escape_ascii(), value.escape_ascii()),
                None => format!("{}-", row.key.escape_ascii()),
            };
            rows.iter().map(row).collect::<Vec<_>>().join(" ")
        };
        text.push(match &update {
            Update::State { because, rows: page, complete, .. } => {
                format!("{because:?}({}){}", rows(page), if complete.is_some() { "." } else { "" })
            }
            Update::Batch { local, rows: batch, .. } => {
                format!("{}[{}]", if *local { "local" } else { "" }, rows(batch))
            }
            Update::End { why, .. } => format!("{why:?}"),
            other => panic!("{other:?}"),
        });
    }
    text.join(" ")
}

#[test]
fn first_the_state_then_batches_from_here_and_there() {
    let (mut world, id) = World::together(2);
    for key in ["a1", "a2", "a3", "b1"] {
        world.put(0, id, key, "x");
    }
    let mut changes = watch(&world, 0, id, "a");
    assert_eq!(told(&world, 0, &mut changes), "Started(a1=x a2=x) Started(a3=x).");
    let batch = LocalWrite::new().put(world.row(id, "a1"), "y").delete(world.row(id, "a2"));
    world.command(0, Command::Write(batch.put(world.row(id, "b1"), "y"))).unwrap();
    assert_eq!(told(&world, 0, &mut changes), "local[a1=y a2-]");
    world.run(60_000);
    world.put(1, id, "a3", "z");
    world.put(1, id, "a4", "z");
    world.run(60_000);
    assert_eq!(told(&world, 0, &mut changes), "[a3=z] [a4=z]");
    assert_eq!(told(&world, 0, &mut changes), "");
}

#[test]
fn nothing_comes_only_where_nothing_is_left() {
    let (mut world, id) = World::together(2);
    let mut changes = watch(&world, 0, id, "a");
    told(&world, 0, &mut changes);
    for n in 0..5 {
        world.put(0, id, "b", &n.to_string());
    }
    world.put(0, id, "a", "x");
    // More commits than are looked at together lie before it.
    assert_eq!(told(&world, 0, &mut changes), "local[a=x]");
}

#[test]
fn a_marker_goes_on_where_it_was_with_the_values_of_then() {
    let (mut world, id) = World::together(2);
    let mut changes = watch(&world, 0, id, "");
    told(&world, 0, &mut changes);
    let marker = changes.marker().unwrap();
    world.put(0, id, "k", "1");
    world.put(0, id, "k", "2");
    world.delete(0, id, "k").unwrap();
    let store = world.nodes[0].store.clone();
    world.reboot(0, store, Continuity::Shown);
    let marker: Marker = marker.to_string().parse().unwrap();
    let mut changes = Changes::resume(vec![(world.collection(0, id), "".into())], marker);
    assert_eq!(told(&world, 0, &mut changes), "local[k=1] local[k=2] local[k-]");
}

#[test]
fn a_marker_of_a_commit_that_a_crash_took_is_known_as_such() {
    let (mut world, id) = World::together(2);
    world.put(0, id, "k", "1");
    let durable = world.nodes[0].store.clone();
    let mut changes = watch(&world, 0, id, "");
    told(&world, 0, &mut changes);
    let kept = changes.marker().unwrap();
    world.put(0, id, "k", "lost");
    told(&world, 0, &mut changes);
    let lost = changes.marker().unwrap();
    world.reboot(0, durable, Continuity::Shown);
    // The numbers of the commits that were lost are given again.
    for n in 0..5 {
        world.put(0, id, "other", &n.to_string());
    }
    let resume = |world: &World, marker| {
        let mut changes = Changes::resume(vec![(world.collection(0, id), "".into())], marker);
        told(world, 0, &mut changes)
    };
    assert_eq!(resume(&world, lost), "Unknown(k=1 other=4).");
    assert!(resume(&world, kept).starts_with("local[other=0] local[other=1]"));
    // A marker that went on in this life is good after the next start too.
    let store = world.nodes[0].store.clone();
    let mut changes = Changes::resume(vec![(world.collection(0, id), "".into())], kept);
    told(&world, 0, &mut changes);
    let marker = changes.marker().unwrap();
    world.reboot(0, store, Continuity::Unknown);
    world.put(0, id, "k", "2");
    assert_eq!(resume(&world, marker), "local[k=2]");
}

#[test]
fn what_was_told_of_a_merging_row_with_a_commit_that_is_lost_is_told_again() {
    let (mut world, id) = World::together(2);
    world.schema(0, id, &[("", Policy::Merge(Merge::Counter))]);
    let mut changes = watch(&world, 0, id, "");
    told(&world, 0, &mut changes);
    world.operate(0, id, "k", Operation::Add(2));
    let copy = world.nodes[0].store.clone();
    world.operate(0, id, "k", Operation::Add(3));
    // The first change is told as what the row shows after both.
    let Some(Update::Batch { marker: Some(marker), rows, .. }) =
        changes.next(&world.nodes[0].store, 10).unwrap()
    else {
        panic!("a batch is told");
    };
    assert_eq!(rows[0].value.as_deref(), Some(&b"5"[..]));
    let resume = |world: &World, marker: Marker| {
        let marker = marker.to_string().parse().unwrap();
        let mut changes = Changes::resume(vec![(world.collection(0, id), "".into())], marker);
        told(world, 0, &mut changes)
    };
    assert_eq!(resume(&world, marker), "local[k=5]", "here it goes on");
    world.reboot(0, copy, Continuity::Unknown);
    assert_eq!(resume(&world, marker), "Unknown(k=2).");
}

#[test]
fn a_marker_of_another_life_or_from_long_ago_gets_the_state_and_is_told_so() {
    let (mut world, id) = World::together(2);
    world.put(0, id, "k", "1");
    let mut changes = watch(&world, 0, id, "");
    told(&world, 0, &mut changes);
    let marker = changes.marker().unwrap();
    let resume = |world: &World, marker| Changes::resume(vec![(world.collection(0, id), "".into())], marker);
    let elsewhere = Marker { life: marker.life ^ 1, ..marker };
    assert_eq!(told(&world, 0, &mut resume(&world, elsewhere)), "Unknown(k=1).");
    let ahead = Marker { seq: CommitSeq(marker.seq.0 + 1_000), ..marker };
    assert_eq!(told(&world, 0, &mut resume(&world, ahead)), "Unknown(k=1).");
    let mut config = Config::new(name("few"));
    config.limits.watch_log = 3;
    let identity =
        Identity { chain: None, secret: world.nodes[0].secret.clone(), continuity: Continuity::Shown };
    let mut out = Outbox::new();
    let core = Core::boot(&config, &identity, [9; 32], &world.nodes[0].store, &mut out).unwrap();
    world.nodes[0].core = core;
    world.perform(0, out);
    for n in 0..10 {
        world.put(0, id, "k", &n.to_string());
    }
    assert_eq!(told(&world, 0, &mut resume(&world, marker)), "TooOld(k=9).");
    let kept = |world: &World| {
        let mut keys = 0;
        let all = store::Scan::all(store::Table::Change);
        let each = &mut |_: &[u8], _: &[u8]| {
            keys += 1;
            std::ops::ControlFlow::Continue(())
        };
        store::View::scan(&world.nodes[0].store, &all, each).unwrap();
        keys
    };
    assert!(kept(&world) <= 3, "{} kept", kept(&world));
}

#[test]
fn whoever_keeps_no_log_is_told_the_state_each_time() {
    let (mut world, id) = World::together(2);
    let mut config = Config::new(name("none"));
    config.limits.watch_log = 0;
    let identity =
        Identity { chain: None, secret: world.nodes[0].secret.clone(), continuity: Continuity::Shown };
    let mut out = Outbox::new();
    let core = Core::boot(&config, &identity, [9; 32], &world.nodes[0].store, &mut out).unwrap();
    world.nodes[0].core = core;
    world.perform(0, out);
    let mut changes = watch(&world, 0, id, "");
    world.put(0, id, "k", "1");
    assert_eq!(told(&world, 0, &mut changes), "Started(k=1).");
    world.put(0, id, "k", "2");
    assert_eq!(told(&world, 0, &mut changes), "TooOld(k=2).");
    assert_eq!(told(&world, 0, &mut changes), "");
}

#[test]
fn rows_that_show_something_else_than_was_written_are_told_as_they_are() {
    let (mut world, id) = World::together(2);
    world.put(0, id, "same", "x");
    world.put(0, id, "split", "x");
    world.run(60_000);
    let mut changes = watch(&world, 0, id, "");
    told(&world, 0, &mut changes);
    // A batch in which one row shows what it showed before.
    let batch = LocalWrite::new().put(world.row(id, "same"), "x").put(world.row(id, "new"), "y");
    world.command(0, Command::Write(batch)).unwrap();
    assert_eq!(told(&world, 0, &mut changes), "local[new=y]");
    // One that changes nothing that is shown.
    world.put(0, id, "same", "x");
    assert_eq!(told(&world, 0, &mut changes), "");
    // A batch of which one row loses against what was written here later.
    world.run(60_000);
    let link = world.links_of(0)[0];
    world.unlink(link);
    let batch = LocalWrite::new().put(world.row(id, "split"), "theirs").put(world.row(id, "theirs"), "z");
    world.command(1, Command::Write(batch)).unwrap();
    world.now.mono.0 += 1_000;
    world.now.wall.0 += 1_000;
    world.put(0, id, "split", "ours");
    assert_eq!(told(&world, 0, &mut changes), "local[split=ours]");
    world.link(0, 1);
    world.run(60_000);
    assert_eq!(told(&world, 0, &mut changes), "[theirs=z]");
}

#[test]
fn a_few_rows_among_many_commits_are_found() {
    let (mut world, id) = World::together(1);
    let mut changes = watch(&world, 0, id, "a");
    told(&world, 0, &mut changes);
    for n in 0..1_000 {
        world.put(0, id, &format!("b{n}"), "x");
        if n % 300 == 299 {
            world.put(0, id, &format!("a{n}"), "x");
        }
    }
    assert_eq!(told(&world, 0, &mut changes), "local[a299=x] local[a599=x] local[a899=x]");
    assert_eq!(told(&world, 0, &mut changes), "");
}

#[test]
fn another_schema_and_a_departure_are_told() {
    let (mut world, id) = World::together(2);
    let mut changes = watch(&world, 1, id, "");
    told(&world, 1, &mut changes);
    world.put(0, id, "k", "1");
    world.schema(0, id, &[("", Policy::Merge(Merge::Counter))]);
    world.operate(0, id, "k", Operation::Add(1));
    world.run(60_000);
    assert_eq!(told(&world, 1, &mut changes), "Schema(k=2).");
    world.operate(0, id, "k", Operation::Add(1));
    world.run(60_000);
    assert_eq!(told(&world, 1, &mut changes), "[k=3]");
    world.command(1, Command::Leave { syncgroup: id }).unwrap();
    let why = format!("{:?}", WatchEnd::NotMember(SyncgroupState::Left));
    assert_eq!(told(&world, 1, &mut changes), why);
    assert!(changes.is_over());
}
