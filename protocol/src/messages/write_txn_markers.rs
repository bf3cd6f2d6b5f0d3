//! WriteTxnMarkers (key 27): writes the end of a transaction into partitions; between
//! brokers.
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

crate::message! {
    /// Request: writes the end of a transaction into partitions; between brokers.
    pub struct WriteTxnMarkersRequest[versions(1, 2).flexible(1)] {
        markers: Vec<WritableTxnMarker>, since(0);
    }

    /// Part of [`WriteTxnMarkersRequest`].
    pub struct WritableTxnMarker {
        producer_id: i64, since(0);
        producer_epoch: i16, since(0);
        transaction_result: bool, since(0);
        topics: Vec<WritableTxnMarkerTopic>, since(0);
        coordinator_epoch: i32, since(0);
        transaction_version: i8, since(2).ignorable();
    }

    /// Part of [`WriteTxnMarkersRequest`].
    pub struct WritableTxnMarkerTopic {
        name: String, since(0);
        partition_indexes: Vec<i32>, since(0);
    }

    /// Response to [`WriteTxnMarkersRequest`].
    pub struct WriteTxnMarkersResponse[versions(1, 2).flexible(1)] {
        markers: Vec<WritableTxnMarkerResult>, since(0);
    }

    /// Part of [`WriteTxnMarkersResponse`].
    pub struct WritableTxnMarkerResult {
        producer_id: i64, since(0);
        topics: Vec<WritableTxnMarkerTopicResult>, since(0);
    }

    /// Part of [`WriteTxnMarkersResponse`].
    pub struct WritableTxnMarkerTopicResult {
        name: String, since(0);
        partitions: Vec<WritableTxnMarkerPartitionResult>, since(0);
    }

    /// Part of [`WriteTxnMarkersResponse`].
    pub struct WritableTxnMarkerPartitionResult {
        partition_index: i32, since(0);
        error_code: i16, since(0);
    }
}
