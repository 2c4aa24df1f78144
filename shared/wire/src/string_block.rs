//! What stops a walk through a JSON string, 64 bytes at a time and without a branch for each escape: where texts have
//! escapes is hard to predict, and a long prompt is full of them. With the widest vectors that the processor has.

use fearless_simd::{Level, Simd, dispatch, prelude::*, u8x16, u8x64};

/// Bytes that are looked at together, one bit of a word for each, the first in the lowest bit.
pub(crate) const BLOCK: usize = 64;

/// The byte after a backslash where that makes a whole escape is one of `"\/bfnrt`. Its two halves are looked up: those
/// that have a bit in common make such a byte. One bit each for the upper halves 2, 5, 6 and 7.
const SIMPLE_LOWER: [u8; 16] = [0, 0, 13, 0, 8, 0, 4, 0, 0, 0, 0, 0, 2, 0, 4, 1];
const SIMPLE_UPPER: [u8; 16] = [0, 0, 1, 0, 0, 2, 4, 8, 0, 0, 0, 0, 0, 0, 0, 0];

/// Blocks of a string that hold nothing to stop at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// Bytes in those blocks.
    pub(crate) length: usize,
    /// They have escapes.
    pub(crate) escapes: bool,
    /// Their last byte is a backslash that escapes what follows.
    pub(crate) carries: bool,
    /// The block behind them; `None` when fewer bytes than a block are left.
    pub(crate) stop: Option<Marks>,
}

/// What one block holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marks {
    /// Bytes that end the walk, or that need a closer look: quotes, control characters, and what follows a backslash
    /// without making a whole escape.
    pub(crate) stops: u64,
    /// Bytes that a backslash in front of them escapes.
    pub(crate) escaped: u64,
    /// The block ends with a backslash that escapes the first byte of the next one.
    carries: bool,
}

/// Walks on inside a string, from a byte that nothing escapes.
pub(crate) fn run(bytes: &[u8]) -> Run {
    dispatch!(Level::new(), simd => run_with(simd, bytes))
}

/// Inlined, as all that works on vectors, into a caller that is compiled for the processor's level.
#[inline(always)]
fn run_with<S: Simd>(simd: S, bytes: &[u8]) -> Run {
    let mut run = Run { length: 0, escapes: false, carries: false, stop: None };
    for block in bytes.as_chunks::<BLOCK>().0 {
        let marks = Marks::of(simd, block, run.carries);
        if marks.stops != 0 {
            run.stop = Some(marks);
            break;
        }
        run.escapes |= marks.escaped != 0;
        run.carries = marks.carries;
        run.length += BLOCK;
    }
    run
}

// === impl Marks ===

impl Marks {
    /// `carried`: the byte before the block escapes its first byte.
    #[inline(always)]
    fn of<S: Simd>(simd: S, block: &[u8; BLOCK], carried: bool) -> Self {
        let bytes = u8x64::from_slice(simd, block);
        let controls = bytes.min(u8x64::splat(simd, 0x1f)).simd_eq(bytes);
        // A control character behind a backslash makes no whole escape.
        let unescaped_stops = (bytes.simd_eq(b'"') | controls).to_bitmask();
        let backslashes = bytes.simd_eq(b'\\').to_bitmask();
        if backslashes == 0 && !carried {
            return Self { stops: unescaped_stops, escaped: 0, carries: false };
        }
        let (escaped, carries) = escaped(backslashes, carried);
        let halves = |table: [u8; 16], halves: u8x64<S>| {
            u8x64::block_splat(u8x16::from_slice(simd, &table)).swizzle_dyn_within_blocks(halves)
        };
        let simple = halves(SIMPLE_LOWER, bytes & 0x0f) & halves(SIMPLE_UPPER, bytes >> 4);
        let broken = escaped & simple.simd_eq(0).to_bitmask();
        Self { stops: (unescaped_stops & !escaped) | broken, escaped, carries }
    }
}

/// Which bytes are escaped: those behind a run of backslashes of odd length. An addition lets each run that starts on an
/// odd bit carry out behind its end; whether that end is even or odd then tells the run's length.
const fn escaped(backslashes: u64, carried: bool) -> (u64, bool) {
    const EVEN: u64 = 0x5555_5555_5555_5555;
    // A backslash that is itself escaped begins no run.
    let backslashes = backslashes & !(carried as u64);
    let behind = backslashes << 1 | carried as u64;
    let odd_starts = backslashes & !EVEN & !behind;
    let (ends, carries) = odd_starts.overflowing_add(backslashes);
    ((EVEN ^ (ends << 1)) & behind, carries)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same, a byte at a time.
    fn slowly(block: &[u8; BLOCK], carried: bool) -> Marks {
        let mut marks = Marks { stops: 0, escaped: 0, carries: carried };
        for (place, byte) in block.iter().enumerate() {
            let is_escaped = std::mem::replace(&mut marks.carries, false);
            let stops = match byte {
                0..0x20 => true,
                byte if is_escaped => !br#""\/bfnrt"#.contains(byte),
                b'\\' => {
                    marks.carries = true;
                    false
                }
                byte => *byte == b'"',
            };
            marks.escaped |= u64::from(is_escaped) << place;
            marks.stops |= u64::from(stops) << place;
        }
        marks
    }

    #[test]
    fn runs_of_backslashes_of_every_length_at_every_place_escape_what_follows_or_not() {
        for (level, carried) in
            [Level::new(), Level::baseline()].into_iter().flat_map(|level| [(level, false), (level, true)])
        {
            for start in 0..BLOCK {
                for length in 0..=BLOCK - start {
                    for (fill, behind) in [(b'a', b'"'), (b'"', b'n'), (b'\\', b'u'), (b'\n', b'\\'), (b'u', b'\t')] {
                        let mut block = [fill; BLOCK];
                        block[start..start + length].fill(b'\\');
                        if let Some(byte) = block.get_mut(start + length) {
                            *byte = behind;
                        }
                        let marks = dispatch!(level, simd => Marks::of(simd, &block, carried));
                        assert_eq!(marks, slowly(&block, carried), "{level:?} {block:?} {carried}");
                    }
                }
            }
        }
    }
}
