//! cloison: a hardened vault for sector identifiers.
//!
//! Rooms, from the bottom up. A room knows only rooms that stand before it in this table
//! (`tests/rules/house.rs` checks it), and [`store`] of those only [`code`], [`clock`] and
//! [`system`]:
//!
//! | room | what it holds |
//! |---|---|
//! | [`code`], [`clock`] | the closed list of outward codes; time and randomness as parameters |
//! | [`system`] | system calls as safe functions; how locks are taken |
//! | [`metrics`] | counters and gauges |
//! | [`refusal`] | why a request is refused: a code, a sentence, when to come back |
//! | [`lines`] | one rule for the lines of lists, batches and secret files: ends, byte order marks |
//! | [`files`] | files that are whole or absent, also after a crash |
//! | [`id`], [`json`], [`jws`] | the names by which things refer to one another; strict JSON; strict JWS: one payload, many signatures |
//! | [`tlog`] | the transparency log after C2SP: a library that knows nothing of cloison |
//! | [`statement`] | what people sign, and the one loop that verifies it and counts persons by key |
//! | [`identifier`], [`pseudonym`], [`register`] | what the domain is: types that cannot be wrong |
//! | [`keys`], [`seal`] | root secrets and the key schedule; the two envelopes |
//! | [`safe`] | keys that are sealed and unsealed |
//! | [`utis`] | where UTIs come from; the bytes by which a vault asks an identity source for them, and the answer's |
//! | [`store`] | rows behind one interface; the only room that knows RocksDB; sees sealed bytes, never a key |
//! | [`journal`] | places that hold the log and its side records off the machine: writing one, reading one |
//! | [`audit`], [`commit`] | audit entries, and the logs that they stand in; the one writer that makes effect and entry durable together |
//! | [`quota`] | items a second and a day: how much each organisation may ask for |
//! | [`entity`] | what vault, node and identity source are alike: register, store, log, writer, clock, cosigners, the order lock; how it starts |
//! | [`vault`], [`access`] | the vault's state; the authoriser, who alone makes permits |
//! | [`node`] | the authority node's state |
//! | [`identity`] | the identity source: its state, and how it derives UTIs for the vault: checked, counted, logged |
//! | [`tokenize`], [`epoch`], [`order`] | use cases: plain, synchronous |
//! | [`losses`] | after a restore without places: people confirm epochs, and that erasures were lodged again |
//! | [`link`], [`execution`] | the node's way to the vault; the steps in which either side carries out an order |
//! | [`suspension`] | shuts out a register entry at once, by one register key |
//! | [`reload`] | puts a changed register in force while a side runs; the registers that were in force |
//! | [`reidentify`], [`migrate`], [`unseal`], [`renewal`] | use cases again: the two uses of an order, and the node's keys |
//! | [`resumption`] | acknowledging at the node that the vault's log lost entries at a restore |
//! | [`backup`] | backups of a store: taken while it runs, signed, verified, pruned |
//! | [`inspection`], [`rights`] | use cases: those who watch, and the persons concerned |
//! | [`restore`] | restores a store from a backup, and brings it to the end of its log |
//! | [`export`] | a stopped vault's store as one flat file that other programs read |
//! | [`status`] | what a caller may know of a server, by their role |
//! | [`config`] | configuration files |
//! | [`http`], [`client`] | the doors, and the client that knocks at them |
//! | [`identity_link`] | the vault's way to its identity sources: connections, failover, single requests that travel together |
//! | [`certificates`] | one inspection of every TLS file: there, private, fitting, in date, in the register |
//! | [`transfer`] | a file in, a file out: batches at the pace of the quota, whole or not there, gone on with after a crash |
//! | [`terminal`] | what programs need at a terminal: errors with a remedy, printing, files, the log |
//! | [`deployment`] | makes a new deployment: keys, certificates, register, configuration |
//! | [`joining`] | the block by which a client asks to join, and merging such blocks into the register |
//! | [`serve`] | the composition root: opens what a server is, starts its tasks, drains it |
//! | [`load`] | the load generator: the benchmark and the demonstration |
//! | [`cli`] | the command line |
#![warn(missing_docs)]
#![forbid(unsafe_op_in_unsafe_fn)]

pub mod access;
pub mod audit;
pub mod backup;
pub mod certificates;
pub mod cli;
pub mod client;
pub mod clock;
pub mod code;
pub mod commit;
pub mod config;
pub mod deployment;
pub mod entity;
pub mod epoch;
pub mod execution;
pub mod export;
pub mod files;
pub mod http;
pub mod id;
pub mod identifier;
pub mod identity;
pub mod identity_link;
pub mod inspection;
pub mod joining;
pub mod journal;
pub mod json;
pub mod jws;
pub mod keys;
pub mod lines;
pub mod link;
pub mod load;
pub mod losses;
pub mod metrics;
pub mod migrate;
pub mod node;
pub mod order;
pub mod pseudonym;
pub mod quota;
pub mod refusal;
pub mod register;
pub mod reidentify;
pub mod reload;
pub mod renewal;
pub mod restore;
pub mod resumption;
pub mod rights;
pub mod safe;
pub mod seal;
pub mod serve;
pub mod statement;
pub mod status;
pub mod store;
pub mod suspension;
pub mod system;
pub mod terminal;
pub mod tlog;
pub mod tokenize;
pub mod transfer;
pub mod unseal;
pub mod utis;
pub mod vault;
