//! The listeners and the client, over real TLS on loopback.

mod certificates;
mod hostile;
mod pki;
mod refusals;
mod requests;
mod serving;
mod shutdown;
