//! What `validate_produce` answers, case by case.
//!
//! The numbers are the codes that Kafka 4.3.1 was seen to answer to the same bytes, or the
//! documented better one where it answers -1.

use super::*;

const CORRUPT_MESSAGE: i16 = 2;
const MESSAGE_TOO_LARGE: i16 = 10;
const INVALID_TIMESTAMP: i16 = 32;
const UNSUPPORTED_COMPRESSION_TYPE: i16 = 76;
const INVALID_RECORD: i16 = 87;
/// A moment after the test batches' timestamps.
const NOW_MS: i64 = 2_000_000;

fn validate(bytes: &[u8], config: &ValidateConfig) -> Result<ValidBatch, BatchError> {
    validate_produce(bytes, config, &mut Codecs::new())
}

fn code(bytes: &[u8]) -> i16 {
    code_with(bytes, &ValidateConfig::new(NOW_MS))
}

fn code_with(bytes: &[u8], config: &ValidateConfig) -> i16 {
    validate(bytes, config).map_or_else(|error| error.error_code(), |_| 0)
}

/// A plain batch with some bytes of it replaced and the checksum made right again.
fn patched(at: usize, replacement: &[u8]) -> Vec<u8> {
    patch(batch_of(3, BatchOptions::default()), at, replacement)
}

fn patch(mut bytes: Vec<u8>, at: usize, replacement: &[u8]) -> Vec<u8> {
    bytes[at..at + replacement.len()].copy_from_slice(replacement);
    set_crc(&mut bytes);
    bytes
}

fn compressed(compression: Compression) -> Vec<u8> {
    batch_of(3, BatchOptions { compression, ..BatchOptions::default() })
}

#[test]
fn a_good_batch_of_any_codec_passes_as_it_is() {
    for compression in Compression::ALL {
        let bytes = compressed(compression);
        let valid = validate(&bytes, &ValidateConfig::new(NOW_MS)).expect("valid");
        assert_eq!(valid.header, BatchHeader::parse(&bytes).expect("valid"));
        assert_eq!(valid.compression, compression);
        assert_eq!(valid.timestamp_type, TimestampType::CreateTime);
        assert_eq!(valid.max_timestamp_ms, 1_000_002);
        assert!(!valid.timestamps_change);
    }
}

#[test]
fn no_batch_and_half_a_batch_are_invalid_records() {
    let bytes = batch_of(3, BatchOptions::default());
    for cut in [0, 1, 11, 12, 16, 17, 60, 61, bytes.len() - 1] {
        assert_eq!(code(&bytes[..cut]), INVALID_RECORD, "cut at {cut}");
    }
}

#[test]
fn old_magics_are_invalid_and_unknown_ones_corrupt() {
    for (magic, expected) in [
        (0, INVALID_RECORD),
        (1, INVALID_RECORD),
        (3, CORRUPT_MESSAGE),
        (-1, CORRUPT_MESSAGE),
        (127, CORRUPT_MESSAGE),
    ] {
        assert_eq!(code(&patched(16, &i8::to_be_bytes(magic))), expected, "magic {magic}");
    }
}

#[test]
fn zeros_and_impossible_lengths_are_corrupt() {
    assert_eq!(code(&[0; 100]), CORRUPT_MESSAGE);
    for length in [-1, 0, 13, 14, 48] {
        let bytes = patched(8, &i32::to_be_bytes(length));
        assert_eq!(code(&bytes), CORRUPT_MESSAGE, "length {length}");
    }
}

#[test]
fn a_wrong_checksum_is_corrupt() {
    let mut bytes = batch_of(3, BatchOptions::default());
    bytes[80] ^= 1;
    assert_eq!(code(&bytes), CORRUPT_MESSAGE);
}

#[test]
fn a_second_batch_is_refused_but_a_cut_off_one_is_dropped() {
    let one = batch_of(3, BatchOptions::default());
    let two = [one.clone(), one.clone()].concat();
    assert_eq!(code(&two), INVALID_RECORD);
    assert_eq!(validate(&two, &ValidateConfig::new(NOW_MS)), Err(BatchError::MoreThanOneBatch));
    let valid = validate(&two[..two.len() - 1], &ValidateConfig::new(NOW_MS)).expect("dropped");
    assert_eq!(valid.header.total_bytes(), one.len());
    assert_eq!(code(&[one, vec![0; 12]].concat()), CORRUPT_MESSAGE);
}

#[test]
fn a_base_offset_is_refused() {
    assert_eq!(code(&patched(0, &1_i64.to_be_bytes())), INVALID_RECORD);
}

