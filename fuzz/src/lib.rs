//! driftless-fuzz
