//! A follower holds what its owner offered, sealed: over restarts, kills, years and restores; it
//! believes nothing that the owner's checkpoint does not prove, and no checkpoint leaves before
//! enough places hold what it covers.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cloison::audit::log::{FollowerIdentity, KnownFollower, LogParts, PlaceQuorum, VouchTime};
use cloison::clock::{Clock as _, SystemClock};
use cloison::journal::followed::{FollowFault, FollowedPlace, FollowerKey};
use cloison::journal::followed_logs::FollowedLogs;
use cloison::journal::offer::JournalOffer;
use cloison::journal::read::{PlaceFault, PlaceLog};
use cloison::store::RowBatch;
use cloison::tlog::checkpoint::Checkpoint;
use cloison::tlog::note::{SignatureKind, SignedNote, Verifier, cosign};
use cloison::tlog::tree::{MerkleTree, leaf_hash};
use ed25519_dalek::SigningKey;

use super::common::copy_folder;
use super::forge::key;
use super::places::{EntryAndRecord, kept};
use super::shards::{Writing, cipher, open, open_parts};

const TIME: &str = "2026-11-22T12:00:00Z";
const OWNER: &str = "test/vault";

fn follower(folder: &Path) -> FollowedPlace {
    let key = FollowerKey {
        name: "archive".to_owned(),
        key: SigningKey::from_bytes(&[5; 32]),
    };
    FollowedPlace::open(folder.to_owned(), OWNER.to_owned(), Some(key)).unwrap()
}

fn next(writing: &Writing, held: Option<&Checkpoint>) -> Option<JournalOffer> {
    let offer = writing.log().offer(&cipher(), held, true).unwrap()?;
    Some(JournalOffer::parse(&offer.to_bytes()).unwrap())
}

fn now() -> jiff::Timestamp {
    SystemClock.now()
}

/// The segment of the place's first year that begins at an entry.
fn segment_of(place: &Path, first: u64) -> PathBuf {
    place.join(format!("2026/{first:020}.journal"))
}

/// Takes all that there is.
fn follow(writing: &Writing, place: &FollowedPlace) {
    while let Some(offer) = next(writing, place.held().as_ref()) {
        assert!(place.accept(&offer, &key().verifying_key(), now()).unwrap());
    }
}

fn read(folder: &Path) -> PlaceLog {
    let cipher = Some(Arc::new(cipher()));
    PlaceLog::open(folder, OWNER, &key().verifying_key(), cipher).unwrap()
}

fn held(folder: &Path) -> Vec<EntryAndRecord> {
    let mut all = vec![];
    let walked = read(folder).each::<PlaceFault>(|entry| {
        let record = entry.record.map(<[u8]>::to_vec);
        all.push((
            entry.shard,
            entry.naming.index,
            entry.entry.to_vec(),
            record,
        ));
        Ok(())
    });
    walked.unwrap();
    all
}

#[test]
fn a_follower_holds_the_log_over_its_own_kills_and_the_owners_years() {
    let folder = tempfile::tempdir().unwrap();
    let (store, place) = (folder.path().join("store"), folder.path().join("place"));
    for (time, count) in [(TIME, 300), (TIME, 20), ("2027-01-01T00:00:05Z", 7)] {
        let writing = open(&store, time, None, false).unwrap();
        writing.write(count);
        writing.write_state(3);
        writing.write(1);
        follow(&writing, &follower(&place));
        drop(writing);
        // What a kill leaves behind the checkpoint.
        let torn = place.join("2026/00000000000000000000.journal");
        let whole = fs::read(&torn).unwrap();
        fs::write(&torn, [&whole[..], &whole[whole.len() - 200..]].concat()).unwrap();
    }
    let writing = open(&store, "2027-01-01T00:00:06Z", None, false).unwrap();
    writing.write(2);
    let place_open = follower(&place);
    follow(&writing, &place_open);
    let vouched = place_open.vouch(TIME.parse().unwrap()).note.unwrap();
    drop(writing);
    let all = kept(&store);
    let first = all.iter().position(|(.., record)| record.is_some());
    assert_eq!(held(&place), all[first.unwrap()..]);
    assert!(all.iter().filter(|(.., record)| record.is_some()).count() > 6);

    let archive = SigningKey::from_bytes(&[5; 32]).verifying_key();
    let verifier = Verifier::new("archive", SignatureKind::Keeper, archive);
    let note = SignedNote::parse(vouched.as_bytes()).unwrap();
    assert!(note.time_of(&verifier).unwrap().is_some());
    // Holding is not cosigning, and cosigning is not holding.
    let cosigner = Verifier::new("archive", SignatureKind::Cosigner, archive);
    assert_eq!(note.time_of(&cosigner), Ok(None));
    let line = cosign("archive", &SigningKey::from_bytes(&[5; 32]), note.text(), 7);
    let cosigned = format!("{}\n{line}", note.text());
    let cosigned = SignedNote::parse(cosigned.as_bytes()).unwrap();
    assert_eq!(cosigned.time_of(&verifier), Ok(None));
    assert_eq!(cosigned.time_of(&cosigner), Ok(Some(7)));
    // Nothing is readable without the key.
    let bytes = fs::read(place.join("2026/00000000000000000000.journal")).unwrap();
    assert!(!bytes.windows(6).any(|part| part == b"client"));
    let sealed = PlaceLog::open(&place, OWNER, &key().verifying_key(), None).unwrap_err();
    assert!(matches!(sealed, PlaceFault::Sealed(_)), "{sealed}");
}

