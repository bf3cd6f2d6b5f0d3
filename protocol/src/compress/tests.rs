//! Codecs: what was compressed comes back; bounds hold; hostile headers cost nothing.
//!
//! Agreement with other implementations is in `tests/batch_records_oracle.rs` and the goldens.

use std::io::Write;

use proptest::prelude::*;

use super::*;

/// Text that compresses, `bytes_count` long.
fn text(bytes_count: usize) -> Vec<u8> {
    let line = b"2026-11-20T10:00:00.000Z INFO order=12345 side=buy qty=100 px=101.25 venue=XA\n";
    line.iter().copied().cycle().take(bytes_count).collect()
}

/// Bytes that do not compress.
fn noise(bytes_count: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(bytes_count).collect()
}

fn compressed(codec: Compression, input: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Codecs::new().compress(codec, None, input, &mut out);
    out
}

fn decompressed(
    codec: Compression,
    input: &[u8],
    output_bytes_max: usize,
) -> Result<Vec<u8>, CompressError> {
    let mut out = Vec::new();
    Codecs::new().decompress(codec, input, output_bytes_max, &mut out).map(|()| out)
}

fn is_too_large(result: Result<Vec<u8>, CompressError>) -> bool {
    matches!(result, Err(CompressError::OutputTooLarge { .. }))
}

fn is_corrupt(result: Result<Vec<u8>, CompressError>) -> bool {
    matches!(result, Err(CompressError::Corrupt { .. }))
}

#[test]
fn every_codec_gives_back_every_size_with_one_set_of_contexts() {
    let mut codecs = Codecs::new();
    for bytes_count in [0, 1, 100, 32_768, 65_535, 65_536, 65_537, 300_000] {
        for input in [text(bytes_count), noise(bytes_count)] {
            for codec in Compression::ALL {
                let mut packed = b"before".to_vec();
                codecs.compress(codec, None, &input, &mut packed);
                let mut out = b"kept".to_vec();
                codecs
                    .decompress(codec, &packed[6..], bytes_count, &mut out)
                    .unwrap_or_else(|error| panic!("{bytes_count} bytes: {error}"));
                assert_eq!(&packed[..6], b"before");
                assert_eq!(&out[..4], b"kept");
                assert!(out[4..] == input, "{} of {bytes_count} bytes", codec.name());
            }
        }
    }
}

#[test]
fn every_level_gives_the_input_back() {
    let input = text(20_000);
    let mut codecs = Codecs::new();
    for (codec, levels) in
        [(Compression::Gzip, [-1, 0, 1, 9, 99]), (Compression::Zstd, [-200_000, -5, 1, 19, 99])]
    {
        for level in levels {
            let mut packed = Vec::new();
            codecs.compress(codec, Some(level), &input, &mut packed);
            assert!(level < -1 || packed.len() < input.len(), "level {level}");
            assert_eq!(decompressed(codec, &packed, input.len()).as_deref(), Ok(&input[..]));
        }
    }
}

#[test]
fn output_at_the_bound_passes_and_one_byte_more_does_not() {
    for codec in Compression::ALL {
        for input in [text(100_000), noise(5_000), text(1)] {
            let packed = compressed(codec, &input);
            assert_eq!(decompressed(codec, &packed, input.len()).as_deref(), Ok(&input[..]));
            let result = decompressed(codec, &packed, input.len() - 1);
            assert!(is_too_large(result), "{} of {} bytes", codec.name(), input.len());
        }
    }
}

#[test]
fn a_bomb_is_refused_within_the_bound() {
    let zeros = vec![0; 64 << 20];
    for codec in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        let packed = compressed(codec, &zeros);
        let mut out = Vec::new();
        let result = Codecs::new().decompress(codec, &packed, 1 << 20, &mut out);
        assert!(matches!(result, Err(CompressError::OutputTooLarge { .. })), "{}", codec.name());
        assert!(out.is_empty());
        assert!(out.capacity() <= 4 << 20, "{} took {}", codec.name(), out.capacity());
    }
}

#[test]
fn a_bomb_of_streamed_zstd_without_content_size_is_refused_within_the_bound() {
    let mut encoder = ::zstd::stream::Encoder::new(Vec::new(), 3).expect("encoder");
    for _ in 0..1024 {
        encoder.write_all(&[0; 65_536]).expect("to memory");
    }
    let packed = encoder.finish().expect("to memory");
    assert!(packed.len() < 32_768);
    let mut out = Vec::new();
    let result = Codecs::new().decompress(Compression::Zstd, &packed, 1 << 20, &mut out);
    assert!(matches!(result, Err(CompressError::OutputTooLarge { .. })));
    assert!(out.capacity() <= 4 << 20);
}

