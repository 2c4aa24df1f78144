//! Byte and character offsets of a text, without the text.
//!
//! Citations of this format count bytes, those of the others characters. A stream has the text only in passing; what is
//! kept of it are runs of characters of one width, which is one run for plain English.

/// Most runs that are kept: of a text in which widths alternate with every word, some hundred thousand characters. What comes
/// after them counts as where they end, so that a stream of an hour takes no more memory than one of a minute.
const MAX_RUNS: usize = 1 << 16;

#[derive(Clone, Debug, Default)]
pub(super) struct TextMap {
    runs: Vec<Run>,
    bytes: u64,
    chars: u64,
    /// Nothing more is kept.
    full: bool,
    /// The byte at which each part of the wire's begins, for citations that count within a part.
    parts: Vec<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Run {
    byte: u64,
    char: u64,
    width: u64,
}

// === impl TextMap ===

impl TextMap {
    pub(super) fn push(&mut self, text: &str) {
        if text.is_ascii() {
            if !text.is_empty() {
                self.run(1, text.len() as u64);
            }
            return;
        }
        for c in text.chars() {
            self.run(c.len_utf8() as u64, 1);
        }
    }

    /// What follows belongs to the next part.
    pub(super) fn begin_part(&mut self) {
        self.parts.push(self.bytes);
    }

    /// The first byte of a part; 0 where parts are not told apart.
    pub(super) fn part_start(&self, part: usize) -> u64 {
        self.parts.get(part).copied().unwrap_or(0)
    }

    fn run(&mut self, width: u64, count: u64) {
        if self.full {
            return;
        }
        if self.runs.last().is_none_or(|last| last.width != width) {
            self.full = self.runs.len() == MAX_RUNS;
            if self.full {
                return;
            }
            self.runs.push(Run { byte: self.bytes, char: self.chars, width });
        }
        self.bytes += width * count;
        self.chars += count;
    }

    /// The character that begins at a byte, or holds it.
    pub(super) fn char_at(&self, byte: u64) -> u64 {
        let byte = byte.min(self.bytes);
        let at = self.runs.partition_point(|run| run.byte <= byte);
        self.runs[..at].last().map_or(0, |run| run.char + (byte - run.byte) / run.width)
    }

    /// The byte at which a character begins.
    pub(super) fn byte_at(&self, char: u64) -> u64 {
        let char = char.min(self.chars);
        let at = self.runs.partition_point(|run| run.char <= char);
        self.runs[..at].last().map_or(0, |run| run.byte + (char - run.char) * run.width)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_agree_with_the_text_however_it_is_split() {
        let text = "plain é漢字 \u{1F980}\u{1F980} end";
        let chars: Vec<char> = text.chars().collect();
        for split in 1..=chars.len() {
            let mut map = TextMap::default();
            chars.chunks(split).for_each(|piece| map.push(&piece.iter().collect::<String>()));
            for (char, (byte, _)) in text.char_indices().enumerate() {
                assert_eq!(map.char_at(byte as u64), char as u64, "byte {byte}");
                assert_eq!(map.byte_at(char as u64), byte as u64, "char {char}");
            }
            assert_eq!(map.char_at(10_000), chars.len() as u64);
            assert_eq!(map.byte_at(10_000), text.len() as u64);
        }
        assert_eq!(TextMap::default().char_at(3), 0);
    }

    #[test]
    fn a_text_without_end_takes_no_memory_without_end() {
        let mut map = TextMap::default();
        let line = "\u{e9}a".repeat(1000);
        for _ in 0..200 {
            map.push(&line);
        }
        assert_eq!(map.runs.len(), MAX_RUNS);
        // Where it is known, it is right; behind that, it is where the known ends.
        assert_eq!((map.char_at(3), map.byte_at(2)), (2, 3));
        assert_eq!(map.char_at(u64::MAX), MAX_RUNS as u64);
    }
}