#[test]
fn a_follower_of_a_log_that_was_restored_holds_both_ways() {
    let folder = tempfile::tempdir().unwrap();
    let (store, place) = (folder.path().join("store"), folder.path().join("place"));
    let second = folder.path().join("second");
    open(&store, TIME, Some(&second), false).unwrap().write(10);
    copy_folder(&store, &folder.path().join("backup"));
    let writing = open(&store, TIME, Some(&second), false).unwrap();
    writing.write(5);
    let following = follower(&place);
    follow(&writing, &following);
    drop(writing);
    let backup = folder.path().join("backup");
    let writing = open(&backup, TIME, Some(&second), true).unwrap();
    writing.write(4);
    follow(&writing, &following);
    drop(writing);
    let all = kept(&backup);
    assert_eq!(held(&place).last(), all.last());
    assert_eq!(read(&place).shards.len(), 2);
}

#[test]
fn what_does_not_continue_is_refused_and_kept_as_evidence() {
    let folder = tempfile::tempdir().unwrap();
    let (store, place) = (folder.path().join("store"), folder.path().join("place"));
    open(&store, TIME, None, false).unwrap().write(10);
    let copied = folder.path().join("copy");
    copy_folder(&store, &copied);
    let writing = open(&store, TIME, None, false).unwrap();
    writing.write(3);
    let following = follower(&place);
    follow(&writing, &following);
    let at = following.held().unwrap();
    let before = held(&place);
    writing.write(2);
    let offer = next(&writing, Some(&at)).unwrap();

    let trusted = key().verifying_key();
    let refused = |offer: &JournalOffer, key| following.accept(offer, key, now()).unwrap_err();
    let other = SigningKey::from_bytes(&[9; 32]).verifying_key();
    assert!(matches!(refused(&offer, &other), FollowFault::Foreign(_)));
    let signed = |origin: &str, size, tree: &MerkleTree| {
        let root = tree.root();
        let origin = origin.to_owned();
        Checkpoint { origin, size, root }.sign(&key())
    };
    let mut tree = MerkleTree::default();
    tree.push([1; 32], |_, _| {});
    let mut foreign = JournalOffer::after(0);
    foreign.push([1; 32], b"", b"");
    let under = |offer: JournalOffer, note: &str| offer.under(note, &key());
    let lines: Vec<_> = offer.note().lines().take(5).collect();
    let checkpoint = lines.join("\n") + "\n";
    let foreign = under(foreign, &signed("cloison/other/vault/2026", 1, &tree));
    assert!(matches!(
        refused(&foreign, &trusted),
        FollowFault::Foreign(_)
    ));
    let gap = signed(&at.origin, at.size + 1, &tree);
    let gap = under(JournalOffer::after(at.size + 1), &gap);
    assert!(matches!(refused(&gap, &trusted), FollowFault::Unfit(_)));
    let short = under(JournalOffer::after(at.size), &checkpoint);
    assert!(matches!(refused(&short, &trusted), FollowFault::Unfit(_)));
    // A leaf that is not the log's, under a checkpoint that is.
    let mut wrong = JournalOffer::after(at.size);
    for n in at.size..offer.end() {
        let entry = n.to_be_bytes();
        wrong.push(
            leaf_hash(&entry),
            &cipher().seal_entry(naming(n), &entry),
            b"",
        );
    }
    // The owner's checkpoint and leaves with other bytes beside them, which it did not sign.
    let bytes = offer.to_bytes();
    let mut junk = under(junk_like(&offer), &checkpoint).to_bytes();
    let note = 20..20 + offer.note().len();
    junk[note.clone()].copy_from_slice(&bytes[note]);
    let mut waived = bytes.clone();
    waived[20 + offer.note().len()] ^= 1;
    for forged in [junk, waived] {
        let forged = JournalOffer::parse(&forged).unwrap();
        assert_eq!(forged.note(), offer.note());
        assert!(matches!(
            refused(&forged, &trusted),
            FollowFault::Foreign(_)
        ));
    }
    let wrong = under(wrong, &checkpoint);
    assert!(matches!(
        refused(&wrong, &trusted),
        FollowFault::Forked { .. }
    ));
    let kept_note = || fs::read_to_string(place.join("refused")).unwrap();
    assert_eq!(kept_note(), checkpoint);

    // Another process continues a copy of the store.
    let forked = open(&copied, TIME, None, false).unwrap();
    forked.write_state(2);
    forked.write(9);
    let fork = next(&forked, Some(&at)).unwrap();
    let said = refused(&fork, &trusted).to_string();
    assert!(said.contains("does not continue"), "{said}");
    assert_eq!(held(&place), before, "the first copy stays");
    assert_eq!(kept_note(), checkpoint);
    // The honest offer is still taken, and again it changes nothing.
    assert!(following.accept(&offer, &trusted, now()).unwrap());
    assert!(!following.accept(&offer, &trusted, now()).unwrap());
    drop((writing, following));

    // Damaged, it vouches for nothing.
    let segment = fs::read_dir(place.join("2026")).unwrap().next().unwrap();
    let segment = segment.unwrap().path();
    let whole = fs::read(&segment).unwrap();
    fs::write(&segment, &whole[..whole.len() - 1]).unwrap();
    let opened = FollowedPlace::open(place, OWNER.to_owned(), None).err();
    assert!(matches!(opened, Some(FollowFault::Damaged(_))));
}

