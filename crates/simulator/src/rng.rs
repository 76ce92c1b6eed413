//! Random numbers from a seed: the same message draws the same numbers in every run.

/// A small random number generator (SplitMix64: Steele, Lea, Flood, 2014).
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    /// The numbers of one message, whatever happens to others.
    pub(crate) fn of(seed: u64, key: u64) -> Self {
        let mut rng = Self(seed ^ key.wrapping_mul(0xd129_0d3a_7f4c_52e5));
        rng.next();
        rng
    }

    /// The numbers of one part of a message, for example of its second callback.
    pub(crate) fn of_part(seed: u64, key: u64, part: u64) -> Self {
        Self::of(seed ^ part.wrapping_mul(0x9fb2_1c65_1e98_df25), key)
    }

    /// 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 up to, but not including, 1.
    pub(crate) fn fraction(&mut self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
        let fraction = (self.next() >> 11) as f64 / (1u64 << 53) as f64;
        fraction
    }

    /// Whether something of this probability happens.
    pub(crate) fn happens(&mut self, probability: f64) -> bool {
        // Always draws, so that the probability of one fault does not change the draws of others.
        self.fraction() < probability
    }

    /// A uniform draw between two numbers.
    pub(crate) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.fraction()
    }

    /// 32 hexadecimal digits.
    pub(crate) fn hex(&mut self) -> String {
        format!("{:016x}{:016x}", self.next(), self.next())
    }
}

/// Hashes text to a key (FNV-1a).
pub(crate) fn key(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
