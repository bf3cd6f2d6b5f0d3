//! Answers that need only the image: pure functions of an image and a request.
//!
//! Called by the APIs on any shard; none of them changes anything.
