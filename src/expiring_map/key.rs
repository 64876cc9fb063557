//! Keys of any type, hashed and compared through a table. A key is looked up without a copy of it.

use std::any::Any;
use std::borrow::Borrow;
use std::hash::{Hash, Hasher};

/// A key of any type.
pub(super) trait ErasedKey: Any + Send + Sync {
    fn hash_to(&self, state: &mut dyn Hasher);
    fn equals(&self, other: &dyn ErasedKey) -> bool;
    fn to_box(&self) -> AnyKey;
}

impl<K: Hash + Eq + Clone + Send + Sync + 'static> ErasedKey for K {
    fn hash_to(&self, mut state: &mut dyn Hasher) {
        self.hash(&mut state);
    }

    fn equals(&self, other: &dyn ErasedKey) -> bool {
        (other as &dyn Any).downcast_ref() == Some(self)
    }

    fn to_box(&self) -> AnyKey {
        AnyKey::new(self.clone())
    }
}

impl Hash for dyn ErasedKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.hash_to(state);
    }
}

impl PartialEq for dyn ErasedKey {
    fn eq(&self, other: &Self) -> bool {
        self.equals(other)
    }
}

impl Eq for dyn ErasedKey {}

impl ToOwned for dyn ErasedKey {
    type Owned = AnyKey;

    fn to_owned(&self) -> AnyKey {
        self.to_box()
    }
}

/// A key that a map owns.
pub(super) struct AnyKey(Box<dyn ErasedKey>);

impl AnyKey {
    pub(super) fn new<K: ErasedKey>(key: K) -> Self {
        Self(Box::new(key))
    }

    pub(super) fn downcast<K: 'static>(&self) -> Option<&K> {
        (&*self.0 as &dyn Any).downcast_ref()
    }
}

impl Borrow<dyn ErasedKey> for AnyKey {
    fn borrow(&self) -> &dyn ErasedKey {
        &*self.0
    }
}

impl Hash for AnyKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl PartialEq for AnyKey {
    fn eq(&self, other: &Self) -> bool {
        *self.0 == *other.0
    }
}

impl Eq for AnyKey {}