#[test]
fn what_no_backup_needs_goes_from_a_followers_folder_too() {
    let folder = tempfile::tempdir().unwrap();
    let (store, place) = (folder.path().join("store"), folder.path().join("place"));
    let writing = open(&store, TIME, None, false).unwrap();
    let (following, late) = (follower(&place), follower(&folder.path().join("late")));
    let mut sizes = vec![];
    for _ in 0..3 {
        writing.write_state(2);
        writing.write(5);
        follow(&writing, &following);
        if sizes.is_empty() {
            follow(&writing, &late);
        }
        let size = following.held().unwrap().size;
        // A backup is taken, and no other one is kept.
        let store = writing.log().store();
        let mut batch = RowBatch::default();
        store.prune_journal(&mut batch, 0, size);
        store.commit(batch).unwrap();
        sizes.push(size);
    }
    writing.write(1);
    follow(&writing, &following);
    let first = |place: &Path| {
        let log = read(place);
        assert!(log.each::<PlaceFault>(|_| Ok(())).is_ok());
        log.shards[0].first
    };
    // What the owner waives stays for a week, whatever it says, and over a restart.
    let begun = first(&place);
    assert!(begun < sizes[0], "{begun} {sizes:?}");
    let days = |days: i64| now() + jiff::SignedDuration::from_hours(24 * days);
    following.prune(days(6));
    assert_eq!(first(&place), begun);
    drop(following);
    let following = follower(&place);
    let late_word = |after: i64, following: &FollowedPlace| {
        let mut batch = RowBatch::default();
        let store = writing.log().store();
        store.prune_journal(&mut batch, 0, following.held().unwrap().size);
        store.commit(batch).unwrap();
        writing.write(1);
        while let Some(offer) = next(&writing, following.held().as_ref()) {
            let key = key().verifying_key();
            following.accept(&offer, &key, days(after)).unwrap();
        }
    };
    late_word(1, &following);
    late_word(2, &following);
    following.prune(days(7));
    assert_eq!(
        first(&place),
        begun,
        "what was waived first is where it began"
    );
    following.prune(days(8));
    assert!(first(&place) > begun, "what was waived a week ago goes");
    // One that was away holds entries whose records were gone, and says which.
    follow(&writing, &late);
    let (mut has, mut lacks) = (0, 0);
    let walked = read(late.folder()).each::<PlaceFault>(|entry| {
        has += u32::from(entry.record.is_some());
        lacks += u32::from(entry.is_pruned);
        Ok(())
    });
    walked.unwrap();
    assert!(has > 0 && lacks > 0, "{has} {lacks}");
    // One that begins now begins there.
    let new = follower(&folder.path().join("new"));
    follow(&writing, &new);
    assert!(first(new.folder()) > sizes[2]);
}

