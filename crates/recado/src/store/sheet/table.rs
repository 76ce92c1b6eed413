//! One table of a sheet: what was loaded, and what the batch has changed.

use std::collections::HashMap;
use std::hash::Hash;

/// Rows by key. `None` as a row means: looked for, and not there.
pub(crate) struct Table<K, V> {
    loaded: HashMap<K, Option<V>>,
    changed: HashMap<K, Option<V>>,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self {
            loaded: HashMap::new(),
            changed: HashMap::new(),
        }
    }
}

impl<K: Clone + Eq + Hash, V> Table<K, V> {
    /// A row as it is now; `None` when it was not loaded.
    pub(crate) fn get(&self, key: &K) -> Option<Option<&V>> {
        let row = self.changed.get(key).or_else(|| self.loaded.get(key));
        row.map(Option::as_ref)
    }

    /// A row as it is on disk.
    pub(crate) fn load(&mut self, key: K, row: Option<V>) {
        self.loaded.insert(key, row);
    }

    /// Inserts, changes or deletes a row.
    pub(crate) fn set(&mut self, key: K, row: Option<V>) {
        self.changed.insert(key, row);
    }

    /// What has changed.
    pub(crate) fn changes(&self) -> impl Iterator<Item = (&K, Option<&V>)> {
        self.changed.iter().map(|(key, row)| (key, row.as_ref()))
    }

    /// Every row as it is now.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (&K, &V)> {
        let unchanged = self
            .loaded
            .iter()
            .filter(|(key, _)| !self.changed.contains_key(*key));
        self.changed
            .iter()
            .chain(unchanged)
            .filter_map(|(key, row)| Some((key, row.as_ref()?)))
    }

    /// Drops what has changed.
    pub(crate) fn forget(&mut self) {
        self.changed.clear();
    }
}
