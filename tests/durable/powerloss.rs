//! The power goes: what was acknowledged is there afterwards, although the disk lost what was not
//! fsynced. `ops/powerloss.c` writes down what each process does to its disk, and `crash_state.rs`
//! makes of that what the disk holds.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::crash_state::{Disk, Loss};
use super::deeds::Deeds;
use super::load::{Acknowledged, Load, Plan, check};
use super::world::{card, put_sector_secrets_on_the_disk, rounds};
use crate::common::seeded::{SeededRandom, seed};
use crate::common::shim::shim;
use crate::common::witness::WitnessPlace;
use crate::common::{Process, QUORUM, Setup, Side, World, copy_folder, files, swap};

/// The disk of one process: everything in `data` whose name begins with the process's.
struct Machine {
    name: &'static str,
    /// Beside the deployment: how the disk was when the process started, and the log since.
    copy: PathBuf,
    log: PathBuf,
}

impl Machine {
    fn new(world: &World, name: &'static str) -> Self {
        let beside = |end: &str| world.path(&format!("../{name}.{end}"));
        Self {
            name,
            copy: beside("copy"),
            log: beside("log"),
        }
    }

    /// What lies on its disk.
    fn entries(&self, world: &World) -> Vec<PathBuf> {
        let entries = fs::read_dir(world.path("data")).unwrap();
        let entries = entries.map(|entry| entry.unwrap().path());
        let is_own = |path: &PathBuf| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name.split('.').next() == Some(self.name)
        };
        entries.filter(is_own).collect()
    }

    /// Has the process that is started next run on a disk that keeps what was not fsynced apart, or
    /// that lies about fsync.
    fn prepare(&self, world: &mut World, lies: bool) {
        let _ = fs::remove_dir_all(&self.copy);
        let _ = fs::remove_file(&self.log);
        fs::create_dir(&self.copy).unwrap();
        for entry in self.entries(world) {
            let to = self.copy.join(entry.file_name().unwrap());
            if entry.is_dir() {
                copy_folder(&entry, &to);
            } else {
                fs::copy(&entry, &to).unwrap();
            }
        }
        let root = world.path("data").canonicalize().unwrap();
        let text = |path: &PathBuf| path.display().to_string();
        world.env = vec![
            ("LD_PRELOAD".into(), text(&shim("powerloss"))),
            ("SHIM_ROOT".into(), text(&root)),
            ("POWERLOSS_LOG".into(), text(&self.log)),
        ];
        if lies {
            world.env.push(("POWERLOSS_LIES".into(), "1".into()));
        }
    }

    fn disk(&self, world: &World) -> Disk {
        let root = world.path("data").canonicalize().unwrap();
        Disk::read(&root, &self.copy, &fs::read(&self.log).unwrap())
    }

    /// Puts what the disk holds after the power went in the place of what the process saw.
    fn lose(&self, world: &World, loss: Loss) {
        let left = world.path(&format!("../{}.left", self.name));
        let _ = fs::remove_dir_all(&left);
        self.disk(world).write(&left, loss);
        for entry in self.entries(world) {
            if entry.is_dir() {
                fs::remove_dir_all(entry).unwrap();
            } else {
                fs::remove_file(entry).unwrap();
            }
        }
        for entry in fs::read_dir(&left).unwrap() {
            let entry = entry.unwrap();
            fs::rename(entry.path(), world.path("data").join(entry.file_name())).unwrap();
        }
    }
}

/// A world whose secrets of epochs lie on the vault's disk, too, with orders by the hundred.
fn world() -> World {
    let register = |text: String| {
        swap(
            &text,
            "max-hours = 720",
            "max-hours = 720\nreleases-per-hour = 100000000",
        )
    };
    let world = World::with(Setup {
        register: Box::new(register),
        log: "info",
        start: false,
        ..Setup::default()
    });
    put_sector_secrets_on_the_disk(&world);
    world
}

/// What a life of vault and node is tried for.
struct Trial {
    world: World,
    machines: [Machine; 3],
    place: WitnessPlace,
    witness: Option<Process>,
    acknowledged: Arc<Mutex<Acknowledged>>,
    deeds: Mutex<Deeds>,
    pseudonyms: Vec<String>,
}

