//! The controller: what a request would change, as records and the response that goes with them.
//!
//! Pure: it reads an image and changes nothing. The caller appends the records as one batch,
//! replays
//! them once they are durable, and then lets the response go. Ids and time are arguments.

pub mod limits;
