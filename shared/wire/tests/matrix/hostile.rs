//! What the fuzz targets check, over their seeds and over changed copies of them: a first round without a fuzzer.

use std::{fs, path::Path};

use omniroute_wire::ir::Format;

use crate::checks;

fn seeds(folder: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<_> =
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files.into_iter().map(|file| fs::read(file).expect("a seed")).collect()
}

/// A cheap, always equal sequence of numbers below a bound.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % bound.max(1)
    }
}

/// The bytes with a few of them exchanged, taken out, doubled or cut off.
fn changed(bytes: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    const PIECES: [&[u8]; 14] =
        [b"\"", b"\\", b"{", b"}", b"[", b"]", b",", b":", b"\n", b" ", b"-1", b"1e9", b"null", b"\xff"];
    let mut bytes = bytes.to_vec();
    for _ in 0..=numbers.below(4) {
        let at = numbers.below(bytes.len());
        let end = (at + numbers.below(30)).min(bytes.len());
        match numbers.below(4) {
            0 => drop(bytes.splice(at..(at + 1).min(bytes.len()), PIECES[numbers.below(PIECES.len())].iter().copied())),
            1 => drop(bytes.drain(at..end)),
            2 => {
                let copy = bytes[at..end].to_vec();
                drop(bytes.splice(at..at, copy));
            }
            _ => bytes.truncate(bytes.len() - numbers.below(8).min(bytes.len())),
        }
    }
    bytes
}

#[test]
fn no_change_of_a_document_breaks_a_reader_or_a_writer() {
    let mut numbers = Numbers(1);
    let documents = [seeds("tests/matrix/client"), seeds("tests/matrix/upstream")].concat();
    for format in Format::ALL {
        for seed in &documents {
            checks::document(format, seed);
            for _ in 0..6 {
                checks::document(format, &changed(seed, &mut numbers));
            }
        }
    }
}

#[test]
fn no_change_of_a_stream_breaks_the_order_of_events() {
    let mut numbers = Numbers(2);
    let streams = seeds("tests/matrix/upstream");
    for format in Format::ALL {
        for seed in &streams {
            checks::stream(format, seed);
            for _ in 0..4 {
                checks::stream(format, &changed(seed, &mut numbers));
            }
        }
    }
}

#[test]
fn passing_through_loses_nothing() {
    let mut numbers = Numbers(3);
    for seed in [seeds("tests/matrix/client"), seeds("tests/matrix/upstream")].concat() {
        checks::passthrough(&seed);
        for _ in 0..50 {
            checks::passthrough(&changed(&seed, &mut numbers));
        }
    }
}
