//! Surroundings in which nothing goes wrong: what a plan that is written by hand, or cut down, need not say.
//!
//! These values are part of the format of kept plans. They do not follow the defaults of the core, so that a
//! kept plan stays as it is when those change.

use super::{DiskSetup, LowLimits, NetworkSetup, Settings, Setup, Signatures, Waits};

impl Setup {
    /// Nothing goes wrong, until the end of the safety phase and after.
    pub fn calm(replicas: usize, safety_ms: u64) -> Self {
        Self { replicas, safety_ms, skew_ms: vec![0; replicas], ..Self::default() }
    }
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            replicas: 2,
            safety_ms: 20_000,
            liveness_ms: 30 * 60 * 1_000,
            signatures: Signatures::Keyed,
            timing: Waits::default(),
            chunk_bytes: 256 << 10,
            network: NetworkSetup::default(),
            disk: DiskSetup::default(),
            skew_ms: Vec::new(),
            drift_ppm: Vec::new(),
            hostile: Vec::new(),
            readers_ms: 5_000,
            waiting: 10_000,
            watch_log: None,
            limits: LowLimits::default(),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        let Setup { timing, chunk_bytes, .. } = Setup::default();
        Self { timing, chunk_bytes }
    }
}

impl Default for Waits {
    fn default() -> Self {
        Self {
            relay: 20,
            confirm: 500,
            patience: 2_000,
            patience_max: 300_000,
            redial: 500,
            redial_max: 60_000,
            parts: 60_000,
            resolve: 2_000,
        }
    }
}

impl Default for NetworkSetup {
    fn default() -> Self {
        Self {
            latency_ms: (50, 50),
            jitter_ms: 0,
            loss_ppm: 0,
            duplicate_ppm: 0,
            reorder_ppm: 0,
            corrupt_ppm: 0,
            bytes_per_ms: None,
            credit: 1 << 20,
            link_life_ms: None,
            callback: true,
            neighbourhood: true,
            call_only: Vec::new(),
        }
    }
}

impl Default for DiskSetup {
    fn default() -> Self {
        Self { sync_ms: (5, 5) }
    }
}
