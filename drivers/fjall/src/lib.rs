//! driftless-fjall
