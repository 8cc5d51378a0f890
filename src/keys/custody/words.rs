//! Passphrases in words, made by the machine.

use bip39::Language;
use secrecy::SecretString;
use zeroize::Zeroizing;

use crate::keys::Key;

/// How many words a passphrase has: 77 bits, since each of the 2 048 words is as likely.
pub const WORDS: usize = 7;

/// A new passphrase of [`WORDS`] words of the BIP-39 English list, with a hyphen between each two.
pub fn new_passphrase() -> SecretString {
    let list = Language::English.word_list();
    let drawn = Key::random();
    let mut text = Zeroizing::new(String::with_capacity(WORDS * 9));
    for pair in drawn.expose().as_chunks::<2>().0.iter().take(WORDS) {
        if !text.is_empty() {
            text.push('-');
        }
        // 2^16 is a multiple of the list's length, so that no word is likelier than another.
        text.push_str(list[usize::from(u16::from_be_bytes(*pair)) % list.len()]);
    }
    SecretString::from(text.as_str())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn a_passphrase_has_seven_words_and_is_another_one_each_time() {
        assert_eq!(Language::English.word_list().len(), 2048);
        let made: BTreeSet<String> = (0..100)
            .map(|_| new_passphrase().expose_secret().to_owned())
            .collect();
        assert_eq!(made.len(), 100);
        for passphrase in made {
            let words: Vec<&str> = passphrase.split('-').collect();
            assert_eq!(words.len(), WORDS);
            let list = Language::English.word_list();
            assert!(words.iter().all(|word| list.contains(word)), "{passphrase}");
        }
    }
}
