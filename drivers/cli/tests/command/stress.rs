//! What goes wrong: several commands at once, servers that die, stores that are damaged; and the demo.

use std::fs;
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::time::{Duration, Instant};

use driftless_cli::control::Server;
use driftless_cli::protocol::VERSION;
use serde_json::{Value, json};

use crate::support::{self, Home, eventually};

#[test]
fn commands_that_come_at_once_without_a_server_wait_for_each_other() {
    let home = Home::with_notes();
    let put = |number: usize| {
        let mut command = home.command(["put", "notes", &format!("{number}"), "x"]);
        command.stdout(Stdio::null()).spawn().unwrap()
    };
    for mut child in (0..6).map(put).collect::<Vec<_>>() {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(home.run(["scan", "notes", "--keys"]).ok().lines().count(), 6);
}

#[test]
fn a_second_server_of_a_directory_is_refused_and_says_who_serves_it() {
    let home = Home::with_notes();
    let _server = home.serve();
    let error = home.run(["serve", "--no-discovery", "--listen", "127.0.0.1:0"]).failed(2);
    assert!(error.contains("already being served"), "{error}");
}

#[test]
fn the_address_that_others_were_given_stays_though_it_is_taken_for_a_while() {
    let home = Home::with_notes();
    drop(home.serve());
    let remembered = fs::read_to_string(home.dir().join("listen")).unwrap();
    let address: std::net::SocketAddr = remembered.trim().parse().unwrap();
    assert!(address.ip().is_loopback() && address.port() != 0);
    let taken = std::net::UdpSocket::bind(address).unwrap();
    home.run(["put", "notes", "a", "1"]).ok();
    let kept = || fs::read_to_string(home.dir().join("listen")).unwrap();
    assert_eq!(kept(), remembered);
    drop(taken);
    home.run(["put", "notes", "a", "2"]).ok();
    assert_eq!(kept(), remembered);
}

#[test]
fn what_a_server_that_was_killed_has_left_does_not_stop_anybody() {
    let home = Home::with_notes();
    let server = home.serve();
    home.run(["put", "notes", "a", "1"]).ok();
    server.kill();
    assert_eq!(home.run(["get", "notes", "a"]).ok(), "1");
    home.run(["put", "notes", "b", "2"]).ok();
    let _server = home.serve();
    assert_eq!(home.run(["scan", "notes"]).ok(), "a\t1\nb\t2\n");
}

#[test]
fn a_server_waits_until_the_one_before_it_has_ended() {
    let home = Home::with_notes();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let before = runtime.block_on(support::open(&home));
    std::thread::scope(|scope| {
        let starting = scope.spawn(|| home.serve());
        eventually("it waits", || {
            fs::read_to_string(home.path("serve.log")).is_ok_and(|log| log.contains("waiting"))
        });
        runtime.block_on(before.shutdown());
        let _server = starting.join().unwrap();
        assert_eq!(home.run(["status", "--json"]).json()[0]["served"], true);
    });
}

#[cfg(unix)]
#[test]
fn a_server_ends_in_good_order_when_it_is_told_to() {
    let home = Home::with_notes();
    let server = home.serve();
    home.run(["put", "notes", "a", "1"]).ok();
    assert!(server.terminate().success());
    assert!(!home.dir().join("control.sock").exists());
    assert_eq!(home.run(["get", "notes", "a"]).ok(), "1");
}

#[cfg(unix)]
#[test]
fn the_control_socket_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::with_notes();
    // What a server has left that died while it made the socket.
    fs::create_dir(home.dir().join("control.d")).unwrap();
    fs::write(home.dir().join("control.d/s"), "").unwrap();
    let _server = home.serve();
    assert!(!home.dir().join("control.d").exists());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&home.dir().join("control.sock")), 0o600);
    assert_eq!(mode(&home.dir()), 0o700);
}