fn naming(index: u64) -> cloison::seal::journal::NamingEntry<'static> {
    let origin = "cloison/test/vault/2026";
    cloison::seal::journal::NamingEntry { origin, index }
}

/// A log with a second place and two followers, of which so many must hold a checkpoint.
fn with_places(folder: &Path, time: &str, needed: usize) -> Writing {
    let known = |name: &str| KnownFollower {
        name: name.to_owned(),
        key: FollowerIdentity::Stated(key().verifying_key()),
    };
    let places = PlaceQuorum {
        needed,
        second: false,
        followers: vec![known("one"), known("two")],
    };
    let parts = LogParts {
        places,
        ..LogParts::new(key())
    };
    open_parts(&folder.join("store"), time, parts, None).unwrap()
}

#[test]
fn a_checkpoint_is_published_once_enough_places_hold_it() {
    let folder = tempfile::tempdir().unwrap();
    let writing = with_places(folder.path(), TIME, 2);
    let log = writing.log();
    let receipt = writing.note();
    let signed = log.signed(&receipt, Duration::from_secs(60)).unwrap();
    let is_out = || log.covering(&receipt, Duration::ZERO).is_some();
    assert!(!is_out() && log.held(Duration::ZERO).is_none());
    assert!(log.shown(None).is_none() && log.latest().is_none());
    let note_held = |name: &str, said: u64| {
        let time = VouchTime { said, now: 100 };
        log.note_held(name, signed.clone(), time);
    };
    note_held("one", 7);
    note_held("one", 8);
    note_held("nobody", 7);
    assert!(!is_out(), "one place does not count twice");
    note_held("two", 7);
    assert!(is_out() && log.held(Duration::ZERO).is_some());
    // One that does not count gets what is published.
    let receipt = writing.note();
    log.signed(&receipt, Duration::from_secs(60)).unwrap();
    let to = |counts| {
        log.offer(&cipher(), Some(&signed.checkpoint), counts)
            .unwrap()
    };
    assert!(to(true).is_some() && to(false).is_none());

    // The year ends before the places hold its last entries: they are published with the next.
    writing.note();
    drop(writing);
    let writing = with_places(folder.path(), "2027-01-01T00:00:05Z", 2);
    let log = writing.log();
    let receipt = writing.note();
    let signed = log.signed(&receipt, Duration::from_secs(60)).unwrap();
    let place = follower(&folder.path().join("place"));
    follow(&writing, &place);
    let whole = log.contained(&place.held().unwrap()).unwrap().unwrap();
    assert_eq!(whole.checkpoint, signed.checkpoint);
    for name in ["one", "two"] {
        log.note_held(name, whole.clone(), VouchTime { said: 7, now: 7 });
    }
    let sizes: Vec<_> = log.shards().iter().map(|s| s.checkpoint.size).collect();
    assert_eq!(sizes, [3, signed.checkpoint.size]);
}

/// An offer of as many entries, with other bytes.
fn junk_like(offer: &JournalOffer) -> JournalOffer {
    let mut junk = JournalOffer::after(offer.first());
    for n in offer.first()..offer.end() {
        junk.push(leaf_hash(&n.to_be_bytes()), b"junk", b"");
    }
    junk
}

