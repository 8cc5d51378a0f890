//! Checks the end of RocksDB's write-ahead log before RocksDB reads it.
//!
//! A crash leaves a last record that is shorter than its header says, and RocksDB rightly drops it.
//! But if the disk damages the length in a header, a whole record looks the same. Then RocksDB
//! drops it and all that follow without an error, and acknowledged mappings are lost. The record's
//! checksum tells the two apart. RocksDB checks everything else in the log.
//!
//! A log is blocks of 32 KiB; a block is records of checksum(u32le) ‖ length(u16le) ‖ type(1) ‖
//! payload, none of which goes past its block. The checksum is CRC-32C over type and payload,
//! masked.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

const BLOCK: u64 = 32_768;
const HEADER: usize = 7;
/// The types that our logs are made of: a whole record, and the first, middle and last part of one.
const TYPES: std::ops::RangeInclusive<u8> = 1..=4;

/// Whether the last record of a log is whole and only its header damaged.
///
/// # Errors
/// When the file cannot be read.
pub(super) fn has_damaged_tail(log: &Path) -> io::Result<bool> {
    let mut file = File::open(log)?;
    let length = file.metadata()?.len();
    // Only in a block that is not full can a length point past the end of the file.
    file.seek(SeekFrom::Start(length - length % BLOCK))?;
    let mut block = Vec::new();
    file.take(BLOCK).read_to_end(&mut block)?;
    Ok(is_damaged(&block))
}

fn is_damaged(mut block: &[u8]) -> bool {
    while let Some((header, rest)) = block.split_at_checked(HEADER) {
        let stored = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
        let length = usize::from(u16::from_le_bytes([header[4], header[5]]));
        match rest.split_at_checked(length) {
            Some((payload, next)) if masked(checksum(header[6], payload)) == stored => block = next,
            // Torn, or damaged: then the checksum fits with another length or type.
            _ => {
                return TYPES
                    .into_iter()
                    .any(|kind| is_checksum_of_a_prefix(stored, kind, rest));
            }
        }
    }
    false
}

fn is_checksum_of_a_prefix(stored: u32, kind: u8, payload: &[u8]) -> bool {
    let mut state = step(!0, kind);
    masked(!state) == stored
        || payload.iter().any(|byte| {
            state = step(state, *byte);
            masked(!state) == stored
        })
}

fn checksum(kind: u8, payload: &[u8]) -> u32 {
    !payload
        .iter()
        .fold(step(!0, kind), |state, byte| step(state, *byte))
}

/// RocksDB masks checksums, because CRCs of data that contains CRCs are weak.
fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// One byte of CRC-32C (Castagnoli; RFC 3720, appendix B.4).
fn step(state: u32, byte: u8) -> u32 {
    (state >> 8) ^ TABLE[usize::from(state as u8 ^ byte)]
}

static TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut n = 0;
    while n < 256 {
        let mut crc = n as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 {
                (crc >> 1) ^ 0x82f6_3b78
            } else {
                crc >> 1
            };
            bit += 1;
        }
        table[n] = crc;
        n += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3720, appendix B.4: 32 bytes of zeros, and the bytes 0 to 31.
    #[test]
    fn known_checksums() {
        let crc = |bytes: &[u8]| !bytes.iter().fold(!0, |state, byte| step(state, *byte));
        assert_eq!(crc(&[0; 32]), 0x8a91_36aa);
        let counted: Vec<u8> = (0..32).collect();
        assert_eq!(crc(&counted), 0x46dd_794e);
    }

    fn record(payload: &[u8]) -> Vec<u8> {
        let mut record = masked(checksum(1, payload)).to_le_bytes().to_vec();
        record.extend_from_slice(&(payload.len() as u16).to_le_bytes());
        record.push(1);
        record.extend_from_slice(payload);
        record
    }

    #[test]
    fn whole_and_torn_logs_are_not_damaged() {
        let block = [record(b"first"), record(b""), record(&[7; 600])].concat();
        for end in 0..=block.len() {
            assert!(!is_damaged(&block[..end]), "cut at {end}");
        }
    }

    #[test]
    fn a_damaged_length_or_type_is() {
        let block = [record(b"first"), record(&[7; 600]), record(b"last")].concat();
        for header in [0, 12, 12 + 607] {
            for byte in 4..7 {
                for bit in 0..8 {
                    let mut damaged = block.clone();
                    damaged[header + byte] ^= 1 << bit;
                    assert!(
                        is_damaged(&damaged),
                        "header at {header}, byte {byte}, bit {bit}"
                    );
                }
            }
        }
    }
}
