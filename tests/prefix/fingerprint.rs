//! Fingerprints: committed vectors, splits, wire form, typed errors.

use pointsman::prefix::{
    BlockSize, Digest, Fingerprint, FingerprintError, FingerprintHeader, Fingerprinter, HashKey,
    Unit,
};
use proptest::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct Vectors {
    fingerprints: Vec<FingerprintVector>,
    digests: Vec<DigestVector>,
}

#[derive(Deserialize)]
struct FingerprintVector {
    key: String,
    unit: String,
    block_bytes: usize,
    length: usize,
    namespace: String,
    shaping: String,
    wire: String,
}

#[derive(Deserialize)]
struct DigestVector {
    key: String,
    domain: u8,
    length: usize,
    digest: String,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("../data/fingerprints.json")).unwrap()
}

fn unhex(hex: &str) -> Vec<u8> {
    hex.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn key(hex: &str) -> HashKey {
    HashKey::from_bytes(unhex(hex).try_into().unwrap())
}

/// As `pattern` in data/fingerprint_reference.py.
fn pattern(length: usize) -> Vec<u8> {
    (0..length as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn tokens(bytes: &[u8]) -> Vec<u32> {
    bytes.chunks_exact(4).map(|four| u32::from_le_bytes(four.try_into().unwrap())).collect()
}

fn text<'b>(key: &HashKey, bytes: &[u8], out: &'b mut [u64]) -> Fingerprint<'b> {
    let mut printer = Fingerprinter::new(key, Unit::Text, BlockSize::DEFAULT, out);
    printer.push(bytes);
    printer.finish(0, 0)
}

#[test]
fn fingerprints_are_those_of_the_reference() {
    for vector in vectors().fingerprints {
        let key = key(&vector.key);
        let unit = if vector.unit == "text" { Unit::Text } else { Unit::Tokens };
        let size = BlockSize::new(vector.block_bytes).unwrap();
        let mut out = [0; 128];
        let mut printer = Fingerprinter::new(&key, unit, size, &mut out);
        match unit {
            Unit::Text => printer.push(&pattern(vector.length)),
            Unit::Tokens => printer.push_tokens(&tokens(&pattern(vector.length))),
        }
        let namespace = vector.namespace.parse().unwrap();
        let print = printer.finish(namespace, vector.shaping.parse().unwrap());
        let mut wire = vec![0; print.encoded_len()];
        assert_eq!(print.encode(&mut wire), Ok(wire.len()));
        assert_eq!(wire, unhex(&vector.wire), "{unit:?} {size:?} {}", vector.length);
    }
}

#[test]
fn digests_are_those_of_the_reference() {
    for vector in vectors().digests {
        let key = key(&vector.key);
        for split in [0, vector.length / 3, vector.length] {
            let bytes = pattern(vector.length);
            let mut digest = Digest::new(&key, vector.domain);
            digest.push(&bytes[..split]);
            digest.push(&bytes[split..]);
            assert_eq!(format!("{:016x}", digest.finish()), vector.digest);
        }
    }
}

proptest! {
    #[test]
    fn any_split_gives_the_same_fingerprint(
        bytes in prop::collection::vec(any::<u8>(), 0..3000),
        cuts in prop::collection::vec(0usize..400, 0..20),
        size in 4usize..=16,
        capacity in 0usize..40,
    ) {
        let key = HashKey::from_bytes([9; 32]);
        let size = BlockSize::new(size * 16).unwrap();
        let mut whole = vec![0; capacity];
        let mut printer = Fingerprinter::new(&key, Unit::Text, size, &mut whole);
        printer.push(&bytes);
        let whole = printer.finish(3, 4);

        let mut pieces = vec![0; capacity];
        let mut printer = Fingerprinter::new(&key, Unit::Text, size, &mut pieces);
        let mut rest = &bytes[..];
        for cut in cuts {
            let (head, tail) = rest.split_at(cut.min(rest.len()));
            printer.push(head);
            rest = tail;
        }
        printer.push(rest);
        prop_assert_eq!(whole, printer.finish(3, 4));
    }

    #[test]
    fn bytes_and_tokens_mix_freely(
        values in prop::collection::vec(any::<u32>(), 0..800),
        cut in 0usize..800,
    ) {
        let key = HashKey::from_bytes([1; 32]);
        let cut = cut.min(values.len());
        let bytes: Vec<u8> = values[..cut].iter().flat_map(|token| token.to_le_bytes()).collect();
        let mut mixed = [0; 32];
        let mut printer = Fingerprinter::new(&key, Unit::Tokens, BlockSize::DEFAULT, &mut mixed);
        printer.push(&bytes);
        printer.push_tokens(&values[cut..]);
        let mixed = printer.finish(0, 0);
        let mut plain = [0; 32];
        let mut printer = Fingerprinter::new(&key, Unit::Tokens, BlockSize::DEFAULT, &mut plain);
        printer.push_tokens(&values);
        prop_assert_eq!(mixed, printer.finish(0, 0));
    }

    #[test]
    fn what_decodes_is_what_encodes(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        valid in any::<bool>(),
        changed in prop::collection::vec((0..48usize, any::<u8>()), 0..3),
    ) {
        // Any bytes at all, or a valid wire form of two blocks with up to two bytes changed.
        let mut wire = bytes;
        if valid {
            let (mut buffer, key) = ([0; 8], HashKey::from_bytes([5; 32]));
            let mut printer = Fingerprinter::new(&key, Unit::Text, BlockSize::DEFAULT, &mut buffer);
            printer.push(&[7; 256]);
            wire = vec![0; 48];
            prop_assert_eq!(printer.finish(0, 0).encode(&mut wire).unwrap(), 48);
        }
        for (at, byte) in &changed {
            wire.get_mut(*at).into_iter().for_each(|place| *place = *byte);
        }
        let (mut buffer, mut again) = ([0; 25], [0; 232]);
        match Fingerprint::decode(&wire, &mut buffer) {
            Ok(fingerprint) => {
                let length = fingerprint.encode(&mut again).unwrap();
                prop_assert_eq!(&again[..length], &wire[..length]);
            }
            Err(_) => prop_assert!(!valid || !changed.is_empty()),
        }
    }
}

#[test]
fn a_shared_beginning_shares_hashes_and_nothing_after_it() {
    let key = HashKey::from_bytes([5; 32]);
    let mut first = pattern(1280);
    let (mut a, mut b) = ([0; 10], [0; 10]);
    text(&key, &first, &mut a);
    first[128 * 4] ^= 1;
    text(&key, &first, &mut b);
    assert_eq!(a[..4], b[..4]);
    assert!(a[4..].iter().zip(&b[4..]).all(|(x, y)| x != y));
}

#[test]
fn namespace_shape_unit_and_block_size_separate() {
    let key = HashKey::from_bytes([5; 32]);
    let bytes = pattern(1024);
    let mut seen = std::collections::HashSet::new();
    for unit in [Unit::Text, Unit::Tokens] {
        for size in [64, 128, 256] {
            for (namespace, shaping) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
                let mut out = [0; 16];
                let size = BlockSize::new(size).unwrap();
                let mut printer = Fingerprinter::new(&key, unit, size, &mut out);
                printer.push(&bytes);
                let print = printer.finish(namespace, shaping);
                assert!(print.blocks().iter().all(|&hash| seen.insert(hash)));
            }
        }
    }
}