#[test]
fn a_byte_that_a_disk_changed_ends_the_followers_word() {
    let folder = tempfile::tempdir().unwrap();
    let (store, place) = (folder.path().join("store"), folder.path().join("place"));
    let writing = open(&store, TIME, None, false).unwrap();
    writing.write_state(3);
    writing.write(20);
    follow(&writing, &follower(&place));
    let segment = segment_of(&place, 0);
    let whole = fs::read(&segment).unwrap();
    let looked = |bytes: &[u8]| {
        fs::write(&segment, &whole).unwrap();
        let following = follower(&place);
        fs::write(&segment, bytes).unwrap();
        let looked = following.look_through(now());
        (looked.is_ok(), following.vouch(now()).note.is_some())
    };
    let places = [whole.len() / 2, whole.len() - 20, whole.len() - 3];
    let changed = |at: usize| {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        changed
    };
    assert_eq!(looked(&whole), (true, true));
    for at in places {
        assert_eq!(looked(&changed(at)), (false, false), "{at}");
        let opened = FollowedPlace::open(place.clone(), OWNER.to_owned(), None).err();
        assert!(matches!(opened, Some(FollowFault::Damaged(_))), "{at}");
    }
    // A kill left something behind the end, and the next year began: what lies there is the
    // shard's.
    fs::write(&segment, &whole).unwrap();
    let following = follower(&place);
    let torn = [&whole[..], b"torn"].concat();
    fs::write(&segment, &torn).unwrap();
    fs::write(segment_of(&place, 100), b"torn").unwrap();
    drop(writing);
    let writing = open(&store, "2027-01-01T00:00:05Z", None, false).unwrap();
    writing.write(3);
    follow(&writing, &following);
    assert!(fs::read(&segment).unwrap() == whole, "it was cut off");
    assert_eq!(looked(&whole), (true, true));
    for at in places {
        assert_eq!(looked(&changed(at)), (false, false), "{at}");
    }
    assert_eq!(looked(&whole[..whole.len() - 1]), (false, false));
}

#[test]
fn what_cannot_be_read_is_not_vouched_for_until_it_can() {
    let folder = tempfile::tempdir().unwrap();
    let writing = open(&folder.path().join("store"), TIME, None, false).unwrap();
    writing.write(20);
    let place = folder.path().join("place");
    let following = follower(&place);
    follow(&writing, &following);
    let segment = segment_of(&place, 0);
    let away = folder.path().join("away");
    fs::rename(&segment, &away).unwrap();
    // Reading a folder is an error of the operating system.
    fs::create_dir(&segment).unwrap();
    let looked = following.look_through(now());
    assert!(matches!(looked, Err(FollowFault::Unreadable { .. })));
    assert!(following.vouch(now()).note.is_none());
    fs::remove_dir(&segment).unwrap();
    fs::rename(&away, &segment).unwrap();
    let soon = now() + Duration::from_secs(61);
    following.look_through(soon).unwrap();
    assert!(following.vouch(now()).note.is_some());
}

#[test]
fn a_place_that_was_emptied_is_not_vouched_for() {
    let folder = tempfile::tempdir().unwrap();
    let writing = open(&folder.path().join("store"), TIME, None, false).unwrap();
    writing.write(20);
    let looked = |what: &str| {
        let place = folder.path().join(what);
        let following = follower(&place);
        follow(&writing, &following);
        let emptied = if what == "gone" {
            place
        } else {
            place.join("2026")
        };
        fs::remove_dir_all(emptied).unwrap();
        let fault = following.look_through(now()).unwrap_err();
        assert!(following.vouch(now()).note.is_none(), "{what}");
        fault
    };
    assert!(matches!(looked("emptied"), FollowFault::Damaged(_)));
    assert!(matches!(looked("gone"), FollowFault::Unreadable { .. }));
}

#[test]
fn a_follower_that_lost_its_folder_counts_for_what_it_holds() {
    let folder = tempfile::tempdir().unwrap();
    let writing = with_places(folder.path(), TIME, 1);
    let log = writing.log();
    let note = || {
        let receipt = writing.note();
        log.signed(&receipt, Duration::from_secs(60)).unwrap()
    };
    let (less, more) = (note(), note());
    let says = |said, held: &Arc<_>| {
        log.note_held("one", Arc::clone(held), VouchTime { said, now: 100 });
        let places = log.places();
        let one = places
            .into_iter()
            .find(|place| place.name == "one")
            .unwrap();
        one.held.unwrap().size
    };
    let (few, all) = (less.checkpoint.size, more.checkpoint.size);
    assert_eq!(says(50, &more), all);
    assert_eq!(
        says(50, &less),
        all,
        "of two in one second the later says more"
    );
    assert_eq!(says(49, &less), all, "a word that came late");
    assert_eq!(says(51, &less), few, "it lost its folder");
    assert_eq!(says(50, &more), few, "a word that others kept");
    assert_eq!(says(52, &more), all);
    // Its clock ran ahead, and was set right.
    assert_eq!(says(900, &more), all);
    assert_eq!(says(53, &less), few);
}

