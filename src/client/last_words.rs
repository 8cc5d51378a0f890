//! A connection that still reads what the server sent before it closed.
//!
//! A server that refuses says why and closes: with an alert, because a client of TLS 1.3 has its
//! handshake behind it before the server has looked at its certificate; or with an answer, in the
//! middle of a body that is too large. The client is still writing then, and meets a broken pipe,
//! while the reason lies unread in the socket. So a write that finds the connection closed is not
//! an error yet: later writes are dropped, and the next read, which comes when everything is
//! "written", gives what the server sent, or else the error.

use std::io;

use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};

/// Puts a [`LastWords`] around the connection that the connectors before it made.
#[derive(Debug)]
pub(super) struct HearLastWords;

impl<In: Transport> Connector<In> for HearLastWords {
    type Out = LastWords<In>;

    fn connect(
        &self,
        _: &ConnectionDetails<'_>,
        made: Option<In>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        Ok(made.map(|inner| LastWords {
            inner,
            closed: None,
        }))
    }
}

/// A connection that may be closed for writing while there is something to read.
#[derive(Debug)]
pub(super) struct LastWords<T> {
    inner: T,
    /// Why nothing more can be written.
    closed: Option<io::Error>,
}

impl<T: Transport> Transport for LastWords<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        if self.closed.is_some() {
            return Ok(());
        }
        match self.inner.transmit_output(amount, timeout) {
            Err(ureq::Error::Io(error)) if says_closed(&error) => {
                self.closed = Some(error);
                Ok(())
            }
            written => written,
        }
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        match (self.inner.await_input(timeout), self.closed.take()) {
            (Ok(true), closed) => {
                self.closed = closed;
                Ok(true)
            }
            (_, Some(error)) => Err(error.into()),
            (nothing, None) => nothing,
        }
    }

    fn is_open(&mut self) -> bool {
        self.closed.is_none() && self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}

fn says_closed(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
    )
}
