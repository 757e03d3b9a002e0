//! Arguments of what an admin decides about members.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand, ValueEnum};
use driftless::{DeviceId, PublicKey, Rights};

/// Reads a device, by its id or its key.
pub(super) fn parse_device(text: &str) -> Result<DeviceId, String> {
    let by_key = || text.parse::<PublicKey>().map(|key| key.device());
    text.parse()
        .or_else(|_| by_key())
        .map_err(|_| "write the device's id or key: driftless whoami prints both".into())
}

/// What an admin decides about members.
#[derive(Debug, Subcommand)]
pub enum Membership {
    /// Remove a device, or a user with all its devices, from a syncgroup.
    ///
    /// What it wrote stays as far as this device has it. What it wrote beside that does not count, wherever it is.
    /// The device is told, goes on reading what it has, and can be invited again.
    Eject {
        /// The syncgroup: its name, its id, or the start of its id.
        syncgroup: String,
        /// The device, or the user: its id, the start of its id, or its name if only one has it.
        device: String,
    },
    /// Say what a member, or a user with all its devices, may do from now on
    ///
    /// With an end, what it stamps later does not count, and it is given nothing after that; it goes on
    /// reading what it has. Granting anew extends its time, or makes it shorter.
    ///
    /// Examples:
    ///   driftless syncgroup grant notes tablet read-only
    ///   driftless syncgroup grant notes tablet read-write --for 30d
    ///   driftless syncgroup grant notes Anna read-write --until 2027-01-31
    #[command(verbatim_doc_comment)]
    Grant {
        /// The syncgroup: its name, its id, or the start of its id.
        syncgroup: String,
        /// The device, or the user: its id, the start of its id, or its name if only one has it.
        device: String,
        /// What it may do.
        rights: Preset,
        /// Until when it may.
        #[command(flatten)]
        lasting: Lasting,
    },
    /// Open a syncgroup: any member may let in others, with no more than these rights
    ///
    /// Members then make invitations like an admin: driftless syncgroup invite. Nobody becomes a member by this alone, and
    /// a device that an admin has removed no member lets in again. Opening anew replaces what was granted before;
    /// `driftless syncgroup about` tells what is.
    ///
    /// Examples:
    ///   driftless syncgroup open notes
    ///   driftless syncgroup open notes --rights read-only --for 30d
    #[command(verbatim_doc_comment)]
    Open {
        /// The syncgroup: its name, its id, or the start of its id.
        syncgroup: String,
        /// What members may give at most: read-only or read-write.
        #[arg(long, value_name = "PRESET", default_value = "read-write")]
        rights: Preset,
        /// Until when they may, and until when those they let in are members at most.
        #[command(flatten)]
        lasting: Lasting,
    },
    /// Close a syncgroup that was opened: only admins let in others.
    ///
    /// Whom members have let in stays a member, as far as this device has heard of it. Whom they let in beside that is none.
    Close {
        /// The syncgroup: its name, its id, or the start of its id.
        syncgroup: String,
    },
    /// Publish a syncgroup at a device: it is asked to take part until it answers
    ///
    /// All admins ask it, whenever they reach it, across restarts. Once it accepts, it is a member like any other;
    /// `driftless syncgroup about` tells how far that is.
    ///
    /// Examples:
    ///   driftless syncgroup publish notes KEY --at 192.0.2.7:4433
    ///   on that device: driftless invitations, or driftless serve --host DEVICE
    #[command(verbatim_doc_comment)]
    Publish {
        /// The syncgroup: its name, its id, or the start of its id.
        syncgroup: String,
        /// The device: its id or its key, as `driftless whoami` prints it there.
        #[arg(value_parser = parse_device)]
        device: DeviceId,
        /// What it may do.
        #[arg(long, value_name = "PRESET", default_value = "read-write")]
        rights: Preset,
        /// Where it can be reached, IP:PORT; once for each address. Devices in the neighbourhood are found without.
        #[arg(long, value_name = "ADDRESS")]
        at: Vec<SocketAddr>,
    },
    /// Withdraw that, as long as the device has not accepted.
    Unpublish {
        /// The syncgroup: its name, its id, or the start of its id.
        syncgroup: String,
        /// The device: its id or its key.
        #[arg(value_parser = parse_device)]
        device: DeviceId,
    },
    /// Remove everybody, and leave; what devices have they can read.
    ///
    /// An admin who did not create the syncgroup removes those only whom it may overrule.
    Destroy {
        /// The syncgroup: its name, its id, or the start of its id.
        syncgroup: String,
        /// Do it without being asked.
        #[arg(long)]
        yes: bool,
    },
}

/// Until when somebody may do something. By default there is no end.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct Lasting {
    /// The last moment, in UTC: a day, of which all counts, or a day and a time.
    #[arg(long, value_name = "TIME", value_parser = parse_moment, conflicts_with = "span")]
    pub until: Option<u64>,
    /// For how long from now, for example 12h, 7d or 30d.
    #[arg(long = "for", value_name = "SPAN", id = "span", value_parser = super::parse_span)]
    pub span: Option<Duration>,
}

impl Lasting {
    /// The last moment, in milliseconds since 1970, by this device's clock.
    pub fn end(self) -> Option<u64> {
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let after = self.span.map(|span| millis(now().saturating_add(span)));
        self.until.or(after)
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// Reads a day, or a day and a time.
fn parse_moment(text: &str) -> Result<u64, String> {
    let is_day = text.len() == "2027-01-31".len();
    let whole = if is_day { format!("{text} 23:59:59") } else { text.to_owned() };
    let read = humantime::parse_rfc3339_weak(&whole).ok();
    let since = read.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    since.map(millis).ok_or_else(|| {
        "a time is a day, of which all counts, or a day and a time, in UTC: 2027-01-31, or \"2027-01-31 12:00:00\""
            .to_owned()
    })
}

/// What a member may do, as people think of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Preset {
    /// Read everything.
    ReadOnly,
    /// Read and write rows.
    ReadWrite,
    /// Read and write rows, and say who else may.
    Admin,
}

impl From<Preset> for Rights {
    fn from(preset: Preset) -> Self {
        match preset {
            Preset::ReadOnly => Rights::Read,
            Preset::ReadWrite => Rights::Write,
            Preset::Admin => Rights::Admin,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_counts_as_a_whole_and_a_time_to_the_second() {
        assert_eq!(parse_moment("1970-01-02"), Ok((2 * 86_400 - 1) * 1_000));
        assert_eq!(parse_moment("1970-01-01 00:01:00"), Ok(60_000));
        assert_eq!(parse_moment("1970-01-01T00:01:00Z"), Ok(60_000));
        for wrong in ["", "tomorrow", "2027-13-01", "1969-12-31", "31.1.2027", "12:00"] {
            assert!(parse_moment(wrong).unwrap_err().contains("UTC"), "{wrong}");
        }
    }

    #[test]
    fn a_span_is_counted_from_now_and_no_option_is_no_end() {
        assert_eq!(Lasting::default().end(), None);
        assert_eq!(Lasting { until: Some(7), span: None }.end(), Some(7));
        let now = millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap());
        let end = Lasting { until: None, span: Some(Duration::from_secs(60)) }.end().unwrap();
        assert!((now + 60_000..now + 120_000).contains(&end));
    }
}
