//! Base64 with padding (RFC 4648 §4), in its one spelling.
//!
//! Crate `data-encoding` decodes padded texts that follow one another, `AA==AA==`, as one. In a
//! checkpoint or a signature that would be a second spelling of the same bytes.

use data_encoding::BASE64;

/// The text of some bytes.
pub(crate) fn encode(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

/// The bytes of a text; none if [`encode`] spells them in another way.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let bytes = BASE64.decode(text.as_bytes()).ok()?;
    (encode(&bytes) == text).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_one_spelling() {
        assert_eq!(decode("AAE="), Some(vec![0, 1]));
        for other in ["AA==AAE=", "AAF=", "AAE", "AAE=\n", " AAE=", "A-E="] {
            assert_eq!(decode(other), None, "{other}");
        }
    }
}
