//! A deployment that has seen everything once, and what its thieves would like to find.

use std::fs;
use std::path::{Path, PathBuf};

use rocksdb::{DB, IteratorMode, Options};

use super::canaries::{Canaries, Place, Roots};
use super::common::{QUORUM, Side, World, files};

/// Scheme, as presented, in canonical form. Nobody's.
pub const PEOPLE: [(&str, &str, &str); 4] = [
    ("cnie", "qk-773 0914", "QK7730914"),
    ("cnie", "ZJ5518273", "ZJ5518273"),
    ("passport", "mar XK8841207", "MARXK8841207"),
    ("idcs", "9081 7263 54", "9081726354"),
];

/// Sector, client, purpose, text form, controller and purpose of the domain, schemes.
type Seat = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static [&'static str],
);
pub const SEATS: [Seat; 5] = [
    (
        "health",
        "cnss-health",
        "billing",
        "bech32m",
        "",
        "",
        &["cnie", "passport", "idcs"],
    ),
    (
        "health.chu-rabat",
        "chu-study",
        "care",
        "bech32m",
        "",
        "",
        &["cnie", "passport"],
    ),
    (
        "health.chu-rabat.study-42",
        "chu-study",
        "research",
        "hex",
        "",
        "research",
        &["cnie"],
    ),
    (
        "tax",
        "dgi-tax",
        "assessment",
        "bech32m",
        "dgi",
        "",
        &["cnie", "idcs"],
    ),
    (
        "social",
        "rsu-social",
        "aid",
        "uuid",
        "",
        "aid",
        &["cnie", "idcs"],
    ),
];

/// A world with a past.
pub struct Story {
    pub world: World,
    pub canaries: Canaries,
    /// The first person's pseudonym in `health`, epoch 1, and the second's.
    pub health: [String; 2],
    /// An order for the first of them, with all its signatures.
    pub order: String,
}

impl Story {
    /// Everybody is tokenized everywhere, somebody is re-identified, an epoch is advanced, much is
    /// refused; both processes were stopped and started in between, and run.
    pub fn told() -> Self {
        let mut world = World::new();
        let mut canaries = Canaries::none();
        canaries.secrets_below(&world.path("secrets"));
        let roots = Roots::of(&world.path("."));
        let crowd: Vec<String> = (0..600)
            .map(|n| format!("W{:07}", 1_000_003 + n * 7_919))
            .collect();
        let mut health = vec![];
        for seat in SEATS {
            let (sector, client, purpose, .., schemes) = seat;
            for scheme in schemes {
                let people: Vec<_> = PEOPLE.iter().filter(|person| person.0 == *scheme).collect();
                let mut presented: Vec<&str> = people.iter().map(|person| person.1).collect();
                let mut canonical: Vec<&str> = people.iter().map(|person| person.2).collect();
                if (sector, *scheme) == ("health", "cnie") {
                    // So many that they lie in several chunks.
                    presented.extend(crowd.iter().map(String::as_str));
                    canonical.extend(crowd.iter().map(String::as_str));
                }
                let answered = world.tokenize(client, sector, scheme, Some(purpose), &presented);
                for (value, answered) in canonical.iter().zip(&answered) {
                    let derived = canaries.person(&roots, scheme, value, &place(&world, seat, 1));
                    assert_eq!(&derived, answered, "these are the right canaries");
                }
                presented.iter().for_each(|text| canaries.identifier(text));
                if (sector, *scheme) == ("health", "cnie") {
                    health = answered[..2].to_vec();
                }
            }
        }
        let health: [String; 2] = health.try_into().unwrap();
        let order = world.sign(&world.order("health", &health[..1]), QUORUM);
        let answer = world.reidentify(&order, "health", &health[..1]).ok();
        assert_eq!(answer["items"][0]["value"], PEOPLE[0].2);

        // What was only in the write-ahead log goes into sorted files and blobs at a start.
        world.restart();
        world.advance("health", false);
        let renewed = world.health_pseudonyms(&[PEOPLE[0].1, PEOPLE[1].1]);
        for (person, renewed) in PEOPLE.iter().zip(&renewed) {
            let derived = canaries.person(&roots, "cnie", person.2, &place(&world, SEATS[0], 2));
            assert_eq!(&derived, renewed);
        }
        let answer = world.reidentify(&order, "health", &health[..1]).ok();
        assert_eq!(
            answer["items"][0]["value"], PEOPLE[0].2,
            "the old epoch's mapping opens as well"
        );
        let refused = world.sign(&world.order("health", &health[1..]), &["judge-1"]);
        assert_eq!(
            world.reidentify(&refused, "health", &health[1..]).code(),
            "order-quorum"
        );
        Self {
            world,
            canaries,
            health,
            order,
        }
    }
}

