//! What stops a walk through a JSON string, 64 bytes at a time and without a branch for each escape: where texts have
//! escapes is hard to predict, and a long prompt is full of them.

use wide::u8x16;

/// Bytes that are looked at together, one bit of a word for each, the first in the lowest bit.
pub(crate) const BLOCK: usize = 64;

/// The byte after a backslash where that makes a whole escape.
const SIMPLE: [u8; 8] = *b"\"\\/bfnrt";

/// What one block holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marks {
    /// Bytes that end the walk, or that need a closer look: quotes, control characters, and what follows a backslash
    /// without making a whole escape.
    pub(crate) stops: u64,
    /// Bytes that a backslash in front of them escapes.
    pub(crate) escaped: u64,
    /// The block ends with a backslash that escapes the first byte of the next one.
    pub(crate) carries: bool,
}

// === impl Marks ===

impl Marks {
    /// `carried`: the byte before the block escapes its first byte.
    #[inline]
    pub(crate) fn of(block: &[u8; BLOCK], carried: bool) -> Self {
        let quotes = gather(block, |bytes| bytes.simd_eq(u8x16::splat(b'"')));
        let controls = gather(block, |bytes| bytes.min(u8x16::splat(0x1f)).simd_eq(bytes));
        let backslashes = gather(block, |bytes| bytes.simd_eq(u8x16::splat(b'\\')));
        if backslashes == 0 && !carried {
            return Self { stops: quotes | controls, escaped: 0, carries: false };
        }
        let (escaped, carries) = escaped(backslashes, carried);
        let simple = gather(block, |bytes| {
            SIMPLE.iter().fold(u8x16::splat(0), |any, byte| any | bytes.simd_eq(u8x16::splat(*byte)))
        });
        Self { stops: (quotes & !escaped) | controls | (escaped & !simple), escaped, carries }
    }
}

#[inline]
fn gather(block: &[u8; BLOCK], test: impl Fn(u8x16) -> u8x16) -> u64 {
    let (lanes, _) = block.as_chunks::<16>();
    lanes.iter().rev().fold(0, |marks, lane| marks << 16 | u64::from(test(u8x16::new(*lane)).to_bitmask()))
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
                byte if is_escaped => !SIMPLE.contains(byte),
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
        for carried in [false, true] {
            for start in 0..BLOCK {
                for length in 0..=BLOCK - start {
                    for (fill, behind) in [(b'a', b'"'), (b'"', b'n'), (b'\\', b'u'), (b'\n', b'\\'), (b'u', b'\t')] {
                        let mut block = [fill; BLOCK];
                        block[start..start + length].fill(b'\\');
                        if let Some(byte) = block.get_mut(start + length) {
                            *byte = behind;
                        }
                        assert_eq!(Marks::of(&block, carried), slowly(&block, carried), "{block:?} {carried}");
                    }
                }
            }
        }
    }
}
