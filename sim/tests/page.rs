//! Pages of runs: what is recorded, that recording changes nothing, and that a browser can use them.
//!
//! The tests in a browser are ignored unless asked for, because not every machine has one:
//! `cargo test -p driftless-sim --test page -- --ignored` needs `chromium` in the path, and `.ci/run page`
//! installs it where that is possible. Each opens a page with `#selftest`, which makes the page use and check
//! itself, and write the verdict into the document.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use driftless_sim::page::{self, Recording};
use driftless_sim::plan::{Profile, Workload};
use driftless_sim::suite::attempt;
use driftless_sim::world::{self, Sabotage};
use driftless_sim::{Faults, Invariant, Options, Outcome, Plan, World, execute};
use serde_json::Value;

fn record(plan: &Plan, sabotage: Option<Sabotage>) -> (Outcome, String) {
    let mut recording = Recording::new();
    let outcome = attempt(plan, Options { record: Some(&mut recording), sabotage, ..Options::default() });
    let html = page::render(plan, &outcome, &mut recording, "driftless-sim replay it");
    (outcome, html)
}

/// What the page carries.
fn data(html: &str) -> Value {
    let (_, rest) = html.split_once(r#"id="run">"#).unwrap();
    serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap()
}

fn list<'v>(value: &'v Value, name: &str) -> &'v Vec<Value> {
    value["kept"][name].as_array().unwrap()
}

#[test]
fn recording_changes_nothing_and_gives_the_same_page_again() {
    for seed in 0..6 {
        let plan = Plan::draw(seed, &"harsh".parse().unwrap());
        let (recorded, html) = record(&plan, None);
        assert_eq!(recorded, execute(&plan, Options::default()), "seed {seed}");
        assert_eq!(html, record(&plan, None).1, "seed {seed}");
    }
}

#[test]
fn every_frame_is_on_the_page_with_its_fate() {
    let plan = Plan::draw(3, &"network".parse().unwrap());
    let (outcome, html) = record(&plan, None);
    let data = data(&html);
    let frames = list(&data, "frames");
    assert_eq!(frames.len() as u64, outcome.figures.frames);
    let lost = |frame: &&Value| frame[7] != 0;
    let twice = |frame: &&Value| frame[8].as_array().unwrap().len() == 2;
    let overtaken = |frame: &&Value| frame[8][0][1] == 2;
    assert!(frames.iter().any(|frame| lost(&frame)));
    assert!(frames.iter().any(|frame| twice(&frame)));
    assert!(frames.iter().any(|frame| overtaken(&frame)));
    assert!(frames.iter().filter(lost).all(|frame| frame[8].as_array().unwrap().is_empty()));
    // Every arrival of a run that came to rest is accounted for.
    let arrivals = frames.iter().flat_map(|frame| frame[8].as_array().unwrap());
    assert!(arrivals.clone().all(|arrival| arrival[1] != 0));
    let sent_before =
        |frame: &Value| frame[8].as_array().unwrap().iter().all(|it| it[0].as_u64() >= frame[0].as_u64());
    assert!(frames.iter().all(sent_before));
    let unreadable = data["frame_kinds"].as_array().unwrap().len() - 1;
    assert!(frames.iter().all(|frame| frame[3] != unreadable));
}

/// What readers see on each replica: replica, row, value's start.
type Rows = BTreeMap<(usize, String), String>;

