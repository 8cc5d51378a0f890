//! What is done to a sealed repository in bad hands, and what its owner is told of it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::{sealed_to, verify};
use crate::backup::{copy_folder, create, files, largest, manifests, refused, tokenize};
use crate::common::World;

/// What is done to a sealed repository; what `verify` says of it without an identity, and with one.
type SealedHarm = (&'static str, fn(&World), [&'static str; 2]);

const DAMAGED: [&str; 2] = ["is damaged"; 2];
const HARMS: [SealedHarm; 11] = [
    (
        "a file is missing",
        |world| fs::remove_file(largest(world)).unwrap(),
        ["is missing"; 2],
    ),
    (
        "a file is cut",
        |world| change(&largest(world), |bytes| bytes.truncate(bytes.len() / 2)),
        DAMAGED,
    ),
    (
        "a file is longer",
        |world| change(&largest(world), |bytes| bytes.push(0)),
        DAMAGED,
    ),
    (
        "a file is empty",
        |world| change(&largest(world), Vec::clear),
        DAMAGED,
    ),
    (
        "a file has another byte",
        |world| {
            change(&largest(world), |bytes| {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
            });
        },
        DAMAGED,
    ),
    (
        "a file has another byte in its header",
        |world| change(&largest(world), |bytes| bytes[60] ^= 1),
        DAMAGED,
    ),
    (
        "two files were exchanged",
        |world| {
            let (one, other) = two(world);
            let beside = world.path("elsewhere");
            fs::rename(&one, &beside).unwrap();
            fs::rename(&other, &one).unwrap();
            fs::rename(beside, other).unwrap();
        },
        DAMAGED,
    ),
    (
        "a file lies there twice, once under another's name",
        |world| {
            let (one, other) = two(world);
            fs::copy(one, other).unwrap();
        },
        DAMAGED,
    ),
    (
        "a file is a link",
        |world| {
            let (path, beside) = (largest(world), world.path("elsewhere"));
            fs::rename(&path, &beside).unwrap();
            symlink(beside, path).unwrap();
        },
        ["is a link"; 2],
    ),
    (
        "the clear part was changed",
        |world| change(&manifests(world)[0], |bytes| bytes[40] ^= 1),
        ["the manifest of the backup"; 2],
    ),
    (
        "the folder says that it is not sealed",
        |world| {
            world.replace("backup/repository.json", ",\"sealed\":\"age\"", "");
        },
        ["is sealed, and the repository"; 2],
    ),
];

fn change(path: &Path, how: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    how(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// Two files of a repository that have different bytes.
fn two(world: &World) -> (PathBuf, PathBuf) {
    let files = files(world);
    (files[0].clone(), files[1].clone())
}

#[test]
fn a_sealed_repository_in_bad_hands_is_named_in_a_sentence() {
    let mut world = sealed_to(&["one"]);
    tokenize(&world, 1, 2_000);
    create(&world);
    world.stop();
    let kept = world.path("kept");
    copy_folder(&world.path("backup"), &kept);
    for (name, harm, [without, with]) in HARMS {
        let _ = fs::remove_dir_all(world.path("backup"));
        let _ = fs::remove_file(world.path("elsewhere"));
        copy_folder(&kept, &world.path("backup"));
        harm(&world);
        eprintln!("{name}");
        refused(&verify(&world, None, &[]), without);
        refused(&verify(&world, Some("one"), &[]), with);
    }
    let restore = [
        "restore",
        "backup",
        "--config",
        "vault.toml",
        "--identity",
        "one.age",
    ];
    fs::rename(world.path("data/vault"), world.path("lost")).unwrap();
    for (name, harm, [_, with]) in HARMS {
        fs::remove_dir_all(world.path("backup")).unwrap();
        let _ = fs::remove_file(world.path("elsewhere"));
        copy_folder(&kept, &world.path("backup"));
        harm(&world);
        eprintln!("{name}");
        refused(&world.cloison(&restore), with);
        let left = fs::read_dir(world.path("data/vault")).map_or(0, Iterator::count);
        assert_eq!(left, 0, "{name}");
    }
}
