//! The control socket: how a command reaches the `serve` that holds its data directory.
//!
//! On Unix it is a Unix domain socket in the data directory, for its owner only. Where there are none, or where
//! the directory's path is too long for one, it is a TCP port on the loopback, and a file in the directory, for
//! its owner only, holds the port and a token. There each end shows the other that it knows the token.
//!
//! Nobody binds it who does not hold the directory's lock. So what is left of a server that died is replaced by
//! the next one, and a client that finds nobody behind it goes on as if it were not there; so it does where
//! somebody else has the port by now, unless the lock tells that a server is there all the same.

mod client;
mod lines;
mod proof;
mod server;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use self::client::{Connection, Found, connect};
pub use self::server::Server;
use crate::protocol::Word;

/// The longest path of a Unix domain socket that every Unix takes.
#[cfg(unix)]
const MAX_SOCKET_PATH: usize = 100;

/// The socket's path, if it is short enough for one. That goes by where the directory is, and not by how it is named: both
/// ends must come to the same.
#[cfg(unix)]
fn socket_path(dir: &Path) -> Option<PathBuf> {
    let path = dir.canonicalize().unwrap_or_else(|_| dir.to_owned()).join("control.sock");
    (path.as_os_str().len() <= MAX_SOCKET_PATH).then_some(path)
}

fn port_path(dir: &Path) -> PathBuf {
    dir.join("control.json")
}

/// Removes what a server has left of its port that died. The caller holds the directory's lock, so nobody else's is
/// meant.
pub(crate) fn forget_port(dir: &Path) {
    // What stays costs time, and nothing else.
    let _ = std::fs::remove_file(port_path(dir));
}

const NO_RANDOMNESS: &str = "the operating system gives no randomness";

/// What the file beside a TCP port says.
#[derive(Debug, Serialize, Deserialize)]
struct Port {
    port: u16,
    token: Word,
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn where_the_server_is_does_not_depend_on_how_its_directory_is_named() {
        let home = tempfile::tempdir().unwrap();
        let (short, long) = (home.path().join("short"), home.path().join("long".repeat(30)));
        for dir in [&short, &long] {
            std::fs::create_dir(dir).unwrap();
        }
        let named = |name: &str, dir: &Path| {
            let name = home.path().join(name);
            std::os::unix::fs::symlink(dir, &name).unwrap();
            name
        };
        assert_eq!(socket_path(&long), None);
        assert_eq!(socket_path(&named("s", &long)), None);
        let known = socket_path(&short);
        assert!(known.is_some());
        assert_eq!(socket_path(&named(&"name".repeat(30), &short)), known);
        assert_eq!(
            socket_path(&home.path().join("not there")),
            Some(home.path().join("not there/control.sock"))
        );
    }
}