impl Trial {
    fn new() -> Self {
        let world = world();
        let machines = ["vault", "node", "witness"].map(|name| Machine::new(&world, name));
        let place = WitnessPlace::prepare(&world);
        let mut trial = Self {
            world,
            machines,
            place,
            witness: None,
            acknowledged: Arc::default(),
            deeds: Mutex::default(),
            pseudonyms: vec![],
        };
        trial.start(false);
        let cards: Vec<_> = (0..40).map(card).collect();
        let cards: Vec<_> = cards.iter().map(String::as_str).collect();
        trial.pseudonyms = trial.world.health_pseudonyms(&cards);
        trial
    }

    fn start(&mut self, lies: bool) {
        let [vault, node, witness] = &self.machines;
        vault.prepare(&mut self.world, lies);
        self.world.start(Side::Vault, &[]);
        node.prepare(&mut self.world, lies);
        self.world.start(Side::Node, &[]);
        witness.prepare(&mut self.world, lies);
        let first: &[&str] = if witness.entries(&self.world).is_empty() {
            &["--first-start"]
        } else {
            &[]
        };
        self.witness = Some(self.place.start(&self.world, first).unwrap());
        self.world.env.clear();
    }

    fn stop(&mut self) {
        self.world.stop();
        self.witness.take().unwrap().stop();
    }

    /// The power goes at all three.
    fn end(&mut self, loss: Loss) {
        for side in [Side::Vault, Side::Node] {
            self.world.signal(side, libc::SIGKILL);
        }
        self.witness.take().unwrap().kill();
        for side in [Side::Vault, Side::Node] {
            self.world.ended(side);
        }
        for machine in &self.machines {
            machine.lose(&self.world, loss);
        }
    }

    /// Load, orders and a new epoch; in the middle of it both processes are gone. How many entries
    /// the witness had cosigned just before.
    fn live(&self, random: &mut SeededRandom, round: u32) -> u64 {
        let mut cosigned = 0;
        let plan = Plan {
            threads: 4,
            batch: 1_500,
            first: 1_000 + round * 700,
        };
        let load = Load::start(&self.world, plan, &self.acknowledged);
        let moment = Duration::from_millis(50 + random.below(700) as u64);
        let operator = self.world.client("operator");
        let advance = random.percent(50);
        std::thread::scope(|scope| {
            let (world, deeds) = (&self.world, &self.deeds);
            let pseudonyms = &self.pseudonyms;
            scope.spawn(move || Deeds::go_on(world, pseudonyms, deeds));
            scope.spawn(move || {
                let path = "/v1/sectors/tax/epochs";
                let listed: serde_json::Value = operator.get_json(path).ok()?;
                let from = listed["epochs"].as_array()?.last()?["epoch"].as_u64()?;
                let how =
                    serde_json::json!({"from": from, "end_overlap": from - 1, "own_secret": true});
                advance.then(|| crate::common::advance(&operator, path, &how).ok())?
            });
            std::thread::sleep(moment);
            cosigned = self.place.cosigned(&self.world);
            for side in [Side::Vault, Side::Node] {
                world.signal(side, libc::SIGKILL);
            }
        });
        load.stop();
        cosigned
    }
}

/// Whether the log of the shim says it all: it leads to what the process left.
#[test]
fn what_the_shim_writes_down_leads_to_what_is_there() {
    let mut trial = Trial::new();
    let load = Load::start(
        &trial.world,
        Plan {
            threads: 3,
            batch: 2_000,
            first: 0,
        },
        &trial.acknowledged,
    );
    std::thread::sleep(Duration::from_millis(500));
    load.stop();
    trial.world.advance("tax", true);
    trial.stop();
    for machine in &trial.machines {
        let left = trial.world.path(&format!("../{}.whole", machine.name));
        machine.disk(&trial.world).write(&left, Loss::Nothing);
        // RocksDB writes its own log through a C stream.
        let content = |root: PathBuf| -> Vec<_> {
            let all = files(&root).into_iter().map(|path| {
                let name = path.strip_prefix(&root).unwrap().to_owned();
                (name, fs::read(path).unwrap())
            });
            let is_own = |name: &str| name.split(['.', '/']).next() == Some(machine.name);
            all.filter(|(name, _)| {
                let name = name.to_str().unwrap();
                is_own(name) && !name.contains("/LOG")
            })
            .collect()
        };
        let (rebuilt, there) = (content(left), content(trial.world.path("data")));
        assert!(!there.is_empty());
        let names = |files: &[(PathBuf, Vec<u8>)]| -> Vec<_> {
            files
                .iter()
                .map(|(name, bytes)| (name.clone(), bytes.len()))
                .collect()
        };
        assert_eq!(names(&rebuilt), names(&there));
        assert!(rebuilt == there, "the same bytes");
    }
}

