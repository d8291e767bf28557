//! What memory itself takes: lines at random places of as much of it as a tree has by default.

use std::hint::black_box;
use std::time::Instant;

use super::super::fleet::MIB;
use super::super::workloads::Random;

const LINES: usize = 64 * MIB / 64;
const STEPS: usize = 1 << 20;

/// Prints nanoseconds per line: one at a time, and eight on their way at once.
pub fn measure() {
    let mut random = Random::new(7);
    let mut next: Vec<u32> = (0..LINES as u32).collect();
    // A single cycle through all lines (Sattolo's algorithm).
    for last in (1..LINES).rev() {
        next.swap(last, random.below(last));
    }
    let lines: Vec<[u32; 16]> = next.iter().map(|&line| [line; 16]).collect();
    for chains in [1, 8] {
        let mut places: Vec<usize> = (0..chains).map(|_| random.below(LINES)).collect();
        let start = Instant::now();
        for _ in 0..STEPS / chains {
            places.iter_mut().for_each(|place| *place = lines[*place][0] as usize);
        }
        black_box(&places);
        let time = start.elapsed().as_nanos() as f64 / STEPS as f64;
        println!("a line of 64 MiB at random, {chains} at a time: {time:.0} ns");
    }
}