#[test]
fn streamed_zstd_without_content_size_grows_to_what_it_holds() {
    let input = vec![7; 3_000_000];
    let mut encoder = ::zstd::stream::Encoder::new(Vec::new(), 3).expect("encoder");
    encoder.write_all(&input).expect("to memory");
    let packed = encoder.finish().expect("to memory");
    assert!(decompressed(Compression::Zstd, &packed, 10 << 20) == Ok(input));
}

#[test]
fn a_header_that_promises_gigabytes_in_a_few_bytes_allocates_little() {
    // Snappy: a declared length of 2^32 - 1. Zstd: a content size of 1 GiB before one empty block.
    let snappy = [0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0];
    let zstd = [0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0, 0, 0, 0x40, 1, 0, 0];
    for (codec, bytes) in [(Compression::Snappy, &snappy[..]), (Compression::Zstd, &zstd)] {
        let mut out = Vec::new();
        let result = Codecs::new().decompress(codec, bytes, 2 << 30, &mut out);
        assert!(matches!(result, Err(CompressError::Corrupt { .. })), "{}", codec.name());
        assert!(out.capacity() <= 1 << 20, "{} took {}", codec.name(), out.capacity());
    }
}

#[test]
fn cut_and_flipped_streams_are_errors_or_other_bytes_but_never_more_than_the_bound() {
    let input = text(3000);
    let mut codecs = Codecs::new();
    for codec in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        let packed = compressed(codec, &input);
        for at in 0..packed.len() {
            let mut out = Vec::new();
            // A xerial stream may end after any whole block, also after none.
            if codecs.decompress(codec, &packed[..at], 1 << 20, &mut out).is_ok() {
                assert!(codec == Compression::Snappy && at == 16, "{} cut at {at}", codec.name());
            }
            for bit in 0..8 {
                let mut flipped = packed.clone();
                flipped[at] ^= 1 << bit;
                out.clear();
                let result = codecs.decompress(codec, &flipped, 4096, &mut out);
                assert!(out.len() <= 4096 && (result.is_ok() || out.is_empty()));
            }
        }
    }
}