/// Power is lost again and again under load: identifiers, used-up limits, revocations and epochs
/// that were acknowledged are there.
#[test]
fn a_power_loss_loses_nothing_that_was_acknowledged() {
    let mut random = SeededRandom::new(seed("power loss"));
    let mut trial = Trial::new();
    let mut acknowledged = Acknowledged::default();
    let mut deeds = Deeds::default();
    let rounds = rounds(3, 200);
    for round in 0..rounds {
        let cosigned = trial.live(&mut random, round);
        let luck = random.number();
        eprintln!("power loss {round}: luck {luck}");
        trial.end(Loss::Random(luck));
        assert!(
            trial.place.remembered(&trial.world) >= cosigned,
            "a witness never forgets what it cosigned"
        );
        trial.start(false);
        let latest = std::mem::take(&mut *trial.acknowledged.lock().unwrap());
        check(&trial.world, &latest, usize::MAX);
        acknowledged.absorb(latest);
        let latest = std::mem::take(&mut *trial.deeds.lock().unwrap());
        latest.check(&trial.world);
        deeds.absorb(latest);
        if round % 20 == 19 {
            deeds.check(&trial.world);
        }
    }
    check(&trial.world, &acknowledged, usize::MAX);
    deeds.check(&trial.world);
    eprintln!(
        "{rounds} power losses; acknowledged: {} identifiers in {} requests, {} orders used up, {} revoked; lost: 0",
        acknowledged.items,
        acknowledged.requests,
        deeds.used.len(),
        deeds.revoked.len(),
    );
    assert!(acknowledged.requests > u64::from(rounds) && !deeds.used.is_empty());
    trial.stop();
    trial.world.entries(Side::Vault);
    trial.world.entries(Side::Node);
}

/// A first start makes folders, too: their names are on the disk before anything is answered.
#[test]
fn a_store_that_a_first_start_made_is_there_after_a_power_loss() {
    let mut world = world();
    // In a folder of its own, which nothing else syncs.
    let deeper = "path = \"data/vault.disk/store\"";
    world.replace("vault.toml", "path = \"data/vault\"", deeper);
    let vault = Machine::new(&world, "vault");
    vault.prepare(&mut world, false);
    world.start(Side::Vault, &["--first-start"]);
    world.env.clear();
    world.start(Side::Node, &[]);
    let before = world.health_pseudonyms(&["AB1"]);
    world.kill(Side::Vault);
    vault.lose(&world, Loss::Everything);
    world.start(Side::Vault, &[]);
    let order = world.sign(&world.order("health", &before), QUORUM);
    assert_eq!(
        world.reidentify(&order, "health", &before).ok()["items"][0]["value"],
        "AB1"
    );

    let place = WitnessPlace::prepare(&world);
    let witness = Machine::new(&world, "witness");
    witness.prepare(&mut world, false);
    place.start(&world, &["--first-start"]).unwrap().kill();
    world.env.clear();
    witness.lose(&world, Loss::Everything);
    place.start(&world, &[]).expect("it has its folder").kill();
}

/// What these tests would notice: a disk that says "done" and is not.
#[test]
fn a_disk_that_lies_about_fsync_is_found() {
    let mut trial = Trial::new();
    trial.stop();
    trial.start(true);
    let cards: Vec<_> = (100_000..100_100).map(card).collect();
    let cards: Vec<_> = cards.iter().map(String::as_str).collect();
    let pseudonyms = trial.world.health_pseudonyms(&cards);
    let known = (100_000..100_100).zip(pseudonyms).collect();
    let mut acknowledged = Acknowledged::default();
    acknowledged.pseudonyms.insert(("health", 1), known);
    check(&trial.world, &acknowledged, usize::MAX);
    trial.end(Loss::Everything);
    trial.start(false);
    let order = |person: u32| {
        let pseudonym = &acknowledged.pseudonyms[&("health", 1)][&person];
        let asked = std::slice::from_ref(pseudonym);
        let order = trial
            .world
            .sign(&trial.world.order("health", asked), QUORUM);
        trial.world.reidentify(&order, "health", asked).ok()["items"][0]["code"].clone()
    };
    assert_eq!(
        order(100_000),
        "no-mapping",
        "it is lost, and would be noticed"
    );
}
