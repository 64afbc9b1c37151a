//! Replays the fuzzers' corpus (`fuzz/corpus`), and every file of it cut and with bits turned over.

use std::fs;
use std::path::PathBuf;

use galera_protocol::testing::Random;
use galera_protocol::testing::fuzz::{TARGETS, Target};

/// Mangled copies of each file.
const COPIES: u64 = 24;

fn files(target: &str) -> Vec<Vec<u8>> {
    let folder: PathBuf =
        [env!("CARGO_MANIFEST_DIR"), "..", "fuzz", "corpus", target].iter().collect();
    let mut paths: Vec<_> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("read {}: {error}", folder.display()))
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("a readable file")).collect()
}

fn mangled(file: &[u8], random: &mut Random) -> Vec<u8> {
    let mut copy = file.to_vec();
    let length = file.len() as u64;
    for _ in 0..=random.below(4) {
        let at = usize::try_from(random.below(length)).expect("small");
        if let Some(byte) = copy.get_mut(at) {
            *byte ^= 1 << random.below(8);
        }
    }
    if random.percent(30) {
        copy.truncate(usize::try_from(random.below(length)).expect("small"));
    }
    copy
}

fn replay(name: &str, target: Target) {
    let files = files(name);
    assert!(files.len() >= 5, "{name} has a corpus");
    let mut random = Random::new(1);
    for file in &files {
        target(file);
        (0..COPIES).for_each(|_| target(&mangled(file, &mut random)));
    }
}

#[test]
fn nothing_in_the_corpus_makes_a_decoder_or_the_core_panic() {
    for (name, target) in TARGETS {
        replay(name, target);
    }
}
