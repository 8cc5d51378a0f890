//! Chance that a test can repeat: everything comes from one printed number.

/// Pseudo-random numbers from a seed (splitmix64).
pub struct SeededRandom(u64);

impl SeededRandom {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 to `limit`, without `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.number() % limit as u64) as usize
    }

    /// Whether something happens that happens in so many of 100 cases.
    pub fn percent(&mut self, of: usize) -> bool {
        self.below(100) < of
    }
}

/// The seed of a test, printed: `CLOISON_TEST_SEED` where that is set, or a new one.
pub fn seed(test: &str) -> u64 {
    let given = std::env::var("CLOISON_TEST_SEED")
        .ok()
        .map(|text| text.parse().expect("CLOISON_TEST_SEED is a number"));
    let seed = given.unwrap_or_else(|| u64::from_be_bytes(cloison::clock::random()) >> 16);
    eprintln!("{test}: CLOISON_TEST_SEED={seed} chooses the same again");
    seed
}
