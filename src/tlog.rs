//! The transparency log after C2SP: a library by itself, which knows neither the meaning of entries
//! nor where a log is stored.
//!
//! | module | what it holds | after |
//! |---|---|---|
//! | [`tree`], [`proof`] | the Merkle tree by its right edge; inclusion and consistency | RFC 6962, RFC 9162 |
//! | [`path`] | the names of a log's resources | C2SP `tlog-tiles` |
//! | [`note`], [`checkpoint`] | signed notes, cosignatures, and the heads of logs | C2SP `signed-note`, `tlog-cosignature`, `tlog-checkpoint` |
//! | [`proof_file`] | one entry with its proof, in one text | C2SP `tlog-proof` |
//! | [`source`], [`walk`] | where a log is read from; the check of all of it, down to each entry | |
//! | [`witness`] | cosigning other logs | C2SP `tlog-witness` |
//! | `base64` | Base64 in its one spelling | RFC 4648 |
//! | [`checkpoint_file`] | a file that holds one checkpoint and is changed by compare-and-swap | |

pub(crate) mod base64;
pub mod checkpoint;
pub mod checkpoint_file;
pub mod note;
pub mod path;
pub mod proof;
pub mod proof_file;
pub mod source;
pub mod tree;
pub mod walk;
pub mod witness;
