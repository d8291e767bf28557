//! Figures of the prefix module: hashing and the tree.
fn main() {
    use pointsman::prefix::*;
    let key = HashKey::from_bytes([7; 32]);
    for size in [64, 128, 256] {
        for len in [4096usize, 65536, 131072] {
            let data: Vec<u8> = (0..len).map(|i| (i * 31 >> 3) as u8).collect();
            let toks: Vec<u32> =
                data.chunks_exact(4).map(|c| u32::from_le_bytes(c.try_into().unwrap())).collect();
            let mut out = vec![0u64; 4096];
            let mut best = [f64::MAX; 2];
            for _ in 0..100 {
                let n = (1 << 23) / len;
                let t = std::time::Instant::now();
                for _ in 0..n {
                    let mut f = Fingerprinter::new(
                        &key,
                        Unit::Text,
                        BlockSize::new(size).unwrap(),
                        &mut out,
                    );
                    f.push(&data);
                    std::hint::black_box(f.finish(1, 2));
                }
                best[0] = best[0].min(t.elapsed().as_nanos() as f64 / n as f64);
                let t = std::time::Instant::now();
                for _ in 0..n {
                    let mut f = Fingerprinter::new(
                        &key,
                        Unit::Tokens,
                        BlockSize::new(size).unwrap(),
                        &mut out,
                    );
                    f.push_tokens(&toks);
                    std::hint::black_box(f.finish(1, 2));
                }
                best[1] = best[1].min(t.elapsed().as_nanos() as f64 / n as f64);
            }
            println!(
                "block {size} len {len}: text {:.0} ns {:.1} GB/s, tokens {:.1} GB/s",
                best[0],
                len as f64 / best[0],
                len as f64 / best[1]
            );
        }
    }
}