#[test]
fn a_follower_takes_no_more_in_a_day_than_it_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let writing = open(&folder.path().join("store"), TIME, None, false).unwrap();
    writing.write_state(1);
    writing.write(200);
    let first = next(&writing, None).unwrap();
    let place = follower(&folder.path().join("place")).taking(first.to_bytes().len() as u64);
    let today: jiff::Timestamp = TIME.parse().unwrap();
    let take = |offer, time| place.accept(offer, &key().verifying_key(), time);
    assert!(take(&first, today).unwrap());
    let held = place.held();
    writing.write(50);
    let second = next(&writing, held.as_ref()).unwrap();
    let refused = take(&second, today).unwrap_err();
    assert!(matches!(refused, FollowFault::Surfeit { .. }), "{refused}");
    assert_eq!(place.held(), held, "nothing of it is kept");
    let tomorrow = today + jiff::SignedDuration::from_hours(24);
    assert!(take(&second, tomorrow).unwrap(), "the next day counts anew");
}

#[test]
fn a_follower_makes_no_missing_mount() {
    let folder = tempfile::tempdir().unwrap();
    let above = folder.path().join("no/place");
    let away = FollowedPlace::open(above, OWNER.to_owned(), None).err();
    assert!(matches!(away, Some(FollowFault::Away(_))));
}

/// The places that [`FollowedLogs`] opened in
/// [`a_damaged_folder_that_was_moved_away_is_begun_anew_without_a_restart`].
static OPENED: Mutex<Vec<Arc<FollowedPlace>>> = Mutex::new(vec![]);

fn keep(place: &Arc<FollowedPlace>) -> std::io::Result<()> {
    OPENED.lock().unwrap().push(place.clone());
    Ok(())
}

#[test]
fn a_damaged_folder_that_was_moved_away_is_begun_anew_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let writing = open(&folder.path().join("store"), TIME, None, false).unwrap();
    writing.write(20);
    let archive = FollowerKey {
        name: "archive".to_owned(),
        key: SigningKey::from_bytes(&[5; 32]),
    };
    let logs = FollowedLogs::new(folder.path().join("kept"), archive, 1 << 30, keep);
    let owner = (OWNER, &key().verifying_key());
    let offer = next(&writing, None).unwrap();
    assert!(
        logs.take(owner, Some(&offer), now())
            .unwrap()
            .note
            .is_some()
    );
    let place = folder.path().join("kept").join(OWNER);
    let segment = segment_of(&place, 0);
    let mut bytes = fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let opened = OPENED.lock().unwrap()[0].clone();
    assert!(opened.look_through(now()).is_err());
    for _ in 0..2 {
        // It lies there still, so it is not opened as if it were good.
        assert!(logs.take(owner, None, now()).unwrap().note.is_none());
        let refused = logs.take(owner, Some(&offer), now()).unwrap_err();
        assert!(matches!(refused, FollowFault::Damaged(_)), "{refused}");
        let troubles = logs.troubles().join("; ");
        assert!(troubles.contains("Move that folder away"), "{troubles}");
    }
    fs::rename(&place, folder.path().join("damaged")).unwrap();
    assert!(logs.take(owner, None, now()).unwrap().note.is_none());
    assert!(
        logs.take(owner, Some(&offer), now())
            .unwrap()
            .note
            .is_some()
    );
    assert_eq!(logs.troubles(), [""; 0]);
    assert_eq!(OPENED.lock().unwrap().len(), 2);
    assert!(held(&place).len() >= 20);
}

#[test]
fn a_restart_of_a_follower_makes_no_room_for_more_of_a_day() {
    let folder = tempfile::tempdir().unwrap();
    let writing = open(&folder.path().join("store"), TIME, None, false).unwrap();
    let opened = || follower(&folder.path().join("place")).taking(30_000);
    let take = |place: &FollowedPlace, time| {
        let offer = next(&writing, place.held().as_ref()).unwrap();
        place.accept(&offer, &key().verifying_key(), time)
    };
    let mut taken = 0;
    // Each time by another process.
    let refused = loop {
        writing.write(20);
        match take(&opened(), now()) {
            Ok(is_new) => assert!(is_new),
            Err(refused) => break refused,
        }
        taken += 1;
        assert!(taken < 50, "it takes without end");
    };
    assert!(matches!(refused, FollowFault::Surfeit { .. }), "{refused}");
    assert!(taken > 1);
    let tomorrow = now() + jiff::SignedDuration::from_hours(24);
    assert!(take(&opened(), tomorrow).unwrap());
}
