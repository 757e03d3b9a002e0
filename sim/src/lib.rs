//! driftless-sim
