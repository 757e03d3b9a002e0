//! What the operating system says of this process's memory. Only Linux says it here; elsewhere it is not known.

/// Bytes of memory in use.
pub(super) fn resident() -> Option<u64> {
    field("VmRSS:")
}

/// The most bytes of memory in use since [`forget_peak`], or since the start.
pub(super) fn peak() -> Option<u64> {
    field("VmHWM:")
}

/// Begins to look for a peak anew.
pub(super) fn forget_peak() {
    // Where this cannot be, the peak is that of the whole process: never too low.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

fn field(name: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(1024 * kibibytes)
}