#[test]
fn a_directory_whose_path_is_too_long_for_a_socket_is_served_all_the_same() {
    let home = Home::new();
    let dir = home.path(&"long/".repeat(30)).join("data");
    let dir = dir.to_str().unwrap();
    home.run(["init", "--dir", dir]).ok();
    home.run(["syncgroup", "create", "notes", "--dir", dir]).ok();
    let _server = home.serve_at(Path::new(dir));
    home.run(["put", "notes", "a", "1", "--dir", dir]).ok();
    assert_eq!(home.run(["get", "notes", "a", "--dir", dir]).ok(), "1");
    assert_eq!(home.run(["status", "--json", "--dir", dir]).json()[0]["served"], true);
    // Who cannot show the token is not served.
    let path = Path::new(dir).join("control.json");
    let text = fs::read_to_string(&path).unwrap();
    let there: Value = serde_json::from_str(&text).unwrap();
    let (token, wrong) = (there["token"].as_str().unwrap(), "0".repeat(64));
    let port = u16::try_from(there["port"].as_u64().unwrap()).unwrap();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    writeln!(stream, "{}", json!({ "driftless": VERSION, "nonce": wrong })).unwrap();
    let challenge: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert!(challenge["challenge"].is_object() && challenge["device"].is_null(), "{challenge}");
    writeln!(stream, "{}", json!(wrong)).unwrap();
    assert_eq!(lines.map_while(Result::ok).next(), None);
    fs::write(&path, text.replace(token, &wrong)).unwrap();
    assert!(home.run(["get", "notes", "a", "--dir", dir]).failed(2).contains("token"));
}

#[test]
fn clients_that_say_nothing_keep_no_other_from_being_served() {
    let home = Home::new();
    let dir = home.path(&"long/".repeat(30)).join("data");
    let dir = dir.to_str().unwrap();
    home.run(["syncgroup", "create", "notes", "--dir", dir]).ok();
    let _server = home.serve_at(Path::new(dir));
    home.run(["put", "notes", "a", "1", "--dir", dir]).ok();
    let text = fs::read_to_string(Path::new(dir).join("control.json")).unwrap();
    let port = serde_json::from_str::<Value>(&text).unwrap()["port"].as_u64().unwrap();
    let come = || TcpStream::connect(("127.0.0.1", u16::try_from(port).unwrap())).unwrap();
    // As many as are served at a time; then more than may greet at a time, who are waited for, but not for long.
    let mut idle: Vec<_> = (0..64).map(|_| come()).collect();
    assert_eq!(home.run(["get", "notes", "a", "--dir", dir]).ok(), "1");
    idle.extend((0..136).map(|_| come()));
    assert_eq!(home.run(["get", "notes", "a", "--dir", dir]).ok(), "1");
    drop(idle);
    // Far more, who come again as soon as they are let go.
    let (enough, all_there) = (AtomicBool::new(false), Barrier::new(2));
    let (got, took) = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut idle: Vec<_> = (0..800).map(|_| come()).collect();
            idle.iter().for_each(|stream| stream.set_nonblocking(true).unwrap());
            all_there.wait();
            while !enough.load(Ordering::Relaxed) {
                for stream in &mut idle {
                    let waits = stream.read(&mut [0]).is_err_and(|it| it.kind() == ErrorKind::WouldBlock);
                    if !waits {
                        *stream = come();
                        stream.set_nonblocking(true).unwrap();
                    }
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        all_there.wait();
        let started = Instant::now();
        let got = [(); 5].map(|()| home.run(["get", "notes", "a", "--dir", dir]));
        enough.store(true, Ordering::Relaxed);
        (got, started.elapsed())
    });
    for got in got {
        assert_eq!(got.ok(), "1");
    }
    // Were each let be as long as it likes where nobody else comes, these would take longer.
    assert!(took < Duration::from_secs(15), "{took:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn clients_for_whom_there_is_no_place_are_told_so_and_take_none_when_they_are_gone() {
    use std::os::unix::net::UnixStream;
    let home = Home::with_notes();
    home.run(["put", "notes", "a", "1"]).ok();
    let server = home.serve();
    let come = |version: u32| {
        let mut stream = UnixStream::connect(home.dir().join("control.sock")).unwrap();
        writeln!(stream, "{}", json!({ "driftless": version, "nonce": null })).unwrap();
        stream
    };
    let hear = |stream: &UnixStream| {
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        line
    };
    // As many as are served at a time.
    let notes = json!({ "database": "default", "collection": "notes", "syncgroup": null });
    let watch = json!({ "do": "watch", "of": [notes], "prefix": "", "from": null });
    let watches: Vec<_> = (0..64).map(|_| come(VERSION)).collect();
    for mut stream in &watches {
        assert!(hear(stream).contains("device"));
        writeln!(stream, "{watch}").unwrap();
        assert!(hear(stream).contains("state"));
    }
    let open = || fs::read_dir(format!("/proc/{}/fd", server.id())).unwrap().count();
    let before = open();
    (0..200).for_each(|_| drop(come(VERSION)));
    // They are taken in the order in which they come, and this one is answered at once.
    assert!(!hear(&come(0)).is_empty());
    eventually("nothing is left of those who are gone", || open() <= before);
    let stay: Vec<_> = (0..200).map(|_| come(VERSION)).collect();
    assert!(!hear(&come(0)).is_empty());
    assert!(open() <= before + 2 * 128, "any number may wait");
    drop(stay);
    eventually("nothing is left of those who have waited", || open() <= before);

    let error = home.run(["get", "notes", "a"]).failed(2);
    assert!(error.contains("64 commands at a time"), "{error}");
    drop(watches);
    assert_eq!(home.run(["get", "notes", "a"]).ok(), "1");
}

#[test]
fn nobody_is_asked_for_a_passphrase_while_a_server_is_starting_that_has_it() {
    let home = Home::new();
    let file = home.path("passphrase");
    fs::write(&file, "one").unwrap();
    home.run(["init", "--passphrase-file", file.to_str().unwrap()]).ok();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let node = runtime.block_on(support::open_by(&home, Some("one")));
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| home.run(["syncgroup", "list"]));
        std::thread::sleep(Duration::from_secs(1));
        runtime.block_on(async {
            let server = Server::bind(&home.dir()).await.unwrap();
            let asked = async {
                while !asking.is_finished() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            server.run(&node, asked).await;
            node.shutdown().await;
        });
        asking.join().unwrap().ok();
    });
}

