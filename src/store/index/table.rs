//! One table of the index: open addressing over groups of sixteen slots.
//!
//! Each slot has a one-byte tag, stored together with those of its group. For an absent pseudonym,
//! the tags alone give the answer nineteen times in twenty; and the processor's cache holds the
//! tags of ten million pseudonyms, but not their entries. A group's number is monotone in the
//! pseudonym, so that growing is one sequential sweep. Probing does not wrap around: there is room
//! behind the last home group for what overflows it.

/// Slots in a group.
const GROUP: usize = 16;
/// Most groups behind the last home.
const MOST_ROOM: usize = 4;
/// Grow beyond this fill (in 1/100).
const MAX_FILL: usize = 80;

/// The tag of a slot that was never used in a full group: a look-up need not go on to the next
/// group.
const FREE: u8 = 0;
/// The tag of a slot whose entry was taken out of a group that had no free slot.
const GONE: u8 = 1;

type GroupTags = [u8; GROUP];

/// Which chunk holds a pseudonym's mapping: pseudonym(16) ‖ sequence(u32be).
type TableEntry = [u8; 20];

fn entry(pseudonym: &[u8; 16], chunk: u32) -> TableEntry {
    let mut entry = [0; 20];
    entry[..16].copy_from_slice(pseudonym);
    entry[16..].copy_from_slice(&chunk.to_be_bytes());
    entry
}

#[inline]
fn pseudonym(entry: &TableEntry) -> &[u8; 16] {
    entry.first_chunk().expect("16 of 20")
}

fn chunk(entry: &TableEntry) -> u32 {
    u32::from_be_bytes(*entry.last_chunk().expect("4 of 20"))
}

/// Where a pseudonym may be put.
enum InsertPlace {
    There,
    Free(usize),
    /// The table ends before there is room.
    Nowhere,
}

/// A table of pseudonyms with the same first byte.
#[derive(Default)]
pub(super) struct IndexTable {
    tags: Vec<GroupTags>,
    entries: Vec<TableEntry>,
    /// How many groups are a pseudonym's home.
    homes: usize,
}

impl IndexTable {
    /// A table with so many homes and nothing in it.
    fn with_homes(homes: usize) -> Self {
        let groups = homes + (homes / 4).min(MOST_ROOM);
        Self {
            tags: vec![[FREE; GROUP]; groups],
            entries: vec![[0; 20]; groups * GROUP],
            homes,
        }
    }

    /// Whether one more entry beside `used` would be too many.
    #[inline]
    pub(super) fn is_full(&self, used: usize) -> bool {
        (used + 1) * 100 > self.homes * GROUP * MAX_FILL
    }

    /// Home group: monotone in bytes 1..9 (byte 0 chose the table).
    #[inline]
    fn home(&self, pseudonym: &[u8; 16]) -> usize {
        let hash = u64::from_be_bytes(pseudonym[1..9].try_into().expect("8 of 16"));
        ((u128::from(hash) * self.homes as u128) >> 64) as usize
    }

    /// Starts fetching a pseudonym's tags.
    #[inline]
    pub(super) fn prefetch(&self, pseudonym: &[u8; 16]) {
        // May point behind the end of an empty table, which a prefetch tolerates.
        prefetch(self.tags.as_ptr().wrapping_add(self.home(pseudonym)));
    }

    /// Starts fetching the entry, if the tags show one. The tags have been fetched already.
    #[inline]
    pub(super) fn prefetch_entry(&self, pseudonym: &[u8; 16]) {
        let home = self.home(pseudonym);
        let there = self
            .tags
            .get(home)
            .map_or(0, |tags| slots(tags, tag(pseudonym)));
        if there != 0 {
            prefetch(
                self.entries
                    .as_ptr()
                    .wrapping_add(home * GROUP + there.trailing_zeros() as usize),
            );
        }
    }

