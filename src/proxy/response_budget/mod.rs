//! The memory budget of large answers. An answer whose caller is slow to take it stays in memory though the cache has dropped it, so
//! large answers are counted, and refused (503) where the budget is spent. Bytes that several callers are sent at once count once.

mod body;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::Response;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::ProxyError;
use crate::http::body::Body;
use body::BudgetedBody;

/// Answers up to this many bytes are not counted, larger ones in pieces of it, and sent so: a connection takes over no more.
const PIECE: usize = 64 << 10;

pub(super) struct ResponseBudget {
    pieces: Arc<Semaphore>,
    all: usize,
    held: Arc<SharedBodies>,
}

/// Room for an answer that is not there yet.
pub(super) struct Reservation {
    _pieces: OwnedSemaphorePermit,
}

/// By the address of the bytes, which is nobody else's while they are held.
type SharedBodies = Mutex<HashMap<usize, SharedBody>>;

struct SharedBody {
    holders: usize,
    _room: Reservation,
}

impl ResponseBudget {
    /// Room for so many bytes; for one piece at least.
    pub fn new(bytes: usize) -> Self {
        let all = bytes.div_ceil(PIECE).clamp(1, Semaphore::MAX_PERMITS);
        Self {
            pieces: Arc::new(Semaphore::new(all)),
            all,
            held: Arc::default(),
        }
    }

    /// Waits for room for `bytes`, where they are so many that they are counted. Whoever wants more than there is gets all of it.
    pub async fn reserve(&self, bytes: usize) -> Option<Reservation> {
        if bytes <= PIECE {
            return None;
        }
        let permit = self.pieces.clone().acquire_many_owned(self.pieces_of(bytes)).await;
        permit.ok().map(|_pieces| Reservation { _pieces })
    }

    /// Room for what is kept beside an answer, where that leaves half of all for answers: copies that are never finished, because
    /// their readers stand still, are in nobody's way.
    pub fn spare(&self, bytes: usize) -> Option<Reservation> {
        let wanted = self.pieces_of(bytes);
        let left = self.pieces.available_permits().checked_sub(wanted as usize)?;
        if left < self.all / 2 { None } else { self.now(wanted) }
    }

    fn now(&self, pieces: u32) -> Option<Reservation> {
        let permit = self.pieces.clone().try_acquire_many_owned(pieces);
        permit.ok().map(|_pieces| Reservation { _pieces })
    }

    /// Counts the response's body until it has gone out, with the room that was reserved for it, or else what there is now.
    pub fn hold(&self, response: Response<Body>, reserved: Option<Reservation>) -> Result<Response<Body>, ProxyError> {
        let bytes = match response.body() {
            Body::Full(Some(bytes)) if bytes.len() > PIECE => bytes.clone(),
            _ => return Ok(response),
        };
        let holder = self.holder(&bytes, reserved).ok_or_else(ProxyError::no_room)?;
        Ok(response.map(|_| Body::stream(BudgetedBody::new(bytes, holder))))
    }

    fn pieces_of(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.div_ceil(PIECE).min(self.all)).unwrap_or(u32::MAX)
    }

    fn holder(&self, bytes: &Bytes, reserved: Option<Reservation>) -> Option<BodyHold> {
        let at = bytes.as_ptr() as usize;
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        match held.get_mut(&at) {
            Some(entry) => entry.holders += 1,
            None => {
                let room = reserved.or_else(|| self.now(self.pieces_of(bytes.len())))?;
                held.insert(
                    at,
                    SharedBody {
                        holders: 1,
                        _room: room,
                    },
                );
            }
        }
        let held = self.held.clone();
        Some(BodyHold { held, at })
    }
}

struct BodyHold {
    held: Arc<SharedBodies>,
    at: usize,
}

impl Drop for BodyHold {
    fn drop(&mut self) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = held.get_mut(&self.at) {
            entry.holders -= 1;
            if entry.holders == 0 {
                held.remove(&self.at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http_body::Body as _;
    use http_body_util::BodyExt as _;

    use super::body::PATIENCE;
    use super::*;

    fn large(pieces: usize) -> Bytes {
        Bytes::from(vec![1; pieces * PIECE])
    }

    fn hold(room: &ResponseBudget, bytes: &Bytes) -> Option<Response<Body>> {
        room.hold(Response::new(Body::from(bytes.clone())), None).ok()
    }

    #[tokio::test]
    async fn what_is_held_is_counted_until_it_has_gone_out() {
        let room = ResponseBudget::new(3 * PIECE);
        let (one, other) = (large(2), large(2));
        let mut first = hold(&room, &one).unwrap();
        assert!(hold(&room, &other).is_none());
        let again = hold(&room, &one).expect("the same bytes take no more room");
        assert!(hold(&room, &Bytes::from_static(b"small")).is_some());
        let mut sent = 0;
        while let Some(frame) = first.body_mut().frame().await {
            sent += frame.unwrap().into_data().unwrap().len();
        }
        drop(first);
        assert_eq!((sent, room.pieces.available_permits()), (2 * PIECE, 1));
        drop(again);
        assert_eq!(room.pieces.available_permits(), 3);
        assert!(hold(&room, &other).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_for_long_goes_without_the_rest() {
        let room = ResponseBudget::new(3 * PIECE);
        let mut answer = hold(&room, &large(3)).unwrap();
        for _ in 0..2 {
            tokio::time::sleep(PATIENCE - Duration::from_secs(1)).await;
            let frame = answer.body_mut().frame().await.unwrap().unwrap();
            assert_eq!(
                frame.into_data().unwrap().len(),
                PIECE,
                "whoever is slow is not given up"
            );
        }
        assert_eq!(room.pieces.available_permits(), 0);
        tokio::time::sleep(PATIENCE + Duration::from_secs(1)).await;
        assert_eq!(room.pieces.available_permits(), 3);
        assert!(!answer.body().is_end_stream());
        assert!(
            answer.body_mut().frame().await.unwrap().is_err(),
            "it must not look whole"
        );
    }

    #[tokio::test]
    async fn a_piece_that_is_sent_does_not_keep_the_rest() {
        let room = ResponseBudget::new(3 * PIECE);
        let whole = large(3);
        let mut answer = hold(&room, &whole).unwrap();
        let piece = answer.body_mut().frame().await.unwrap().unwrap().into_data().unwrap();
        assert!(!whole.as_ptr_range().contains(&piece.as_ptr()));
    }

    #[test]
    fn copies_leave_half_for_answers() {
        let room = ResponseBudget::new(4 * PIECE);
        let copies = [room.spare(PIECE), room.spare(PIECE), room.spare(PIECE)];
        assert_eq!(copies.map(|copy| copy.is_some()), [true, true, false]);
    }

    #[tokio::test]
    async fn who_reserves_waits_and_is_not_refused() {
        let room = ResponseBudget::new(PIECE);
        let reserved = room.reserve(9 * PIECE).await;
        assert!(
            room.reserve(PIECE).await.is_none(),
            "what is not counted waits for nobody"
        );
        let mut waiting = std::pin::pin!(room.reserve(PIECE + 1));
        assert!(futures_util::poll!(&mut waiting).is_pending());
        assert!(room.spare(1).is_none());
        let held = room.hold(Response::new(Body::from(large(2))), reserved).unwrap();
        assert!(futures_util::poll!(&mut waiting).is_pending());
        drop(held);
        assert!(futures_util::poll!(&mut waiting).is_ready());
    }
}
