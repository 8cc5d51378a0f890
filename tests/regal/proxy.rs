//! A wire between node and vault that a test can hold: bytes pass, or wait, in either direction.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::common::{Door, Setup, Side, World};

/// The wire.
pub struct Wire {
    hold_questions: Arc<AtomicBool>,
    hold_answers: Arc<AtomicBool>,
    cut: Arc<AtomicBool>,
    waiting: Arc<AtomicU64>,
}

impl Wire {
    /// A world whose node reaches the vault through a wire; both run.
    pub fn world() -> (World, Wire) {
        Self::world_with(Setup {
            log: "info",
            ..Setup::default()
        })
    }

    /// The same, where the world begins otherwise.
    pub fn world_with(setup: Setup) -> (World, Wire) {
        let mut world = World::with(Setup {
            start: false,
            ..setup
        });
        let vault = world.address(Door::Control);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        world.replace(
            "node.toml",
            &format!(":{}", vault.port()),
            &format!(":{port}"),
        );
        let wire = Wire {
            hold_questions: Arc::default(),
            hold_answers: Arc::default(),
            cut: Arc::default(),
            waiting: Arc::default(),
        };
        wire.run(listener, vault);
        world.start(Side::Vault, &[]);
        world.start(Side::Node, &[]);
        (world, wire)
    }

    fn run(&self, listener: TcpListener, vault: SocketAddr) {
        let (questions, answers) = (self.hold_questions.clone(), self.hold_answers.clone());
        let (cut, waiting) = (self.cut.clone(), self.waiting.clone());
        std::thread::spawn(move || {
            for node in listener.incoming().flatten() {
                let Ok(vault) = TcpStream::connect(vault) else {
                    continue;
                };
                if cut.load(Ordering::SeqCst) {
                    continue;
                }
                let pair = (node.try_clone().unwrap(), vault.try_clone().unwrap());
                // The vault's part of the handshake passes: if it were held, no question would
                // follow.
                let greeted = Arc::new(AtomicBool::new(false));
                let (hold, greeting) = (questions.clone(), greeted.clone());
                let mut sent = Vec::new();
                let hears = move |bytes: &[u8]| {
                    if !greeting.load(Ordering::SeqCst) {
                        sent.extend_from_slice(bytes);
                        greeting.store(exceeds_one_record(&sent), Ordering::SeqCst);
                    }
                };
                pump(
                    node,
                    vault,
                    cut.clone(),
                    waiting.clone(),
                    move || hold.load(Ordering::SeqCst),
                    hears,
                );
                let hold = answers.clone();
                let holds = move || hold.load(Ordering::SeqCst) && greeted.load(Ordering::SeqCst);
                pump(pair.1, pair.0, cut.clone(), waiting.clone(), holds, |_| ());
            }
        });
    }

    pub fn hold_questions(&self, hold: bool) {
        self.hold_questions.store(hold, Ordering::SeqCst);
    }

    pub fn hold_answers(&self, hold: bool) {
        self.hold_answers.store(hold, Ordering::SeqCst);
    }

    /// Cuts the wire, or mends it.
    pub fn cut(&self, cut: bool) {
        self.cut.store(cut, Ordering::SeqCst);
        if cut {
            // Until everybody has seen it: what waits must not pass when the wire is mended.
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Bytes that wait or waited to be let through since this was last asked.
    pub fn waited(&self) -> u64 {
        self.waiting.swap(0, Ordering::SeqCst)
    }
}

/// Whether a client has sent more than its ClientHello (RFC 8446, section 5.1: five bytes, the last
/// two a length).
fn exceeds_one_record(sent: &[u8]) -> bool {
    sent.len() > 5 && sent.len() > 5 + usize::from(u16::from_be_bytes([sent[3], sent[4]]))
}

fn pump(
    mut from: TcpStream,
    mut to: TcpStream,
    cut: Arc<AtomicBool>,
    waiting: Arc<AtomicU64>,
    holds: impl Fn() -> bool + Send + 'static,
    mut passed: impl FnMut(&[u8]) + Send + 'static,
) {
    std::thread::spawn(move || {
        let mut piece = vec![0; 65_536];
        // What waits is kept here and not in the socket: there it would be lost when its sender is
        // killed.
        let (mut kept, mut ended) = (Vec::new(), false);
        from.set_read_timeout(Some(Duration::from_millis(5)))
            .unwrap();
        while !(cut.load(Ordering::SeqCst) || ended && kept.is_empty()) {
            match from.read(&mut piece) {
                _ if ended => std::thread::sleep(Duration::from_millis(5)),
                Ok(0) => ended = true,
                Ok(n) => kept.extend_from_slice(&piece[..n]),
                Err(error)
                    if matches!(
                        error.kind(),
                        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                    ) => {}
                Err(_) => ended = true,
            }
            if holds() {
                waiting.fetch_max(kept.len() as u64, Ordering::SeqCst);
            } else if cut.load(Ordering::SeqCst) {
                // Cut while it was held: let go afterwards, nothing of it passes.
                break;
            } else if to.write_all(&kept).is_err() {
                break;
            } else {
                passed(&kept);
                kept.clear();
            }
        }
        // Each direction ends by itself: what is held in the other one may still arrive.
        let _ = to.shutdown(std::net::Shutdown::Write);
        let _ = from.shutdown(std::net::Shutdown::Read);
    });
}
