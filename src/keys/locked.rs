//! Memory for keys: pages that are never swapped, never in a core dump, and empty in a forked
//! child.
//!
//! A small allocator of its own: anonymous pages between two guard pages, locked (`mlock`), left
//! out of dumps (`MADV_DONTDUMP`) and zeroed in children (`MADV_WIPEONFORK`). A value is wiped when
//! it is dropped; its pages are kept and used again. Where the system refuses one of these
//! (`RLIMIT_MEMLOCK`, a filter of system calls), keys are kept anyway; [`all_locked`] and
//! [`all_left_out`] report it, and `cloison doctor` and `/metrics` show it.
//!
//! Every [`Key`](super::Key) lies here, and so do the states that are derived from one and kept.
//! Copies on the stack do not, nor copies that libraries keep (the TLS key, a segment's cipher).
#![expect(
    unsafe_code,
    reason = "an allocator of locked pages: pointers into its own mapping"
)]

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// Bytes of a slot, and the strictest alignment of what may lie here.
const SLOT: usize = 64;
/// Bytes of usable memory in one region. Small, so that the first fits any usual limit on locked
/// memory.
const REGION: usize = 32 * 1024;
/// Slots of a region.
const SLOTS: usize = REGION / SLOT;

/// Some pages, and which of their slots are taken.
struct Region {
    base: NonNull<u8>,
    taken: [bool; SLOTS],
}

// SAFETY: a region is reached only through the mutex below; its memory belongs to no thread.
unsafe impl Send for Region {}

static REGIONS: Mutex<Vec<Region>> = Mutex::new(Vec::new());
static UNLOCKED: AtomicBool = AtomicBool::new(false);
static EXPOSED: AtomicBool = AtomicBool::new(false);

/// Whether every page with a key in it is locked, so far.
pub fn all_locked() -> bool {
    !UNLOCKED.load(Ordering::Relaxed)
}

/// Whether every page with a key in it is left out of core dumps and empty in forked children, so
/// far.
pub fn all_left_out() -> bool {
    !EXPOSED.load(Ordering::Relaxed)
}

/// Makes sure that there is a region, so that [`all_locked`] and [`all_left_out`] say what this
/// process can have.
pub fn probe() {
    drop(Locked::new([0_u8; 1]));
}

/// A value in locked memory: wiped on drop.
pub struct Locked<T> {
    place: NonNull<T>,
    owns: PhantomData<T>,
}

// SAFETY: a `Locked` owns its value as a `Box` does.
unsafe impl<T: Send> Send for Locked<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Locked<T> {}

impl<T> Locked<T> {
    /// Moves a value in. The caller wipes any copy that it leaves elsewhere.
    pub fn new(value: T) -> Self {
        const { assert!(align_of::<T>() <= SLOT && size_of::<T>() <= REGION) };
        let place = take(slots::<T>()).cast::<T>();
        // SAFETY: the place is ours alone, large enough and aligned to a slot.
        unsafe { place.write(value) };
        Self {
            place,
            owns: PhantomData,
        }
    }
}

impl<const N: usize> Locked<[u8; N]> {
    /// Bytes that `fill` writes in place, so that no copy is left behind.
    pub fn init(fill: impl FnOnce(&mut [u8; N])) -> Self {
        let mut bytes = Self::new([0; N]);
        fill(&mut bytes);
        bytes
    }
}

impl<T> Deref for Locked<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: written in `new`, ours until the drop.
        unsafe { self.place.as_ref() }
    }
}

impl<T> DerefMut for Locked<T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above, and we are borrowed for writing.
        unsafe { self.place.as_mut() }
    }
}

impl<T> std::fmt::Debug for Locked<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Locked(…)")
    }
}

impl<T> Drop for Locked<T> {
    fn drop(&mut self) {
        // SAFETY: the value is ours and not used again; its slots are wiped before they are given
        // out again.
        unsafe {
            self.place.drop_in_place();
            give_back(self.place.cast(), slots::<T>());
        }
    }
}

const fn slots<T>() -> usize {
    if size_of::<T>() == 0 {
        1
    } else {
        size_of::<T>().div_ceil(SLOT)
    }
}

/// `count` neighbouring slots.
fn take(count: usize) -> NonNull<u8> {
    let mut regions = REGIONS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(place) = regions.iter_mut().find_map(|region| region.take(count)) {
        return place;
    }
    let mut region = Region::map();
    let place = region
        .take(count)
        .expect("a fresh region has room for what fits in one");
    regions.push(region);
    place
}