#[test]
fn counts_must_agree() {
    for count in [-1, 0, 2, 4, i32::MAX] {
        assert_eq!(code(&patched(57, &i32::to_be_bytes(count))), INVALID_RECORD, "{count}");
    }
    for delta in [-1, 0, 3, i32::MAX, i32::MIN] {
        assert_eq!(code(&patched(23, &i32::to_be_bytes(delta))), INVALID_RECORD, "{delta}");
    }
    // Both changed alike: the header agrees with itself, not with the records.
    for compression in Compression::ALL {
        for count in [2, 4] {
            let bytes = patch(compressed(compression), 57, &i32::to_be_bytes(count));
            let bytes = patch(bytes, 23, &i32::to_be_bytes(count - 1));
            assert_eq!(code(&bytes), INVALID_RECORD, "{count}");
        }
    }
}

#[test]
fn clients_may_not_send_control_batches() {
    assert_eq!(code(&patched(21, &0x20_i16.to_be_bytes())), INVALID_RECORD);
}

#[test]
fn a_producer_id_needs_a_sequence() {
    let bytes = patched(43, &5_i64.to_be_bytes());
    assert_eq!(code(&bytes), INVALID_RECORD);
    let bytes = patch(bytes, 53, &0_i32.to_be_bytes());
    assert_eq!(code(&bytes), 0);
}

#[test]
fn unknown_codecs_and_zstd_before_its_time_are_unsupported() {
    for codec in 5..8_i16 {
        let code = code(&patched(21, &codec.to_be_bytes()));
        assert_eq!(code, UNSUPPORTED_COMPRESSION_TYPE);
    }
    let config = ValidateConfig { zstd_allowed: false, ..ValidateConfig::new(NOW_MS) };
    let zstd = compressed(Compression::Zstd);
    assert_eq!(code_with(&zstd, &config), UNSUPPORTED_COMPRESSION_TYPE);
    assert_eq!(code_with(&compressed(Compression::Lz4), &config), 0);
}

#[test]
fn data_that_does_not_decompress_is_an_invalid_record() {
    for codec in 1..5_i16 {
        assert_eq!(code(&patched(21, &codec.to_be_bytes())), INVALID_RECORD, "codec {codec}");
    }
}

#[test]
fn a_batch_above_the_topics_bound_is_too_large() {
    let bytes = batch_of(3, BatchOptions::default());
    let at = |batch_bytes_max| ValidateConfig { batch_bytes_max, ..ValidateConfig::new(NOW_MS) };
    assert_eq!(code_with(&bytes, &at(bytes.len())), 0);
    assert_eq!(code_with(&bytes, &at(bytes.len() - 1)), MESSAGE_TOO_LARGE);
}

#[test]
fn a_bomb_is_too_large() {
    for compression in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd]
    {
        let options = BatchOptions { compression, ..BatchOptions::default() };
        let mut builder = BatchBuilder::new(options);
        builder.append(1, None, Some(&vec![0; 4 << 20]), &[]);
        let mut bytes = Vec::new();
        builder.build(&mut Codecs::new(), &mut bytes);
        let config = ValidateConfig { records_bytes_max: 1 << 20, ..ValidateConfig::new(NOW_MS) };
        assert_eq!(code_with(&bytes, &config), MESSAGE_TOO_LARGE, "{}", compression.name());
    }
}

#[test]
fn records_out_of_the_time_bounds_are_named() {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for at_ms in [NOW_MS, NOW_MS - 101, NOW_MS - 100, NOW_MS + 50, NOW_MS + 51, NO_TIMESTAMP] {
        builder.append(at_ms, None, None, &[]);
    }
    let mut bytes = Vec::new();
    builder.build(&mut Codecs::new(), &mut bytes);
    let config = ValidateConfig {
        timestamp_before_max_ms: 100,
        timestamp_after_max_ms: 50,
        ..ValidateConfig::new(NOW_MS)
    };
    let error = validate(&bytes, &config).expect_err("two are out");
    assert_eq!(error.error_code(), INVALID_TIMESTAMP);
    let BatchError::Records { count: 2, errors, .. } = error else { panic!("{error}") };
    let named: Vec<_> = errors.iter().map(|error| error.batch_index).collect();
    assert_eq!(named, [1, 4]);
}