/// A domain of the demo's register.
pub fn place<'a>(
    world: &World,
    (sector, _, _, form, controller, purpose, _): Seat,
    epoch: u64,
) -> Place<'a> {
    let register = world.register();
    let facts = register.sector(sector).unwrap();
    let tag = match sector {
        "health" => "sante",
        "health.chu-rabat" => "chur",
        "health.chu-rabat.study-42" => "etude",
        "tax" => "impot",
        _ => "social",
    };
    assert_eq!(facts.tag, tag);
    let path = facts.path.iter().map(ToString::to_string).collect();
    Place {
        path,
        tag,
        form,
        epoch,
        controller,
        purpose,
    }
}

/// What a thief carries away: a copy of some files of a deployment, and nothing else.
pub struct Loot {
    folder: tempfile::TempDir,
}

impl Loot {
    /// Copies files and folders of a deployment.
    pub fn take(world: &World, paths: &[&str]) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("cloison-loot-")
            .tempdir()
            .unwrap();
        for path in paths {
            let from = world.path(path);
            let all = if from.is_dir() {
                files(&from)
            } else {
                vec![from]
            };
            for file in all {
                let to = folder
                    .path()
                    .join(file.strip_prefix(world.path("")).unwrap());
                fs::create_dir_all(to.parent().unwrap()).unwrap();
                fs::copy(file, to).unwrap();
            }
        }
        Self { folder }
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    pub fn files(&self) -> Vec<PathBuf> {
        files(self.folder.path())
    }

    /// Fails where any byte of any file, or any row of the store below `store`, shows anything.
    pub fn assert_shows_nothing(&self, canaries: &Canaries, store: &str) {
        let mut bytes = 0;
        for file in self.files() {
            let content = fs::read(&file).unwrap();
            bytes += content.len();
            canaries.assert_absent(&file.display().to_string(), &content, &[]);
        }
        assert!(bytes > 10_000, "there is something to look at");
        // Files may hold a key in pieces (sorted keys share what they have in common); rows are
        // whole.
        for (column, key, value) in rows(&self.path(store)) {
            canaries.assert_absent(&format!("a key of column {column}"), &key, &[]);
            canaries.assert_absent(&format!("a value of column {column}"), &value, &[]);
        }
    }
}

/// All rows of a store, read past everything that knows what they mean: column, key, value.
pub fn rows(store: &Path) -> Vec<(String, Vec<u8>, Vec<u8>)> {
    let mut options = Options::default();
    // As the store does: a reader that does not follows a null pointer where the manifest names a
    // log.
    options.set_track_and_verify_wals_in_manifest(true);
    let columns = DB::list_cf(&options, store).unwrap();
    let db = DB::open_cf_for_read_only(&options, store, &columns, false).unwrap();
    let mut rows = vec![];
    for column in columns {
        for row in db.iterator_cf(db.cf_handle(&column).unwrap(), IteratorMode::Start) {
            let (key, value) = row.unwrap();
            rows.push((column.clone(), key.into_vec(), value.into_vec()));
        }
    }
    assert!(!rows.is_empty());
    rows
}

/// The process has ended when it is dropped from the story: stores may be copied whole.
pub fn stopped(story: &mut Story) {
    story.world.stop();
    assert!(!story.world.is_running(Side::Vault));
}
