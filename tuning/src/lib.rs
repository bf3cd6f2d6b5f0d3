//! Checks of the host a broker runs on.
