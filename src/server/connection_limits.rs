//! Counts and limits the connections from each IP address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

type AddressCounts = Mutex<HashMap<IpAddr, usize>>;

pub(super) struct ConnectionLimits {
    limit: Option<usize>,
    open: Arc<AddressCounts>,
}

/// Counts one connection of an address until it is dropped.
pub(super) struct ConnectionPermit {
    /// `None` if connections are not limited.
    taken: Option<(Arc<AddressCounts>, IpAddr)>,
}

impl ConnectionLimits {
    pub(super) fn new(limit: Option<usize>) -> Self {
        let open = Arc::default();
        Self { limit, open }
    }

    /// `None` if the address has reached its limit.
    pub(super) fn admit(&self, address: IpAddr) -> Option<ConnectionPermit> {
        let Some(limit) = self.limit else {
            return Some(ConnectionPermit { taken: None });
        };
        let address = address.to_canonical();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(address).or_default();
        if *count >= limit {
            return None;
        }
        *count += 1;
        let taken = Some((self.open.clone(), address));
        Some(ConnectionPermit { taken })
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let Some((open, address)) = &self.taken else { return };
        let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(address) {
            *count -= 1;
            if *count == 0 {
                open.remove(address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_by_address_and_given_back() {
        let addresses = ConnectionLimits::new(Some(2));
        let one: IpAddr = "192.0.2.1".parse().unwrap();
        let mapped = "::ffff:192.0.2.1".parse().unwrap();
        let seats = [addresses.admit(one), addresses.admit(mapped)];
        assert!(seats.iter().all(Option::is_some) && addresses.admit(one).is_none());
        assert!(addresses.admit("192.0.2.2".parse().unwrap()).is_some());
        drop(seats);
        assert!(addresses.open.lock().unwrap().is_empty());
        assert!(addresses.admit(one).is_some());
    }
}
