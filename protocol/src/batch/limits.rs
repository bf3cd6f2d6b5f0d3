//! Bounds of what reading a record batch may cost.

/// Rejected records that an error lists one by one. Beyond it only their number is kept: the
/// producer learns from the first ones, and an error must not grow with what a client sends.
pub const RECORD_ERRORS_MAX: usize = 1024;
