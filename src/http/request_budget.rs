//! The memory budget for pushed manifests. A push reserves memory piece by piece as bytes arrive, so that callers who send nothing do not
//! block others. A push waits for memory only for its first piece, and is refused if there is none for a further one: pushes that each
//! hold a part and wait for more would wait for each other for ever.

use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::http::body::{Body, BoxError};
use crate::http::collect::next_chunk;

/// Bytes of one piece.
const PIECE: usize = 64 << 10;

pub(crate) struct RequestBudget {
    /// For the first piece of each manifest, separate so that waiting pushes do not take memory that running ones need.
    first: Semaphore,
    /// For all further pieces, for which nobody waits.
    more: Semaphore,
}

/// A manifest, and the reservation of its memory, which ends when it is dropped.
pub(crate) type ReadBody<'a> = (Bytes, RequestReservation<'a>);

#[derive(Default)]
pub(crate) struct RequestReservation<'a> {
    first: Option<SemaphorePermit<'a>>,
    more: Option<SemaphorePermit<'a>>,
}

/// Why a manifest was not read to its end.
#[derive(Debug)]
pub(crate) enum ReadError {
    NoRoom,
    Broken(BoxError),
}

impl<'a> RequestReservation<'a> {
    /// Grows the reservation to as many pieces.
    async fn grow(&mut self, room: &'a RequestBudget, pieces: usize) -> Result<(), ReadError> {
        if self.first.is_none() {
            let first = room.first.acquire().await;
            self.first = Some(first.map_err(|closed| ReadError::Broken(closed.into()))?);
        }
        let has = 1 + self.more.as_ref().map_or(0, SemaphorePermit::num_permits);
        let wanted = u32::try_from(pieces.saturating_sub(has)).map_err(|_| ReadError::NoRoom)?;
        if wanted == 0 {
            return Ok(());
        }
        let permit = room.more.try_acquire_many(wanted).map_err(|_| ReadError::NoRoom)?;
        match &mut self.more {
            Some(more) => more.merge(permit),
            None => self.more = Some(permit),
        }
        Ok(())
    }
}

impl RequestBudget {
    /// A budget of so many bytes, half of them for first pieces; at least enough for one manifest of `largest` bytes.
    pub fn new(bytes: usize, largest: usize) -> Self {
        let all = bytes.div_ceil(PIECE);
        let first = (all / 2).clamp(1, Semaphore::MAX_PERMITS);
        let more = all.saturating_sub(first).max(largest.div_ceil(PIECE));
        Self {
            first: Semaphore::new(first),
            more: Semaphore::new(more.min(Semaphore::MAX_PERMITS)),
        }
    }

    /// Reads the whole body; `None` if it is longer than `limit` bytes. Waits for memory for its first piece.
    pub async fn read(&self, mut body: Body, limit: usize) -> Result<Option<ReadBody<'_>>, ReadError> {
        if body.size_hint().lower() > limit as u64 {
            return Ok(None);
        }
        let mut all = BytesMut::new();
        let mut taken = RequestReservation::default();
        while let Some(data) = next_chunk(&mut body).await.map_err(ReadError::Broken)? {
            let length = all.len() + data.len();
            if length > limit {
                return Ok(None);
            }
            taken.grow(self, length.div_ceil(PIECE)).await?;
            all.extend_from_slice(&data);
        }
        Ok(Some((all.freeze(), taken)))
    }
}

#[cfg(test)]
mod tests {
    use http_body::Frame;
    use http_body_util::StreamBody;

    use super::*;

    fn body(pieces: Vec<Vec<u8>>) -> Body {
        let frames = pieces
            .into_iter()
            .map(|piece| Ok::<_, BoxError>(Frame::data(Bytes::from(piece))));
        Body::stream(StreamBody::new(futures_util::stream::iter(frames)))
    }

    /// Pieces to begin with, and further ones.
    fn left(room: &RequestBudget) -> (usize, usize) {
        (room.first.available_permits(), room.more.available_permits())
    }

    #[tokio::test]
    async fn room_is_taken_as_bytes_come_and_given_back() {
        let room = RequestBudget::new(4 * PIECE, PIECE);
        let (bytes, taken) = room
            .read(body(vec![vec![1; PIECE], vec![2; 1]]), 1 << 20)
            .await
            .unwrap()
            .unwrap();
        assert_eq!((bytes.len(), left(&room)), (PIECE + 1, (1, 1)));
        drop(taken);
        assert_eq!(left(&room), (2, 2));
    }

    #[tokio::test]
    async fn who_holds_a_part_does_not_wait_for_more() {
        let room = RequestBudget::new(4 * PIECE, PIECE);
        let half_sent = || {
            let (come, to_come) = (vec![1; 2 * PIECE], futures_util::stream::pending());
            let come = futures_util::stream::iter([Ok::<_, BoxError>(Frame::data(Bytes::from(come)))]);
            Body::stream(StreamBody::new(futures_util::StreamExt::chain(come, to_come)))
        };
        let mut others = [(); 2].map(|()| Box::pin(room.read(half_sent(), 1 << 20)));
        assert!(futures_util::poll!(&mut others[0]).is_pending());
        assert!(futures_util::poll!(&mut others[1]).is_pending());
        assert_eq!(left(&room), (0, 0));
        drop(others);
        // Of two who want all there is, one is told so at once.
        let mut greedy = Box::pin(room.read(half_sent(), 1 << 20));
        assert!(futures_util::poll!(&mut greedy).is_pending());
        let refused = room.read(body(vec![vec![1; PIECE], vec![1; 2 * PIECE]]), 1 << 20).await;
        assert!(matches!(refused, Err(ReadError::NoRoom)));
        assert!(room.read(body(vec![vec![1; PIECE]]), 1 << 20).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn the_largest_always_finds_room_alone() {
        let room = RequestBudget::new(1, 4 * PIECE);
        let largest = body(vec![vec![1; PIECE]; 4]);
        assert!(room.read(largest, 4 * PIECE).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn who_sends_nothing_holds_nothing() {
        let room = RequestBudget::new(PIECE, 1);
        let silent = Body::stream(StreamBody::new(futures_util::stream::pending::<
            Result<Frame<Bytes>, BoxError>,
        >()));
        let waiting = room.read(silent, 1 << 20);
        let mut waiting = std::pin::pin!(waiting);
        assert!(futures_util::poll!(&mut waiting).is_pending());
        assert!(room.read(body(vec![vec![1; 9]]), 1 << 20).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn what_is_too_long_is_none() {
        let room = RequestBudget::new(4 * PIECE, 10);
        assert!(
            room.read(body(vec![vec![1; 9], vec![1; 2]]), 10)
                .await
                .unwrap()
                .is_none()
        );
        assert!(
            room.read(Body::from(Bytes::from(vec![1; 11])), 10)
                .await
                .unwrap()
                .is_none()
        );
        assert_eq!(left(&room), (2, 2));
    }
}
