//! Marks: the hashes of a prompt's blocks at a few fixed depths.

/// Marks in a note.
pub(super) const MARKS: usize = 5;

/// The depth of a mark in blocks: every fourth one up to 64, then eight to an octave.
pub(super) fn depth_of(index: usize) -> usize {
    match index.checked_sub(16) {
        None => 4 * (index + 1),
        Some(beyond) => (8 + beyond % 8 + 1) << (3 + beyond / 8),
    }
}

/// The marks of a prompt, with their index.
pub(super) fn marks(blocks: &[u64]) -> impl Iterator<Item = (usize, u32)> {
    (0..).map_while(|index| Some((index, key_of(*blocks.get(depth_of(index) - 1)?))))
}

/// Not 0.
pub(super) fn key_of(block: u64) -> u32 {
    (block >> 32) as u32 | 1
}

/// The index of the deepest mark of a prompt.
pub(super) fn top_mark(blocks: usize) -> Option<usize> {
    let above = if blocks < 72 {
        (blocks / 4).min(16)
    } else {
        let octave = blocks.ilog2() as usize - 6;
        16 + octave * 8 + (blocks >> (3 + octave)) - 8
    };
    above.checked_sub(1)
}

/// The index of one of a note's marks.
pub(super) fn index_in(at: usize, top: usize) -> usize {
    (top + 1) * (at + 1) / MARKS - usize::from((top + 1) * (at + 1) >= MARKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_lie_close_and_rise() {
        assert_eq!([0, 15, 16, 23, 24].map(depth_of), [4, 64, 72, 128, 144]);
        assert!((0..120).all(|index| depth_of(index) < depth_of(index + 1)));
        for blocks in 0..40_000 {
            let top = (0..).take_while(|&index| depth_of(index) <= blocks).last();
            assert_eq!(top_mark(blocks), top, "{blocks}");
            let Some(top) = top else { continue };
            assert_eq!(index_in(MARKS - 1, top), top);
        }
    }
}