/// A listener on the loopback that greets whoever comes, and answers the lines that it is told as a server would who
/// knows nothing of the token; with its port, and what it was told.
fn impostor(greeting: &'static str) -> (u16, Arc<Mutex<Vec<Value>>>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let told = Arc::<Mutex<Vec<Value>>>::default();
    let heard = Arc::clone(&told);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            // Whoever came may be gone already.
            let _ = stream.write_all(greeting.as_bytes());
            let lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            for line in lines.filter_map(|line| serde_json::from_str::<Value>(&line).ok()) {
                let nothing = "0".repeat(64);
                let mut answer = json!({
                    "driftless": line["driftless"],
                    "device": "0".repeat(32),
                    "challenge": { "nonce": nothing, "proof": nothing },
                });
                if line["driftless"].is_null() {
                    answer = json!({ "is": "end" });
                }
                let _ = writeln!(stream, "{answer}");
                heard.lock().unwrap().push(line);
            }
        }
    });
    (port, told)
}

#[test]
fn whoever_has_the_port_of_a_server_that_died_is_told_nothing_and_is_in_nobodys_way() {
    let home = Home::new();
    let dir = home.path(&"long/".repeat(30)).join("data");
    let (dir, token) = (dir.to_str().unwrap(), "5a".repeat(32));
    home.run(["syncgroup", "create", "notes", "--dir", dir]).ok();
    for (key, greeting) in [("a", "SSH-2.0-OpenSSH_9.6\r\n"), ("b", "")] {
        let (port, told) = impostor(greeting);
        claim(dir, port);
        home.run(["put", "notes", key, "1", "--dir", dir]).ok();
        assert_eq!(home.run(["get", "notes", key, "--dir", dir]).ok(), "1");
        let server = home.serve_at(Path::new(dir));
        assert_eq!(home.run(["status", "--json", "--dir", dir]).json()[0]["served"], true);
        server.kill();
        let told = told.lock().unwrap();
        assert!(!told.is_empty());
        for line in told.iter() {
            assert!(line["do"].is_null() && !line.to_string().contains(&token), "{line}");
        }
    }
}

/// Has a listener named as the port of a directory's server.
fn claim(dir: &str, port: u16) {
    let file = json!({ "port": port, "token": "5a".repeat(32) }).to_string();
    fs::write(Path::new(dir).join("control.json"), file).unwrap();
}

#[test]
fn a_server_that_cannot_be_spoken_with_is_told_of_instead_of_asking_for_a_passphrase() {
    let home = Home::new();
    let dir = home.path(&"long/".repeat(30)).join("data");
    let (dir, file) = (dir.to_str().unwrap(), home.path("passphrase"));
    fs::write(&file, "one").unwrap();
    let file = file.to_str().unwrap();
    home.run(["init", "--dir", dir, "--passphrase-file", file]).ok();
    let _server = home.serve_with(Path::new(dir), &["--passphrase-file", file]);
    let (port, _) = impostor("{\"driftless\":6,\"device\":null}\n");
    claim(dir, port);
    let error = home.run(["syncgroup", "list", "--dir", dir]).failed(2);
    assert!(error.contains("in use") && error.contains("speaks version 6"), "{error}");
    assert!(!error.contains("passphrase"), "{error}");
}

