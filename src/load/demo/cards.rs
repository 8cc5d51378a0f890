//! Made-up Moroccan card numbers, valid in form.

use std::fmt::Write as _;

/// Letters that regions print before the number.
const LETTERS: [&str; 40] = [
    "A", "AA", "AB", "AD", "AE", "B", "BB", "BE", "BH", "BJ", "BK", "BL", "C", "CB", "CD", "D",
    "DA", "E", "EE", "F", "G", "GA", "GM", "H", "HA", "I", "J", "JB", "JC", "K", "KB", "L", "LC",
    "M", "MA", "N", "P", "R", "S", "T",
];
/// Six digits after the letters.
const NUMBERS: u64 = 1_000_000;
/// How many different cards there are.
pub const MOST: u64 = LETTERS.len() as u64 * NUMBERS;

/// The first `count` cards, all different, one a line.
pub fn lines(count: u64) -> String {
    let mut text = String::with_capacity(count as usize * 9);
    for n in 0..count.min(MOST) {
        let letters = LETTERS[(n % LETTERS.len() as u64) as usize];
        // A step that shares no factor with NUMBERS visits every number once before it repeats one.
        let number = n / LETTERS.len() as u64 * 618_033 % NUMBERS;
        let _ = writeln!(text, "{letters}{number:06}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_are_different_and_of_the_right_form() {
        let text = lines(500_000);
        let mut cards: Vec<&str> = text.lines().collect();
        assert_eq!(cards.len(), 500_000);
        assert!(cards.iter().all(|card| {
            let digits = card.trim_start_matches(|c: char| c.is_ascii_uppercase());
            (1..=2).contains(&(card.len() - digits.len()))
                && digits.len() == 6
                && digits.parse::<u32>().is_ok()
        }));
        cards.sort_unstable();
        cards.dedup();
        assert_eq!(cards.len(), 500_000);
    }

    #[test]
    fn the_step_visits_every_number() {
        let gcd = |mut a: u64, mut b: u64| {
            while b != 0 {
                (a, b) = (b, a % b);
            }
            a
        };
        assert_eq!(gcd(618_033, NUMBERS), 1);
    }
}
