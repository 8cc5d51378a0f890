//! Bodies: a request in the pieces that it was made of, and an answer in one buffer that is wiped.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use zeroize::Zeroizing;

/// Up to this many bytes pieces are joined: many small frames cost either side more than the copy.
const JOINED: usize = 64 << 10;

/// A body whose pieces are there already. Small ones are joined in a buffer that is wiped; large
/// ones are not copied.
pub(super) struct PiecesBody {
    pieces: VecDeque<Bytes>,
    left: u64,
}

impl PiecesBody {
    pub(super) fn new(pieces: impl IntoIterator<Item = Bytes>) -> Self {
        let mut pieces: VecDeque<Bytes> = pieces.into_iter().collect();
        let all: usize = pieces.iter().map(Bytes::len).sum();
        if all <= JOINED {
            let mut joined = Zeroizing::new(Vec::with_capacity(all));
            pieces
                .iter()
                .for_each(|piece| joined.extend_from_slice(piece));
            pieces = [Bytes::from_owner(joined)].into();
        }
        let left = all as u64;
        Self { pieces, left }
    }
}

impl Body for PiecesBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.pieces.pop_front();
        self.left -= piece.as_ref().map_or(0, |piece| piece.len() as u64);
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// Reads a body of at most `most` bytes into a buffer that never grows; `None` if it has more.
pub(super) async fn read(
    mut body: Incoming,
    most: usize,
) -> Result<Option<Zeroizing<Vec<u8>>>, hyper::Error> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(most));
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        if let Some(data) = frame?.data_ref() {
            if data.len() > most - bytes.len() {
                return Ok(None);
            }
            bytes.extend_from_slice(data);
        }
    }
    Ok(Some(bytes))
}