#[test]
fn raw_snappy_is_accepted_beside_javas_framing() {
    let input = text(100_000);
    let raw = snap::raw::Encoder::new().compress_vec(&input).expect("encodes");
    assert!(decompressed(Compression::Snappy, &raw, input.len()) == Ok(input.clone()));
    let framed = compressed(Compression::Snappy, &input);
    assert_eq!(&framed[..16], b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01");
    let twice = [framed.clone(), framed].concat();
    assert!(decompressed(Compression::Snappy, &twice, 1 << 20) == Ok(input.repeat(2)));
}

#[test]
fn lz4_frames_with_every_option_that_java_reads_are_accepted() {
    use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
    let input = [text(200_000), noise(70_000)].concat();
    let sizes = [BlockSize::Max64KB, BlockSize::Max256KB, BlockSize::Max1MB, BlockSize::Max4MB];
    for size in sizes {
        for checksums in [false, true] {
            let info = FrameInfo::new()
                .block_size(size)
                .block_checksums(checksums)
                .content_checksum(checksums)
                .content_size(checksums.then_some(input.len() as u64));
            let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
            encoder.write_all(&input).expect("to memory");
            let packed = encoder.finish().expect("to memory");
            assert!(decompressed(Compression::Lz4, &packed, 1 << 20) == Ok(input.clone()));
        }
    }
    let linked = FrameInfo::new().block_mode(BlockMode::Linked);
    let mut encoder = FrameEncoder::with_frame_info(linked, Vec::new());
    encoder.write_all(&input).expect("to memory");
    let packed = encoder.finish().expect("to memory");
    assert!(is_corrupt(decompressed(Compression::Lz4, &packed, 1 << 20)), "Java refuses these");
}

#[test]
fn our_lz4_frame_has_the_header_that_java_writes() {
    let packed = compressed(Compression::Lz4, b"x");
    assert_eq!(packed[..7], [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82]);
}

#[test]
fn gzip_members_may_follow_one_another_and_carry_every_header_field() {
    let mut named = flate2::GzBuilder::new()
        .filename("f")
        .comment("c")
        .extra(vec![1, 2, 3])
        .write(Vec::new(), flate2::Compression::new(1));
    named.write_all(b"first ").expect("to memory");
    let first = named.finish().expect("to memory");
    let both = [first, compressed(Compression::Gzip, b"second"), vec![0; 5]].concat();
    assert_eq!(decompressed(Compression::Gzip, &both, 99).as_deref(), Ok(&b"first second"[..]));
}

#[test]
fn gzip_takes_its_memory_once_and_no_more_than_its_input_justifies() {
    let mut packed = compressed(Compression::Gzip, &vec![0; 8 << 20]);
    let mut codecs = Codecs::new();
    let mut out = Vec::new();
    codecs.decompress(Compression::Gzip, &packed, 100 << 20, &mut out).expect("fits");
    assert_eq!((out.len(), out.capacity()), (8 << 20, (8 << 20) + 1));
    // Trailers that lie: within reason, beyond it, and short of the truth.
    for (said, capacity_max) in
        [(8 << 20 | 77, (8 << 20) + 78), (u32::MAX, 24 << 20), (3, 24 << 20)]
    {
        let trailer = packed.len() - 4;
        packed[trailer..].copy_from_slice(&said.to_le_bytes());
        let mut out = Vec::new();
        assert!(codecs.decompress(Compression::Gzip, &packed, 100 << 20, &mut out).is_err());
        assert!(out.is_empty() && out.capacity() <= capacity_max, "{said}: {}", out.capacity());
    }
}

#[test]
fn scratch_is_given_back_after_a_huge_batch() {
    let mut codecs = Codecs::new();
    let packed = compressed(Compression::Zstd, &vec![0; 8 << 20]);
    let huge = codecs.decompress_to_scratch(Compression::Zstd, &packed, 16 << 20).expect("fits");
    assert_eq!(huge.len(), 8 << 20);
    let packed = compressed(Compression::Zstd, b"small");
    let small = codecs.decompress_to_scratch(Compression::Zstd, &packed, 16 << 20);
    assert_eq!(small, Ok(&b"small"[..]));
    assert!(codecs.scratch.capacity() <= SCRATCH_BYTES_KEPT_MAX);
}

#[test]
fn scratch_of_a_huge_batch_is_given_back_when_it_was_read() {
    let mut codecs = Codecs::new();
    let mut packed = Vec::new();
    codecs.compress(Compression::Zstd, None, &vec![7; 8 << 20], &mut packed);
    let huge = codecs.decompress_to_scratch(Compression::Zstd, &packed, 16 << 20).expect("fits");
    assert_eq!(huge.len(), 8 << 20);
    codecs.give_back_scratch();
    assert_eq!(codecs.scratch.capacity(), 0);
}

#[test]
fn scratch_is_given_back_as_soon_as_a_bomb_is_refused() {
    let mut codecs = Codecs::new();
    for codec in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        let packed = compressed(codec, &vec![0; 8 << 20]);
        assert!(codecs.decompress_to_scratch(codec, &packed, 6 << 20).is_err());
        assert!(codecs.scratch.capacity() <= SCRATCH_BYTES_KEPT_MAX, "{codec:?}");
    }
}

#[test]
fn names_and_numbers_are_kafkas() {
    for (id, codec) in Compression::ALL.into_iter().enumerate() {
        assert_eq!(usize::from(codec.id()), id);
        assert_eq!(Compression::from_attributes(id as i16 | 0x38), Some(codec));
        assert_eq!(Compression::from_name(codec.name()), Some(codec));
    }
    for id in 5..8 {
        assert_eq!(Compression::from_attributes(id), None);
    }
    assert_eq!(Compression::from_name("uncompressed"), Some(Compression::None));
    assert_eq!(Compression::from_name("producer"), None);
}

proptest! {
    #[test]
    fn any_bytes_decompress_to_a_value_or_an_error_within_the_bound(
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
        prefix in 0_usize..5,
    ) {
        // Real headers in front, so that the decoders get past them.
        let prefixes: [&[u8]; 5] = [
            &[],
            &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff],
            b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01",
            &[0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82],
            &[0x28, 0xb5, 0x2f, 0xfd],
        ];
        let input = [prefixes[prefix], &bytes].concat();
        let mut codecs = Codecs::new();
        for codec in Compression::ALL {
            let mut out = Vec::new();
            let result = codecs.decompress(codec, &input, 1000, &mut out);
            prop_assert!(out.len() <= 1000);
            prop_assert!(result.is_ok() || out.is_empty());
        }
    }
}