#[test]
fn rows_on_the_page_are_those_that_readers_saw_at_the_end() {
    for seed in [1, 2, 4] {
        let plan = Plan::draw(seed, &Profile::default());
        let seen: Mutex<Rows> = Mutex::default();
        let look = |world: &World<'_>| {
            let mut rows = Rows::new();
            let groups = (0..4).filter_map(|group| Some((group, world.syncgroup(group)?)));
            for ((group, id), collection) in
                groups.flat_map(|group| (0..6).map(move |number| (group, number)))
            {
                for device in world.devices() {
                    for row in device.rows(&id, &world::collection(collection)) {
                        let key = String::from_utf8(row.key.to_vec()).unwrap();
                        let text: String = String::from_utf8_lossy(&row.value).chars().take(20).collect();
                        rows.insert((device.index, format!("g{group}/c{collection}/{key}")), text);
                    }
                }
            }
            *seen.lock().unwrap() = rows;
            Ok(())
        };
        let mut recording = Recording::new();
        let invariants = [("looks".to_owned(), Box::new(look) as Box<Invariant<'_>>)];
        let options = Options { record: Some(&mut recording), invariants: &invariants, ..Options::default() };
        let outcome = execute(&plan, options);
        let data = data(&page::render(&plan, &outcome, &mut recording, ""));
        let mut shown = Rows::new();
        for change in list(&data, "shown") {
            let row = &list(&data, "rows")[change[2].as_u64().unwrap() as usize];
            let group = data["groups"][row[0].as_u64().unwrap() as usize].as_str().unwrap();
            let name = format!("{group}/{}/{}", row[1].as_str().unwrap(), row[2].as_str().unwrap());
            let key = (change[1].as_u64().unwrap() as usize, name);
            match change[3].as_u64() {
                Some(value) => {
                    let text = list(&data, "values")[value as usize][0].as_str().unwrap();
                    shown.insert(key, text.chars().take(20).collect())
                }
                None => shown.remove(&key),
            };
        }
        assert!(!shown.is_empty());
        assert_eq!(shown, *seen.lock().unwrap(), "seed {seed}");
    }
}

#[test]
fn versions_on_the_page_build_on_versions_on_the_page() {
    let plan = Plan::draw(4, &Profile::default());
    let data = data(&record(&plan, None).1);
    let generations = list(&data, "generations");
    let known = |author: &Value, number: &Value, row: &Value| {
        generations.iter().any(|it| {
            it[3] == *author
                && it[4] == *number
                && it[8].as_array().unwrap().iter().any(|change| change[0] == *row)
        })
    };
    let mut parents = 0;
    for change in generations.iter().flat_map(|it| it[8].as_array().unwrap()) {
        for parent in change[2].as_array().unwrap() {
            assert!(known(&parent[0], &parent[1], &change[0]), "{change} builds on something unheard of");
            parents += 1;
        }
    }
    assert!(parents > 5);
}

/// A run that fails with whatever text its invariant gives.
fn failing(what: &'static str) -> String {
    let plan = Plan::draw(1, &Profile::default());
    let broken = move |world: &World<'_>| {
        if world.healed() { Err(what.to_owned()) } else { Ok(()) }
    };
    let invariants = [(what.to_owned(), Box::new(broken) as Box<Invariant<'_>>)];
    let mut recording = Recording::new();
    let options = Options { record: Some(&mut recording), invariants: &invariants, ..Options::default() };
    let outcome = execute(&plan, options);
    assert!(outcome.failure.is_some());
    page::render(&plan, &outcome, &mut recording, what)
}

const HOSTILE: &str =
    "</script><script>window.injected=1</script><img src=x onerror='window.injected=1'><!--{{script}}";

#[test]
fn what_a_run_contains_is_data_to_its_page() {
    let html = failing(HOSTILE);
    assert_eq!(data(&html)["head"]["what"], HOSTILE);
    assert!(!html.contains("<img"));
    assert_eq!(html.matches("</script>").count(), 2);
    assert_eq!(html.matches("function selftest").count(), 1);
}

#[test]
fn a_page_needs_nothing_from_elsewhere() {
    let html = record(&Plan::draw(1, &Profile::default()), None).1;
    let markup: String = html.split(r#"id="run">"#).next().unwrap().into();
    for outside in ["src=", "href=", "@import", "url("] {
        assert!(!markup.contains(outside), "{outside}");
    }
    assert!(markup.contains("default-src 'none'"));
}

#[test]
fn a_run_that_panics_or_is_cut_short_still_has_a_page() {
    let plan = Plan::draw(2, &Profile::default());
    let mut recording = Recording::new();
    let options = Options { record: Some(&mut recording), until: Some(5_000), ..Options::default() };
    let outcome = execute(&plan, options);
    let data_ = data(&page::render(&plan, &outcome, &mut recording, ""));
    assert!(!list(&data_, "events").is_empty());
    assert!(list(&data_, "events").iter().all(|event| event[0].as_u64().unwrap() < 5_000));

    let panics = |world: &World<'_>| if world.now_ms() > 3_000 { panic!("on purpose") } else { Ok(()) };
    let invariants = [("panics".to_owned(), Box::new(panics) as Box<Invariant<'_>>)];
    let options = Options { record: Some(&mut recording), invariants: &invariants, ..Options::default() };
    let outcome = attempt(&plan, options);
    let data_ = data(&page::render(&plan, &outcome, &mut recording, ""));
    assert!(data_["head"]["what"].as_str().unwrap().contains("on purpose"));
    assert!(!list(&data_, "events").is_empty());
}

// ---- in a browser ----

/// A directory of its own under the target directory, emptied.
fn folder(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("page").join(name);
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

/// Opens a page in a browser that nobody sees, and returns what it became.
fn browse(name: &str, html: &str, arguments: &[&str]) -> String {
    let folder = folder(name);
    let file = folder.join("page.html");
    std::fs::write(&file, html).unwrap();
    let profile = format!("--user-data-dir={}", folder.join("profile").display());
    let usual = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--dump-dom",
    ];
    let address = format!("file://{}#selftest", file.display());
    let output = Command::new("chromium")
        .args(usual)
        .arg(profile)
        .args(arguments)
        .arg(address)
        .output()
        .unwrap_or_else(|error| {
            panic!("chromium cannot be started ({error}): install it, or run .ci/run page")
        });
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The verdict that a page came to about itself.
fn verdict(name: &str, html: &str, arguments: &[&str]) -> String {
    let document = browse(name, html, arguments);
    let verdict = document.split_once("data-selftest=\"").and_then(|(_, rest)| rest.split_once('"'));
    let verdict = verdict.map(|(verdict, _)| verdict.to_owned());
    let verdict = verdict.unwrap_or_else(|| {
        panic!("{name}: the page did not get as far as to test itself: {} bytes came back", document.len())
    });
    println!("{name}: {verdict}");
    assert!(verdict.starts_with("passed"), "{name}: {verdict}");
    verdict
}

#[test]
#[ignore = "needs chromium: .ci/run page"]
fn a_page_of_a_run_that_passed_works_in_a_browser() {
    let html = record(&Plan::draw(2, &Profile::default()), None).1;
    verdict("passed", &html, &["--window-size=1400,1000"]);
    verdict("narrow", &html, &["--window-size=500,900"]);
    verdict("dark", &html, &["--window-size=1400,1000", "--blink-settings=preferredColorScheme=0"]);
}

#[test]
#[ignore = "needs chromium: .ci/run page"]
fn a_page_of_a_run_that_failed_works_in_a_browser() {
    let plan = Plan::draw(0, &"harsh".parse().unwrap());
    let (outcome, html) = record(&plan, Some(Sabotage::LosesARow));
    assert!(outcome.failure.is_some());
    verdict("failed", &html, &["--window-size=1400,1000"]);
    verdict("hostile", &failing(HOSTILE), &["--window-size=1400,1000"]);
}

#[test]
#[ignore = "needs chromium: .ci/run page"]
fn a_page_of_ten_replicas_and_hundreds_of_steps_works_in_a_browser() {
    let profile = Profile {
        replicas: (10, 10),
        safety_ms: (90_000, 90_000),
        workload: Workload { writes: (400, 400), ..Workload::default() },
        faults: Faults::all(),
    };
    let plan = Plan::draw(1, &profile);
    assert!(plan.steps.len() > 300);
    let (_, html) = record(&plan, None);
    assert!(list(&data(&html), "frames").len() > 2_000);
    verdict("large", &html, &["--window-size=1400,1000"]);
}
