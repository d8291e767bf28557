//! A prompt in pieces: however it is cut, and whether it comes as bytes or as tokens, the fingerprint
//! is that of the whole; a prefix's fingerprint is a prefix; any bytes decode to a fingerprint that
//! encodes to the same bytes, or to an error.
#![no_main]

use arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use pointsman::prefix::{BlockSize, Fingerprint, Fingerprinter, HashKey, Unit};

const MOST_BLOCKS: usize = 40;

fuzz_target!(|input: &[u8]| {
    decode(input);
    let _ = run(&mut Unstructured::new(input));
});

/// How a prompt is fingerprinted.
struct Setting {
    key: HashKey,
    unit: Unit,
    size: BlockSize,
    blocks: usize,
    digests: [u64; 2],
}

impl Setting {
    fn begin<'a>(&'a self, out: &'a mut [u64]) -> Fingerprinter<'a, 'a> {
        Fingerprinter::new(&self.key, self.unit, self.size, &mut out[..self.blocks])
    }

    fn finish<'b>(&self, printer: Fingerprinter<'_, 'b>) -> Fingerprint<'b> {
        let [namespace, shaping] = self.digests;
        printer.finish(namespace, shaping)
    }
}

fn run(input: &mut Unstructured<'_>) -> Result<()> {
    let setting = Setting {
        key: HashKey::from_bytes(input.arbitrary()?),
        unit: *input.choose(&[Unit::Text, Unit::Tokens])?,
        size: BlockSize::new(16 * input.int_in_range(4..=16)?).expect("a valid size"),
        blocks: input.int_in_range(0..=MOST_BLOCKS)?,
        digests: input.arbitrary()?,
    };
    let cuts: [u8; 6] = input.arbitrary()?;
    let prompt = prompt(input)?;
    let mut buffers = [[0; MOST_BLOCKS]; 3];
    let [whole_out, pieces_out, prefix_out] = &mut buffers;

    let mut printer = setting.begin(whole_out);
    printer.push(&prompt);
    let whole = setting.finish(printer);
    assert_eq!(whole, pieces(&setting, &prompt, cuts, pieces_out));

    let mut printer = setting.begin(prefix_out);
    printer.push(&prompt[..prompt.len() * usize::from(cuts[0]) / 255]);
    let prefix = setting.finish(printer);
    assert!(whole.blocks().starts_with(prefix.blocks()));

    let mut wire = vec![0; whole.encoded_len()];
    assert_eq!(whole.encode(&mut wire), Ok(wire.len()));
    let mut again = [0; MOST_BLOCKS];
    assert_eq!(Fingerprint::decode(&wire, &mut again), Ok(whole));
    Ok(())
}

/// Bytes, repeated so that a short input makes many blocks; whole tokens only.
fn prompt(input: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let repeats = usize::from(input.arbitrary::<u8>()?);
    let bytes = input.bytes(input.len())?;
    let mut prompt = bytes.repeat(1 + repeats % 32);
    prompt.truncate(prompt.len() / 4 * 4);
    Ok(prompt)
}

/// The same in pieces of these lengths in turn: as bytes, as tokens, or skipped once nothing more
/// would be hashed.
fn pieces<'b>(
    setting: &'b Setting,
    mut prompt: &[u8],
    cuts: [u8; 6],
    out: &'b mut [u64],
) -> Fingerprint<'b> {
    let mut printer = setting.begin(out);
    for cut in cuts.into_iter().cycle() {
        let (piece, rest) = prompt.split_at(usize::from(cut).max(1).min(prompt.len()));
        if cut % 8 == 4 && piece.len() % 4 == 0 {
            printer.push_tokens(&tokens(piece));
        } else if !(cut % 8 == 5 && printer.skip(piece.len() as u64)) {
            printer.push(piece);
        }
        prompt = rest;
        if prompt.is_empty() {
            break;
        }
    }
    setting.finish(printer)
}

fn tokens(bytes: &[u8]) -> Vec<u32> {
    bytes.as_chunks::<4>().0.iter().map(|four| u32::from_le_bytes(*four)).collect()
}

fn decode(bytes: &[u8]) {
    let mut buffer = [0; MOST_BLOCKS];
    let Ok(print) = Fingerprint::decode(bytes, &mut buffer) else { return };
    let mut wire = vec![0; print.encoded_len()];
    assert_eq!(print.encode(&mut wire), Ok(wire.len()));
    // Hashes that the buffer had no room for are left out of the count, too.
    assert_eq!(wire[..24], bytes[..24]);
    assert!(bytes[32..].starts_with(&wire[32..]));
}
