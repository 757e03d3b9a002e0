//! driftless-tokio