/// Wipes slots and makes them free again.
///
/// # Safety
/// They came from [`take`] with the same count, and are not used any more.
unsafe fn give_back(place: NonNull<u8>, count: usize) {
    for at in 0..count * SLOT {
        // SAFETY: within the slots. Volatile, so that the compiler keeps the writes although the
        // bytes are not read again.
        unsafe { place.add(at).write_volatile(0) };
    }
    std::sync::atomic::compiler_fence(Ordering::SeqCst);
    let mut regions = REGIONS.lock().unwrap_or_else(PoisonError::into_inner);
    let inside = |region: &&mut Region| {
        let base = region.base.addr().get();
        (base..base + REGION).contains(&place.addr().get())
    };
    if let Some(region) = regions.iter_mut().find(inside) {
        let first = (place.addr().get() - region.base.addr().get()) / SLOT;
        region.taken[first..first + count].fill(false);
    }
}

impl Region {
    fn take(&mut self, count: usize) -> Option<NonNull<u8>> {
        let first =
            (0..=SLOTS - count).find(|first| !self.taken[*first..first + count].contains(&true))?;
        self.taken[first..first + count].fill(true);
        // SAFETY: `first` is below SLOTS, so the place is inside the region.
        Some(unsafe { self.base.add(first * SLOT) })
    }

    /// # Panics
    /// When the system has no memory to give.
    fn map() -> Self {
        // SAFETY: sysconf has no preconditions.
        let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) })
            .expect("pages have a size");
        let length = REGION.next_multiple_of(page);
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping, over no other memory.
        let all = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                length + 2 * page,
                libc::PROT_NONE,
                flags,
                -1,
                0,
            )
        };
        assert!(all != libc::MAP_FAILED, "the system has no memory for keys");
        // SAFETY: inside the new mapping: what lies between its first page and its last one, which
        // stay shut.
        let base = unsafe { all.byte_add(page) };
        // SAFETY: the range is ours, whole pages.
        let open = unsafe { libc::mprotect(base, length, libc::PROT_READ | libc::PROT_WRITE) };
        assert!(open == 0, "the system has no memory for keys");
        // SAFETY: as above.
        let (left_out, locked) = unsafe {
            let advised = [libc::MADV_DONTDUMP, libc::MADV_WIPEONFORK]
                .map(|advice| libc::madvise(base, length, advice));
            (advised == [0, 0], libc::mlock(base, length) == 0)
        };
        if !left_out {
            EXPOSED.store(true, Ordering::Relaxed);
        }
        if !locked {
            UNLOCKED.store(true, Ordering::Relaxed);
        }
        Self {
            base: NonNull::new(base.cast()).expect("a mapping is not at zero"),
            taken: [false; SLOTS],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_kept_apart_and_slots_come_back() {
        let many: Vec<_> = (0..2000_u32).map(|i| Locked::new([i; 20])).collect();
        for (i, value) in (0_u32..).zip(&many) {
            assert_eq!(**value, [i; 20]);
            assert_eq!(std::ptr::from_ref(&**value).addr() % SLOT, 0);
        }
        let before = REGIONS.lock().unwrap().len();
        drop(many);
        let again: Vec<_> = (0..2000_u32).map(|i| Locked::new([i; 20])).collect();
        // Other tests take slots, too, but not a region's worth of them.
        assert!(REGIONS.lock().unwrap().len() <= before + 1);
        drop(again);
    }

    #[test]
    fn what_is_dropped_is_wiped() {
        let place = take(1);
        // SAFETY: the slot is ours.
        unsafe {
            place.write_bytes(0xa7, SLOT);
            give_back(place, 1);
            // Still mapped, and read at once; another thread of this test may have taken it, and
            // then wrote other bytes.
            assert!((0..SLOT).all(|at| place.add(at).read_volatile() != 0xa7));
        }
    }

    /// What the kernel itself says of the pages.
    #[test]
    fn the_kernel_was_told() {
        let key = Locked::init(|bytes: &mut [u8; 32]| bytes.fill(1));
        let at = std::ptr::from_ref(&*key).addr();
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut mine = false;
        let mut flags = None;
        for line in maps.lines() {
            let range = line
                .split(' ')
                .next()
                .and_then(|range| range.split_once('-'));
            if let Some((from, to)) = range
                && let (Ok(from), Ok(to)) = (
                    usize::from_str_radix(from, 16),
                    usize::from_str_radix(to, 16),
                )
            {
                mine = (from..to).contains(&at);
            } else if mine && let Some(found) = line.strip_prefix("VmFlags:") {
                flags = Some(found.to_owned());
            }
        }
        let flags = flags.expect("the page is mapped");
        // dd: not in dumps; wf: wiped on fork; lo: locked.
        for flag in ["dd", "wf"] {
            assert!(
                flags.split_whitespace().any(|f| f == flag),
                "{flag} is not in {flags}"
            );
        }
        assert_eq!(
            flags.split_whitespace().any(|f| f == "lo"),
            all_locked(),
            "{flags}"
        );
    }
}
