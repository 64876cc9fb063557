//! Memory for manifests on their way up. A piece is taken when bytes have come that need it, so whoever sends slowly, or nothing,
//! keeps nobody else from pushing.

use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::body::{Body, BoxError};

/// Bytes of one piece.
const PIECE: usize = 64 << 10;

pub(super) struct PushRoom {
    pieces: Semaphore,
}

/// A manifest, and the room that it takes for as long as the second lives.
pub(super) type Read<'a> = (Bytes, Option<SemaphorePermit<'a>>);

impl PushRoom {
    /// Room for so many bytes; for one piece at least.
    pub fn new(bytes: usize) -> Self {
        let pieces = bytes.div_ceil(PIECE).clamp(1, Semaphore::MAX_PERMITS);
        Self {
            pieces: Semaphore::new(pieces),
        }
    }

    /// The whole body, or `None` when it is longer than `limit` bytes. Waits where there is no room.
    pub async fn read(&self, mut body: Body, limit: usize) -> Result<Option<Read<'_>>, BoxError> {
        if body.size_hint().lower() > limit as u64 {
            return Ok(None);
        }
        let mut all = BytesMut::new();
        let mut held: Option<SemaphorePermit<'_>> = None;
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            let length = all.len() + data.len();
            if length > limit {
                return Ok(None);
            }
            let has = held.as_ref().map_or(0, SemaphorePermit::num_permits);
            let more = u32::try_from(length.div_ceil(PIECE).saturating_sub(has))?;
            if more > 0 {
                let permit = self.pieces.acquire_many(more).await?;
                match &mut held {
                    Some(held) => held.merge(permit),
                    None => held = Some(permit),
                }
            }
            all.extend_from_slice(&data);
        }
        Ok(Some((all.freeze(), held)))
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

    #[tokio::test]
    async fn room_is_taken_as_bytes_come_and_given_back() {
        let room = PushRoom::new(4 * PIECE);
        let (bytes, held) = room
            .read(body(vec![vec![1; PIECE], vec![2; 1]]), 1 << 20)
            .await
            .unwrap()
            .unwrap();
        assert_eq!((bytes.len(), room.pieces.available_permits()), (PIECE + 1, 2));
        drop(held);
        assert_eq!(room.pieces.available_permits(), 4);
    }

    #[tokio::test]
    async fn who_sends_nothing_holds_nothing() {
        let room = PushRoom::new(PIECE);
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
        let room = PushRoom::new(4 * PIECE);
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
        assert_eq!(room.pieces.available_permits(), 4);
    }
}
