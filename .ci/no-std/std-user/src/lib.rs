//! Links the standard library, by not saying `no_std`: what must make the check in `..` fail.

/// Needs nothing of it, as so often.
pub fn harmless() {}
