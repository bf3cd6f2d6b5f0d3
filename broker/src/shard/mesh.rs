//! What shards of one process say to each other. The edge carries it and does not look inside.

/// A message from one shard to another.
#[derive(Debug)]
pub enum MeshMessage {}
