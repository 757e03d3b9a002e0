//! Arguments of the commands for this device: making it, serving it, and the demo.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use driftless::DeviceId;

/// Arguments of `init`.
#[derive(Debug, Args)]
pub struct Init {
    /// What applies to a directory that is damaged.
    #[command(flatten)]
    pub repair: Repair,
}

/// What to do with a directory that is damaged.
#[derive(Debug, Clone, Copy, Args)]
pub struct Repair {
    /// Go on though the data directory has lost something, and receive again what other members hold.
    #[arg(long)]
    pub accept_loss: bool,
}

/// What becomes of the passphrase.
#[derive(Debug, Subcommand)]
pub enum Passphrase {
    /// Lock the device's key by a passphrase, or by another one than now.
    Set {
        /// A file whose first line is the new passphrase. By default it is asked for, twice.
        #[arg(long, value_name = "FILE")]
        new_file: Option<PathBuf>,
    },
    /// Keep the device's key as it is, for whoever can read the data directory.
    Remove,
}

/// What is done with the device's key.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum Key {
    /// Put another key in its place.
    Rotate {
        /// Even if a member has shown that there is another key in its place already: then members go by whichever of
        /// both was made first, and admins are told that one of them is a thief's.
        #[arg(long)]
        anyway: bool,
    },
}

/// On or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// In the network.
    On,
    /// Out of it: links are closed, and none are taken.
    Off,
}

/// Arguments of `serve`.
#[derive(Debug, Args)]
pub struct Serve {
    /// Where to listen (UDP). By default on all interfaces, at the port of the last time.
    #[arg(long, value_name = "IP:PORT")]
    pub listen: Option<SocketAddr>,
    /// Where a device can be reached; may be given several times.
    #[arg(long = "peer", value_name = "DEVICE@IP:PORT", value_parser = parse_peer)]
    pub peers: Vec<(DeviceId, SocketAddr)>,
    /// What applies to a directory that is damaged.
    #[command(flatten)]
    pub repair: Repair,
    /// Neither look for devices in the neighbourhood nor be found there.
    #[arg(long)]
    pub no_discovery: bool,
    /// Take part in whatever this device publishes here, in the database of --db: its id or its key; once for each
    /// device. What others publish waits for an answer: driftless invitations.
    #[arg(long = "host", value_name = "DEVICE", value_parser = super::membership::parse_device)]
    pub hosts: Vec<DeviceId>,
    /// Stop when standard input ends, so that a server never outlives the program that started it.
    #[arg(long, hide = true)]
    pub until_stdin_ends: bool,
}

/// Arguments of `demo`.
#[derive(Debug, Args)]
pub struct Demo {
    /// Real data to use: a directory, or a file of JSON Lines. By default the chemical elements and the
    /// countries of the world, which come with this command.
    #[arg(long, value_name = "PATH")]
    pub from: Option<PathBuf>,
    /// Remove the three data directories at the end, instead of leaving them to be looked at.
    #[arg(long)]
    pub clean: bool,
    /// How long the replicas may take to converge.
    #[arg(long, value_name = "SPAN", default_value = "5min", value_parser = parse_span)]
    pub timeout: Duration,
}

/// Reads a span of time, of which something is left.
pub(super) fn parse_span(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(span) if !span.is_zero() => Ok(span),
        _ => Err("a span is a number with its unit, for example 30s, 10min, 12h or 7d".to_owned()),
    }
}

fn parse_peer(text: &str) -> Result<(DeviceId, SocketAddr), String> {
    let wrong = |what: String| format!("{what}; expected DEVICE@IP:PORT, as `driftless status` prints it");
    let (device, address) = text.split_once('@').ok_or_else(|| wrong("there is no @".into()))?;
    let device = device.parse().map_err(|error| wrong(format!("\"{device}\" is no device: {error}")))?;
    let address = address.parse().map_err(|_| wrong(format!("\"{address}\" is no address and port")))?;
    Ok((device, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_has_a_unit_and_is_not_empty() {
        assert_eq!(parse_span("1h 30min"), Ok(Duration::from_secs(90 * 60)));
        for wrong in ["", "7", "0s", "forever", "-1h"] {
            assert!(parse_span(wrong).unwrap_err().contains("12h"), "{wrong}");
        }
    }

    #[test]
    fn a_peer_is_a_device_at_an_address() {
        let device = "00112233445566778899aabbccddeeff";
        let (parsed, address) = parse_peer(&format!("{device}@192.0.2.7:4433")).unwrap();
        assert_eq!((parsed.to_string().as_str(), address.port()), (device, 4433));
        for wrong in ["", device, "@1.2.3.4:5", &format!("{device}@1.2.3.4"), "12@1.2.3.4:5"] {
            assert!(parse_peer(wrong).unwrap_err().contains("DEVICE@IP:PORT"), "{wrong}");
        }
    }
}