    /// Starts fetching the slot that an insertion is likely to use. The tags have been fetched
    /// already.
    #[inline]
    pub(super) fn prefetch_slot(&self, pseudonym: &[u8; 16]) {
        let home = self.home(pseudonym);
        let free = self.tags.get(home).map_or(0, |tags| slots(tags, FREE));
        if free != 0 {
            prefetch(
                self.entries
                    .as_ptr()
                    .wrapping_add(home * GROUP + free.trailing_zeros() as usize),
            );
        }
    }

    #[inline]
    fn find(&self, pseudonym: &[u8; 16]) -> Option<usize> {
        let home = self.home(pseudonym);
        for (group, tags) in self.tags.iter().enumerate().skip(home) {
            if let Some(slot) = self.find_in(group, tags, pseudonym) {
                return Some(slot);
            }
            if slots(tags, FREE) != 0 {
                return None;
            }
        }
        None
    }

    #[inline]
    fn find_in(&self, group: usize, tags: &GroupTags, pseudonym: &[u8; 16]) -> Option<usize> {
        let mut maybe = slots(tags, tag(pseudonym));
        while maybe != 0 {
            let slot = group * GROUP + maybe.trailing_zeros() as usize;
            if self::pseudonym(&self.entries[slot]) == pseudonym {
                return Some(slot);
            }
            maybe &= maybe - 1;
        }
        None
    }

    /// The first place where it may be put, unless it is there.
    #[inline]
    fn place(&self, pseudonym: &[u8; 16]) -> InsertPlace {
        let mut first = InsertPlace::Nowhere;
        for (group, tags) in self.tags.iter().enumerate().skip(self.home(pseudonym)) {
            if self.find_in(group, tags, pseudonym).is_some() {
                return InsertPlace::There;
            }
            let free = slots(tags, FREE);
            let room = free | slots(tags, GONE);
            if room != 0 && matches!(first, InsertPlace::Nowhere) {
                first = InsertPlace::Free(group * GROUP + room.trailing_zeros() as usize);
            }
            if free != 0 {
                break;
            }
        }
        first
    }

    #[inline]
    pub(super) fn contains(&self, pseudonym: &[u8; 16]) -> bool {
        self.find(pseudonym).is_some()
    }

    pub(super) fn get(&self, pseudonym: &[u8; 16]) -> Option<u32> {
        self.find(pseudonym).map(|slot| chunk(&self.entries[slot]))
    }

    /// Inserts a pseudonym unless it is there. Returns whether it was inserted.
    pub(super) fn insert(&mut self, pseudonym: &[u8; 16], chunk: u32) -> bool {
        loop {
            match self.place(pseudonym) {
                InsertPlace::There => return false,
                InsertPlace::Free(slot) => {
                    self.put(slot, &entry(pseudonym, chunk));
                    return true;
                }
                InsertPlace::Nowhere => self.grow(pseudonym[0]),
            }
        }
    }

    #[inline]
    fn put(&mut self, slot: usize, entry: &TableEntry) {
        self.tags[slot / GROUP][slot % GROUP] = tag(pseudonym(entry));
        self.entries[slot] = *entry;
    }

    /// Gives a pseudonym that is there another chunk.
    pub(super) fn replace(&mut self, pseudonym: &[u8; 16], chunk: u32) {
        if let Some(slot) = self.find(pseudonym) {
            self.entries[slot] = entry(pseudonym, chunk);
        }
    }

    /// Takes a pseudonym out. Returns whether it was there.
    pub(super) fn remove(&mut self, pseudonym: &[u8; 16]) -> bool {
        let Some(slot) = self.find(pseudonym) else {
            return false;
        };
        let tags = &mut self.tags[slot / GROUP];
        // If the group is full, other pseudonyms may have gone on to the next one.
        tags[slot % GROUP] = if slots(tags, FREE) != 0 { FREE } else { GONE };
        self.entries[slot] = [0; 20];
        true
    }

