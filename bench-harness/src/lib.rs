//! Load and latency measurement of Kafka-wire brokers.
