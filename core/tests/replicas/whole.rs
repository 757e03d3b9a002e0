//! Batches that win or lose as a whole (S-16): what is left is what would be there if the losers had never been.

use super::*;

/// Two replicas that hold these rows, under the policy, and are cut off from each other.
fn apart(rows: &[(&str, &'static str)]) -> (World, SyncgroupId) {
    let (mut world, id) = World::together(2);
    world.schema(0, id, &[("", Policy::BatchWins)]);
    write(&mut world, id, 0, rows);
    world.run(60_000);
    let link = world.links_of(0)[0];
    world.unlink(link);
    (world, id)
}

/// Writes a batch, later than all before it.
fn write(world: &mut World, id: SyncgroupId, at: usize, rows: &[(&str, &'static str)]) {
    let put = |batch: LocalWrite, (key, value): &(&str, &'static str)| batch.put(world.row(id, key), *value);
    let batch = rows.iter().fold(LocalWrite::new(), put);
    world.command(at, Command::Write(batch)).unwrap();
    world.run(10);
}

/// They meet, and come to this.
fn meet(world: &mut World, id: SyncgroupId, expected: &[(&str, &str)]) {
    world.link(0, 1);
    world.run(60_000);
    let expected: Vec<_> = expected.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    assert_eq!(world.rows(0, id), expected);
    for at in 0..2 {
        let open = read::conflicts(&world.nodes[at].store, &world.collection(at, id), b"", 10).unwrap();
        assert_eq!(open, []);
    }
    world.assert_same(id);
}

#[test]
fn an_earlier_batch_of_the_losing_side_loses_all_its_rows() {
    let (mut world, id) = apart(&[("from", "10"), ("note", "0"), ("other", "0"), ("to", "0")]);
    write(&mut world, id, 0, &[("from", "7"), ("to", "3")]);
    // No head is left of the row that this overwrites.
    write(&mut world, id, 0, &[("from", "6"), ("note", "1")]);
    write(&mut world, id, 1, &[("from", "5"), ("other", "5")]);
    meet(&mut world, id, &[("from", "5"), ("note", "0"), ("other", "5"), ("to", "0")]);
}

#[test]
fn what_was_built_on_a_losing_batch_loses_too() {
    let (mut world, id) = apart(&[("w", "0"), ("x", "10"), ("y", "0"), ("z", "0")]);
    write(&mut world, id, 0, &[("x", "7"), ("y", "3")]);
    // It has to do with the first one only, and with no row that is in conflict.
    write(&mut world, id, 0, &[("y", "1"), ("z", "2")]);
    write(&mut world, id, 1, &[("w", "5"), ("x", "5")]);
    meet(&mut world, id, &[("w", "5"), ("x", "5"), ("y", "0"), ("z", "0")]);
}

#[test]
fn the_last_batch_wins_together_with_what_it_builds_on() {
    let (mut world, id) = apart(&[("w", "0"), ("x", "10"), ("y", "0"), ("z", "0")]);
    write(&mut world, id, 0, &[("x", "7"), ("y", "3")]);
    // It is later than the one that it is in conflict with, and earlier than what was built on that.
    write(&mut world, id, 1, &[("w", "5"), ("x", "5")]);
    write(&mut world, id, 0, &[("y", "1"), ("z", "2")]);
    meet(&mut world, id, &[("w", "0"), ("x", "7"), ("y", "1"), ("z", "2")]);
}

#[test]
fn a_batch_that_has_nothing_to_do_with_it_stays() {
    let (mut world, id) = apart(&[("a", "1"), ("b", "2"), ("w", "0"), ("x", "10"), ("y", "0")]);
    write(&mut world, id, 0, &[("x", "7"), ("y", "3")]);
    write(&mut world, id, 0, &[("a", "0"), ("b", "3")]);
    write(&mut world, id, 1, &[("w", "5"), ("x", "5")]);
    meet(&mut world, id, &[("a", "0"), ("b", "3"), ("w", "5"), ("x", "5"), ("y", "0")]);
}

#[test]
fn an_answer_that_meets_a_late_batch_is_undone_with_what_it_left() {
    let (mut world, id) = World::together(3);
    world.schema(0, id, &[("", Policy::BatchWins)]);
    write(&mut world, id, 0, &[("x", "10"), ("y", "0"), ("z", "0")]);
    world.run(60_000);
    for at in 0..3 {
        for link in world.links_of(at) {
            world.unlink(link);
        }
    }
    write(&mut world, id, 0, &[("x", "7"), ("y", "3")]);
    write(&mut world, id, 1, &[("x", "6"), ("z", "4")]);
    world.link(0, 1);
    world.run(60_000);
    let row = |key: &str, value: &str| (key.to_string(), value.to_string());
    assert_eq!(world.rows(0, id), [row("x", "6"), row("y", "0"), row("z", "4")]);
    // The third one has heard of none of that, and is the last.
    write(&mut world, id, 2, &[("x", "2"), ("y", "8")]);
    world.link(0, 2);
    world.link(1, 2);
    world.run(60_000);
    assert_eq!(world.rows(0, id), [row("x", "2"), row("y", "8"), row("z", "0")]);
    world.assert_same(id);
}

#[test]
fn what_is_tied_to_a_row_of_the_applications_is_decided_once_that_row_has_come_together() {
    let (mut world, id) = apart(&[]);
    world.schema(0, id, &[("", Policy::BatchWins), ("app", Policy::AppResolves)]);
    write(&mut world, id, 0, &[("app", "a"), ("x", "a")]);
    write(&mut world, id, 1, &[("app", "b"), ("x", "b")]);
    world.link(0, 1);
    world.run(60_000);
    // Nobody decides the application's row, nor what the same batches wrote.
    let open = read::conflicts(&world.nodes[0].store, &world.collection(0, id), b"", 10).unwrap();
    assert_eq!(open.len(), 2);
    write(&mut world, id, 0, &[("app", "c")]);
    world.run(60_000);
    meet(&mut world, id, &[("app", "c"), ("x", "b")]);
}

#[test]
fn of_more_versions_than_may_be_read_the_heads_decide() {
    let (mut world, id) = apart(&[("x", "0")]);
    let many = limits::MAX_DISPUTED_VERSIONS;
    let mut large = LocalWrite::new().put(world.row(id, "x"), "1");
    for at in 0..many {
        large = large.put(world.row(id, &format!("y/{at}")), "1");
    }
    world.command(0, Command::Write(large)).unwrap();
    world.run(10);
    write(&mut world, id, 0, &[("x", "2")]);
    write(&mut world, id, 1, &[("x", "3")]);
    world.link(0, 1);
    world.run(60_000);
    assert_eq!(world.text(1, id, "x").as_deref(), Some("3"));
    assert_eq!(
        world.text(1, id, "y/0").as_deref(),
        Some("1"),
        "its batch is not among those that wrote heads"
    );
    assert!(!world.get(0, id, "x").unwrap().in_conflict);
    world.assert_same(id);
}

/// Three replicas that hold these rows, under the policy. The second one, which is to be removed, writes a batch beside
/// its removal that only the third one hears of.
fn with_a_batch_of_the_removed(
    rows: &[(&str, &'static str)],
    batch: &[(&str, &'static str)],
) -> (World, SyncgroupId) {
    let (mut world, id) = World::together(3);
    world.schema(0, id, &[("", Policy::BatchWins)]);
    write(&mut world, id, 0, rows);
    world.run(60_000);
    world.apart();
    write(&mut world, id, 1, batch);
    let link = world.link(1, 2);
    world.run(10_000);
    for (key, value) in batch {
        assert_eq!(world.text(2, id, key).as_deref(), Some(*value));
    }
    world.unlink(link);
    (world, id)
}

/// The second one is removed, and the others come to this.
fn meet_without_the_removed(world: &mut World, id: SyncgroupId, expected: &[(&str, &str)]) {
    world.eject(0, id, 1);
    world.all_linked();
    let expected: Vec<_> = expected.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    for at in [0, 2] {
        assert_eq!(world.rows(at, id), expected, "at {at}");
        let open = read::conflicts(&world.nodes[at].store, &world.collection(at, id), b"", 10).unwrap();
        assert_eq!(open, []);
    }
    world.assert_same_at(id, &[0, 2]);
}

#[test]
fn a_void_batch_neither_wins_nor_makes_others_lose() {
    let (mut world, id) =
        with_a_batch_of_the_removed(&[("x", "10"), ("y", "0"), ("z", "0")], &[("x", "7"), ("y", "3")]);
    // What is built on it stays, for whoever wrote that may write; and this one is in no conflict with the rest.
    write(&mut world, id, 2, &[("note", "1")]);
    write(&mut world, id, 0, &[("x", "5"), ("z", "5")]);
    meet_without_the_removed(&mut world, id, &[("note", "1"), ("x", "5"), ("y", "0"), ("z", "5")]);
}

#[test]
fn the_last_batch_does_not_win_if_it_is_void() {
    let (mut world, id) = World::together(3);
    world.schema(0, id, &[("", Policy::BatchWins)]);
    write(&mut world, id, 0, &[("x", "10"), ("y", "0"), ("z", "0")]);
    world.run(60_000);
    world.apart();
    write(&mut world, id, 2, &[("x", "8"), ("y", "2")]);
    write(&mut world, id, 0, &[("x", "5"), ("z", "5")]);
    // The last of three that stand against each other.
    write(&mut world, id, 1, &[("x", "7"), ("y", "3")]);
    let link = world.link(1, 2);
    world.run(200);
    let row = world.get(2, id, "x").unwrap();
    assert!(row.value == "7" && row.in_conflict, "nobody has answered yet");
    world.unlink(link);
    meet_without_the_removed(&mut world, id, &[("x", "5"), ("y", "0"), ("z", "5")]);
}

#[test]
fn a_row_of_a_loser_goes_back_behind_what_is_void() {
    let (mut world, id) =
        with_a_batch_of_the_removed(&[("x", "10"), ("y", "0"), ("z", "0")], &[("x", "7"), ("y", "3")]);
    write(&mut world, id, 2, &[("y", "1"), ("z", "2")]);
    write(&mut world, id, 0, &[("z", "9")]);
    meet_without_the_removed(&mut world, id, &[("x", "10"), ("y", "0"), ("z", "9")]);
}

/// What a row's account holds. Whatever follows the number makes values of two batches differ.
fn balance(row: Option<Row>) -> i64 {
    let text = row.map(|row| String::from_utf8(row.value.to_vec()).unwrap());
    text.map_or(0, |text| text.split(' ').next().unwrap().parse().unwrap())
}

#[test]
fn a_total_that_every_batch_conserves_is_conserved_whatever_meets_whatever() {
    const ACCOUNTS: [&str; 5] = ["a", "b", "c", "d", "e"];
    let (mut conflicts, mut losses) = (0, 0);
    for seed in 1..=25_u64 {
        let mut state = seed;
        let mut draw = move |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let (mut world, id) = World::together(3);
        world.schema(0, id, &[("", Policy::BatchWins)]);
        world.run(60_000);
        let open = |world: &World, at: usize| {
            read::conflicts(&world.nodes[at].store, &world.collection(at, id), b"", 1).unwrap().len()
        };
        let mut expected = [0; 5];
        for step in 0..60 {
            match draw(8) {
                0 => {
                    let at = draw(3) as usize;
                    for link in world.links_of(at) {
                        world.unlink(link);
                    }
                }
                1 => {
                    let (one, other) = [(0, 1), (0, 2), (1, 2)][draw(3) as usize];
                    if !world.links.values().any(|(near, _, far)| (*near, *far) == (one, other)) {
                        world.link(one, other);
                    }
                }
                2 => world.run(draw(3_000)),
                _ => {
                    // A teller waits until no conflict stands, reads two accounts, and writes both.
                    let at = draw(3) as usize;
                    if open(&world, at) > 0 {
                        conflicts += 1;
                        continue;
                    }
                    let from = draw(5) as usize;
                    let to = (from + 1 + draw(4) as usize) % 5;
                    let amount = draw(90) as i64 + 1;
                    let mut batch = LocalWrite::new();
                    for (account, amount) in [(from, -amount), (to, amount)] {
                        expected[account] += amount;
                        let value = balance(world.get(at, id, ACCOUNTS[account])) + amount;
                        batch =
                            batch.put(world.row(id, ACCOUNTS[account]), format!("{value} by {at} in {step}"));
                    }
                    world.command(at, Command::Write(batch)).unwrap();
                    world.run(10);
                }
            }
            for at in (0..3).filter(|at| open(&world, *at) == 0) {
                let total: i64 = ACCOUNTS.iter().map(|key| balance(world.get(at, id, key))).sum();
                assert_eq!(total, 0, "seed {seed}, step {step}, at {at}: {:?}", world.rows(at, id));
            }
        }
        for (one, other) in [(0, 1), (0, 2), (1, 2)] {
            if !world.links.values().any(|(near, _, far)| (*near, *far) == (one, other)) {
                world.link(one, other);
            }
        }
        world.run(300_000);
        assert_eq!(open(&world, 0), 0, "seed {seed}");
        world.assert_same(id);
        let balances = ACCOUNTS.map(|key| balance(world.get(0, id, key)));
        assert_eq!(balances.iter().sum::<i64>(), 0, "seed {seed}: {balances:?}");
        losses += usize::from(balances != expected);
    }
    assert!(
        conflicts > 50 && losses > 10,
        "{conflicts} times a teller waited, in {losses} runs batches lost"
    );
}