#[test]
fn a_compacted_topic_needs_keys_whatever_else_is_looked_at() {
    for compression in Compression::ALL {
        let options = BatchOptions { compression, ..BatchOptions::default() };
        let mut builder = BatchBuilder::new(options);
        builder.append(NOW_MS, Some(b"k"), None, &[]);
        builder.append(NOW_MS, None, Some(b"v"), &[]);
        let mut bytes = Vec::new();
        builder.build(&mut Codecs::new(), &mut bytes);
        let checks = [RecordChecks::HeaderOnly, RecordChecks::Uncompressed, RecordChecks::All];
        for record_checks in checks {
            let config =
                ValidateConfig { compacted: true, record_checks, ..ValidateConfig::new(NOW_MS) };
            let error = validate(&bytes, &config).expect_err("a key is missing");
            assert_eq!(error.error_code(), INVALID_RECORD);
            let BatchError::Records { first, .. } = error else { panic!("{error}") };
            assert_eq!(first, RecordError { batch_index: 1, kind: RecordErrorKind::NullKey });
        }
    }
}

#[test]
fn rejected_records_are_listed_up_to_the_bound() {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for _ in 0..3000 {
        builder.append(NOW_MS, None, None, &[]);
    }
    let mut bytes = Vec::new();
    builder.build(&mut Codecs::new(), &mut bytes);
    let config = ValidateConfig { compacted: true, ..ValidateConfig::new(NOW_MS) };
    let Err(BatchError::Records { count, errors, .. }) = validate(&bytes, &config) else {
        panic!("keys are missing");
    };
    assert_eq!((count, errors.len()), (3000, limits::RECORD_ERRORS_MAX));
}

#[test]
fn append_time_topics_take_the_brokers_clock() {
    let config = ValidateConfig {
        timestamp_type: TimestampType::LogAppendTime,
        timestamp_before_max_ms: 0,
        ..ValidateConfig::new(NOW_MS)
    };
    let valid = validate(&batch_of(3, BatchOptions::default()), &config).expect("valid");
    assert_eq!(valid.timestamp_type, TimestampType::LogAppendTime);
    assert_eq!(valid.max_timestamp_ms, NOW_MS);
    assert!(valid.timestamps_change);
}

#[test]
fn producers_may_not_claim_the_append_time() {
    let claim = BatchOptions { log_append_time_ms: Some(NOW_MS), ..BatchOptions::default() };
    let bytes = batch_of(3, claim);
    let config = ValidateConfig {
        timestamp_type: TimestampType::LogAppendTime,
        ..ValidateConfig::new(NOW_MS)
    };
    assert_eq!(code_with(&bytes, &config), INVALID_TIMESTAMP);
    // Kafka's gap: on a create-time topic it passes and is stored as create time.
    let valid = validate(&bytes, &ValidateConfig::new(NOW_MS)).expect("passes");
    assert_eq!(valid.timestamp_type, TimestampType::CreateTime);
    assert!(valid.timestamps_change);
}

#[test]
fn a_wrong_max_timestamp_is_to_be_corrected() {
    let bytes = patched(35, &1_500_000_i64.to_be_bytes());
    let valid = validate(&bytes, &ValidateConfig::new(NOW_MS)).expect("valid");
    assert_eq!(valid.max_timestamp_ms, 1_000_002);
    assert!(valid.timestamps_change);
}

#[test]
fn offset_deltas_are_checked_unless_kafkas_laxness_is_asked_for() {
    // The second record's offset delta: its length, attributes and timestamp delta are before it.
    let bytes = batch_of(3, BatchOptions::default());
    let first_bytes = RecordIter::new(&bytes[HEADER_BYTES..], 3)
        .next()
        .expect("three records")
        .expect("valid")
        .bytes
        .len();
    let at = HEADER_BYTES + first_bytes + 2 + 1 + 1;
    assert_eq!(bytes[at], 2);
    let bytes = patch(bytes, at, &[4]);
    assert_eq!(code(&bytes), INVALID_RECORD);
    let lax = ValidateConfig { offset_deltas_dense: false, ..ValidateConfig::new(NOW_MS) };
    assert_eq!(code_with(&bytes, &lax), 0);
}

#[test]
fn the_fast_modes_do_not_look_inside() {
    let at = |record_checks| ValidateConfig { record_checks, ..ValidateConfig::new(NOW_MS) };
    let torn_plain = patched(61, &[0xff; 10]);
    let torn_zstd = patch(compressed(Compression::Zstd), 61, &[0xff; 10]);
    assert_eq!(code_with(&torn_plain, &at(RecordChecks::HeaderOnly)), 0);
    assert_eq!(code_with(&torn_plain, &at(RecordChecks::Uncompressed)), INVALID_RECORD);
    assert_eq!(code_with(&torn_zstd, &at(RecordChecks::Uncompressed)), 0);
    assert_eq!(code_with(&torn_zstd, &at(RecordChecks::All)), INVALID_RECORD);
    let late = ValidateConfig { timestamp_before_max_ms: 10, ..at(RecordChecks::HeaderOnly) };
    assert_eq!(code_with(&torn_plain, &late), INVALID_TIMESTAMP);
}