#[test]
fn a_full_buffer_still_counts_the_total() {
    let key = HashKey::from_bytes([5; 32]);
    let mut out = [0; 2];
    let print = text(&key, &pattern(1000), &mut out);
    assert_eq!((print.blocks().len(), print.total()), (2, 1000));
}

#[test]
fn the_wire_form_round_trips_and_truncates_to_the_buffer() {
    let key = HashKey::from_bytes([5; 32]);
    let mut out = [0; 16];
    let print = text(&key, &pattern(1000), &mut out);
    let mut wire = [0; 200];
    let length = print.encode(&mut wire).unwrap();
    let mut buffer = [0; 16];
    assert_eq!(Fingerprint::decode(&wire[..length], &mut buffer), Ok(print));
    let mut short = [0; 3];
    let decoded = Fingerprint::decode(&wire[..length], &mut short).unwrap();
    assert_eq!(decoded.blocks(), &print.blocks()[..3]);
    assert_eq!(decoded.header().blocks, 3);
    assert_eq!(
        print.encode(&mut wire[..40]),
        Err(FingerprintError::BufferTooSmall { needed: length })
    );
}

#[test]
fn what_does_not_fit_is_a_typed_error() {
    let key = HashKey::from_bytes([5; 32]);
    let other = HashKey::from_bytes([6; 32]);
    let mut out = [0; 8];
    let print = text(&key, &pattern(1000), &mut out);
    let size = BlockSize::DEFAULT;
    assert_eq!(print.check(&key, size, 0), Ok(()));
    assert!(matches!(print.check(&other, size, 0), Err(FingerprintError::Key { .. })));
    assert_eq!(print.check(&key, size, 1), Err(FingerprintError::Namespace));
    assert_eq!(print.check_unit(Unit::Tokens), Err(FingerprintError::Unit));
    assert_eq!(
        print.check(&key, BlockSize::new(64).unwrap(), 0),
        Err(FingerprintError::BlockSize { expected: 64, found: 128 })
    );
    for bytes in [0, 48, 65, 272] {
        assert_eq!(BlockSize::new(bytes), Err(FingerprintError::InvalidBlockSize { bytes }));
    }

    let header = *print.header();
    let decode = |edit: &dyn Fn(&mut [u8])| {
        let mut bytes = header.encode();
        edit(&mut bytes);
        FingerprintHeader::decode(&bytes)
    };
    assert_eq!(decode(&|_| {}), Ok(header));
    assert_eq!(decode(&|b| b[0] = 3), Err(FingerprintError::Version { found: 3 }));
    assert_eq!(decode(&|b| b[1] = 9), Err(FingerprintError::Unit));
    assert_eq!(decode(&|b| b[24] = 200), Err(FingerprintError::Inconsistent));
    assert_eq!(decode(&|b| b[31] = 128), Err(FingerprintError::Inconsistent));
    assert_eq!(
        Fingerprint::from_parts(header, &print.blocks()[1..]),
        Err(FingerprintError::Truncated)
    );
    let mut buffer = [0; 8];
    assert_eq!(
        Fingerprint::decode(&header.encode(), &mut buffer),
        Err(FingerprintError::Truncated)
    );
}

#[test]
fn the_key_stays_out_of_debug_output() {
    let key = HashKey::from_bytes([0x5a; 32]);
    assert_eq!(format!("{key:?}"), format!("HashKey {{ id: {}, .. }}", key.id()));
    assert_ne!(HashKey::random().id(), HashKey::random().id());
}