    /// Makes room in the table of the pseudonyms with this first byte: a quarter more, or a little
    /// more or less. Pseudonyms are spread evenly, so tables that grow alike would all be full at
    /// the same time, and one batch would pay for the growth of the whole.
    pub(super) fn grow(&mut self, first: u8) {
        let mut homes = self.homes;
        loop {
            homes += (homes * (51 + usize::from(first) / 10) / 256).max(1);
            if let Some(grown) = self.spread_over(homes) {
                *self = grown;
                return;
            }
        }
    }

    /// The same entries in a table with more homes. `None` if the room behind the last ones does
    /// not suffice.
    fn spread_over(&self, homes: usize) -> Option<Self> {
        let mut grown = Self::with_homes(homes);
        for entry in self.slots() {
            let mut group = grown.home(pseudonym(entry));
            let slot = loop {
                match slots(grown.tags.get(group)?, FREE) {
                    0 => group += 1,
                    free => break group * GROUP + free.trailing_zeros() as usize,
                }
            };
            grown.put(slot, entry);
        }
        Some(grown)
    }

    fn slots(&self) -> impl Iterator<Item = &TableEntry> {
        let tags = self.tags.iter().flatten();
        self.entries
            .iter()
            .zip(tags)
            .filter(|(_, tag)| **tag > GONE)
            .map(|(entry, _)| entry)
    }

    /// The pseudonyms and their chunks.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&[u8; 16], u32)> {
        self.slots().map(|entry| (pseudonym(entry), chunk(entry)))
    }

    /// Bytes that the table takes.
    pub(super) fn bytes(&self) -> u64 {
        (self.tags.capacity() * size_of::<GroupTags>()
            + self.entries.capacity() * size_of::<TableEntry>()) as u64
    }
}

/// A pseudonym's tag, from a byte that chooses neither table nor home.
#[inline]
fn tag(pseudonym: &[u8; 16]) -> u8 {
    pseudonym[15].max(GONE + 1)
}

/// The slots of a group that have this tag, a bit each.
#[inline]
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "sixteen tags are compared by one instruction")]
fn slots(tags: &GroupTags, tag: u8) -> u16 {
    use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_loadu_si128, _mm_movemask_epi8, _mm_set1_epi8};
    // SAFETY: every x86-64 processor has SSE2, and an unaligned load reads the sixteen bytes that
    // are there.
    unsafe {
        _mm_movemask_epi8(_mm_cmpeq_epi8(
            _mm_loadu_si128(tags.as_ptr().cast()),
            _mm_set1_epi8(tag as i8),
        )) as u16
    }
}

#[inline]
#[cfg(not(target_arch = "x86_64"))]
fn slots(tags: &GroupTags, tag: u8) -> u16 {
    tags.iter()
        .rev()
        .fold(0, |slots, found| slots << 1 | u16::from(*found == tag))
}

/// Starts fetching the cache line of something.
#[inline]
#[cfg_attr(
    target_arch = "x86_64",
    expect(unsafe_code, reason = "a prefetch is an instruction of its own")
)]
fn prefetch<T>(there: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch reads nothing architecturally, and faults on no address.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(there.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = there;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_slots_of_a_tag() {
        let tags = [7, 0, 7, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 7];
        assert_eq!(slots(&tags, 7), 0b1000_0000_0000_0101);
        assert_eq!(slots(&tags, FREE), 0b10);
        assert_eq!(slots(&tags, 99), 0);
    }

    /// A full group, one entry taken out of it: what lies behind it must still be found.
    #[test]
    fn a_gap_hides_nothing() {
        let mut table = IndexTable::default();
        let pseudonym = |n: u8| [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, n, 9];
        assert!((0..GROUP as u8 + 1).all(|n| table.insert(&pseudonym(n), n.into())));
        assert!(table.remove(&pseudonym(3)));
        assert_eq!(table.get(&pseudonym(GROUP as u8)), Some(GROUP as u32));
        assert!(
            !table.insert(&pseudonym(GROUP as u8), 99),
            "it is there, behind the gap"
        );
        assert!(table.insert(&pseudonym(3), 77));
        assert_eq!(
            (table.get(&pseudonym(3)), table.entries().count()),
            (Some(77), GROUP + 1)
        );
    }
}
