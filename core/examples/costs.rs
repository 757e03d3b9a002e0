//! What one write asks of the store, here and on whoever takes it over: `cargo run --release --example costs`.
//!
//! These are counts, the same on every machine: reads of a key, reads of a range, keys written, and their bytes. A key
//! of 8 bytes and a value of 100. What a schema and the log for watches add can be read off line by line; a write in no
//! conflict reads what any write must, the row, and writes nothing for conflicts.

#[path = "node/mod.rs"]
mod node;
#[path = "scene/mod.rs"]
mod scene;

use driftless::*;
use node::Counts;
use scene::Scene;

/// Commits that are kept for those who watch.
const WATCHED: u64 = 100_000;

fn main() {
    let rules = || {
        let rule = |prefix: &'static str, policy| Rule { prefix: prefix.into(), policy };
        vec![
            rule("", Policy::Defer),
            rule("row-", Policy::AppResolves),
            rule("count-", Policy::Merge(Merge::Counter)),
        ]
    };
    println!("{:56} {:>5} {:>5} {:>6} {:>5}", "", "reads", "scans", "writes", "bytes");
    for (schema, rules) in [("no schema", vec![]), ("three rules", rules())] {
        for (watched, kept) in [("", WATCHED), (", no log for watches", 0)] {
            plain(&format!("{schema}{watched}"), rules.clone(), kept);
        }
    }
    let mut scene = Scene::new(rules(), WATCHED);
    let row = scene.row("count-1");
    both("operation on a counter", &mut scene, || LocalWrite::new().operate(row.clone(), Operation::Add(1)));
    let row = scene.row("row-0001");
    scene.write(LocalWrite::new().put(row.clone(), vec![7u8; 100]));
    scene.take_over();
    scene.settle();
    scene.write_there(LocalWrite::new().put(row.clone(), vec![8u8; 100]));
    scene.here.now += 1;
    scene.write(LocalWrite::new().put(row, vec![9u8; 100]));
    line("for comparison: in conflict, taken over", scene.take_over());
}

fn plain(name: &str, rules: Vec<Rule>, watch_log: u64) {
    let mut scene = Scene::new(rules, watch_log);
    let row = scene.row("row-0001");
    let put = || LocalWrite::new().put(row.clone(), vec![7u8; 100]);
    both(&format!("{name}: new row"), &mut scene, put);
    let put = || LocalWrite::new().put(row.clone(), vec![8u8; 100]);
    both(&format!("{name}: row again"), &mut scene, put);
}

fn both(name: &str, scene: &mut Scene, batch: impl Fn() -> LocalWrite) {
    line(&format!("{name}, written"), scene.write(batch()));
    line(&format!("{name}, taken over"), scene.take_over());
    scene.settle();
}

fn line(name: &str, Counts { reads, scans, writes, bytes }: Counts) {
    println!("{name:56} {reads:5} {scans:5} {writes:6} {bytes:5}");
}