#[test]
fn commands_that_come_at_once_get_past_whoever_has_the_port_and_says_nothing() {
    let home = Home::new();
    let dir = home.path(&"long/".repeat(30)).join("data");
    let dir = dir.to_str().unwrap();
    home.run(["syncgroup", "create", "notes", "--dir", dir]).ok();
    let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    claim(dir, silent.local_addr().unwrap().port());
    let put = |key| {
        let mut command = home.command(["put", "notes", key, "1", "--dir", dir]);
        command.stdout(Stdio::null()).spawn().unwrap()
    };
    for mut child in ["a", "b"].map(put) {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(home.run(["scan", "notes", "--keys", "--dir", dir]).ok(), "a\nb\n");
    assert!(!Path::new(dir).join("control.json").exists(), "the next one waits for it again");
}

/// Every file below a directory.
fn files(root: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn a_store_that_is_damaged_is_refused_with_what_can_be_done() {
    let home = Home::with_notes();
    for number in 0..50 {
        home.run(["put", "notes", &format!("{number}"), "x"]).ok();
    }
    for path in files(&home.dir().join("store")) {
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes.iter_mut().skip(middle).for_each(|byte| *byte ^= 0x5a);
        fs::write(&path, bytes).unwrap();
    }
    let error = home.run(["get", "notes", "1"]).failed(2);
    assert!(error.contains(home.dir().to_str().unwrap()), "{error}");
}

#[test]
fn a_directory_that_holds_something_else_is_left_alone() {
    let home = Home::new();
    fs::create_dir(home.dir()).unwrap();
    fs::write(home.dir().join("thesis.txt"), "years of work").unwrap();
    let error = home.run(["get", "notes", "a"]).failed(2);
    assert!(error.contains("no data directory"), "{error}");
    home.run(["serve"]).failed(2);
    assert_eq!(files(&home.dir()).len(), 1);
}

#[test]
fn the_demo_converges_on_rows_of_ones_own() {
    let home = Home::new();
    let from = home.path("from");
    fs::create_dir_all(from.join("sub")).unwrap();
    for number in 0..90 {
        fs::write(from.join(format!("sub/{number}")), format!("content {number}")).unwrap();
    }
    let temporary = home.path("tmp");
    fs::create_dir(&temporary).unwrap();
    let mut command = home.command(["demo", "--json", "-q", "--clean", "--from", from.to_str().unwrap()]);
    let report = support::run(command.env("TMPDIR", &temporary)).json().remove(0);
    assert_eq!(
        (&report["ok"], &report["imported_rows"], &report["differing_rows"]),
        (&true.into(), &90.into(), &0.into())
    );
    assert!(
        report["replicas"].as_array().unwrap().iter().all(|replica| replica["conflicts"].as_u64() > Some(0))
    );
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0, "--clean leaves something");
    // A directory that cannot be read is said before anything is started.
    assert!(home.run(["demo", "--from", "/no/such/place"]).failed(2).contains("/no/such/place"));
}

#[cfg(unix)]
#[test]
fn what_the_demo_leaves_can_be_looked_at_with_what_it_prints_and_removed() {
    let home = Home::new();
    let temporary = home.path("with blank");
    fs::create_dir(&temporary).unwrap();
    let said = support::run(home.command(["demo", "-q"]).env("TMPDIR", &temporary)).ok();
    // The commands are those that are indented; what a user has set must not matter to them.
    let commands: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("    ")).collect();
    let [a_scan, a_status, b_scan, b_status, c_scan, c_status, remove] = commands[..] else {
        panic!("not seven commands:\n{said}");
    };
    let pasted = |command: &str| {
        let mut shell = Command::new("sh");
        shell.args(["-c", command]).env("HOME", home.path("home")).env_remove("XDG_STATE_HOME");
        support::run(&mut shell).ok()
    };
    let rows = pasted(a_scan);
    assert!(rows.lines().count() > 367, "{rows}");
    assert_eq!((&pasted(b_scan), &pasted(c_scan)), (&rows, &rows));
    for status in [a_status, b_status, c_status] {
        assert!(pasted(status).contains("demo"), "{said}");
    }
    assert!(!home.path("home").exists(), "a look leaves something elsewhere");
    // A look without the state directory shows the same, and so does a look after it.
    let (_, without) = a_scan.split_once("' ").unwrap();
    assert_eq!((pasted(without), pasted(a_scan)), (rows.clone(), rows));
    assert!(pasted(a_status).contains("active"));
    pasted(remove);
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0);
}
