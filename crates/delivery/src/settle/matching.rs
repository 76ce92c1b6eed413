//! The assignment of the greatest weight between attempts and messages, where anything may stay
//! alone (the Hungarian method, with potentials; cubic in the size, which is bounded).

use super::score::{CLOSENESS_MAX, Score};
use crate::limits::SETTLE_MATCHES_MAX;

/// Room for the sum of all closeness below the points.
const POINT: i64 = 1 << 20;

// As many times closeness as there may be pairs.
const _: () = assert!(SETTLE_MATCHES_MAX < 256 && 256 * CLOSENESS_MAX < POINT);

/// What each pair of a row and a column is worth; nothing when it is impossible.
#[derive(Clone)]
pub(super) struct Weights {
    rows: Vec<Vec<i64>>,
    columns: usize,
}

/// The best assignment.
pub(super) struct Best {
    /// For each row its column; columns beyond the messages stand for none.
    columns: Vec<usize>,
    total: i64,
}

impl Weights {
    pub(super) fn new(scores: &[Vec<Option<Score>>]) -> Self {
        let weigh = |score: &Option<Score>| {
            score.map_or(0, |score| {
                score
                    .points
                    .saturating_mul(POINT)
                    .saturating_add(score.closeness)
            })
        };
        Self {
            columns: scores.first().map_or(0, Vec::len),
            rows: scores
                .iter()
                .map(|row| row.iter().map(weigh).collect())
                .collect(),
        }
    }

    /// The same, with none of `rows` at `column`.
    pub(super) fn without(&self, rows: &[usize], column: usize) -> Self {
        let mut weights = self.clone();
        for (at, row) in weights.rows.iter_mut().enumerate() {
            if rows.contains(&at)
                && let Some(weight) = row.get_mut(column)
            {
                *weight = 0;
            }
        }
        weights
    }

    fn at(&self, row: usize, column: usize) -> i64 {
        let found = self.rows.get(row).and_then(|row| row.get(column));
        found.copied().unwrap_or(0)
    }
}

impl Best {
    /// The points of all pairs together.
    pub(super) fn points(&self) -> i64 {
        self.total.div_euclid(POINT)
    }

    /// The pairs that are worth something.
    pub(super) fn pairs(&self, weights: &Weights) -> Vec<(usize, usize)> {
        let pairs = self.columns.iter().copied().enumerate();
        pairs
            .filter(|(row, column)| weights.at(*row, *column) > 0)
            .collect()
    }
}

/// Finds the assignment of the greatest weight. Each row has a column of its own in which it stays
/// alone, so there are always enough.
#[expect(
    clippy::indexing_slicing,
    reason = "every index is below the length that its vector was made with"
)]
pub(super) fn best(weights: &Weights) -> Best {
    let (n, m) = (weights.rows.len(), weights.columns + weights.rows.len());
    // Rows and columns count from 1 here; 0 is the row under way.
    let (mut u, mut v) = (vec![0_i64; n + 1], vec![0_i64; m + 1]);
    let (mut row_of, mut way) = (vec![0_usize; m + 1], vec![0_usize; m + 1]);
    for row in 1..=n {
        row_of[0] = row;
        let mut column = 0;
        let (mut least, mut used) = (vec![i64::MAX; m + 1], vec![false; m + 1]);
        while row_of[column] != 0 {
            used[column] = true;
            let (from, mut delta, mut next) = (row_of[column], i64::MAX, 0);
            for j in 1..=m {
                if used[j] {
                    continue;
                }
                let cost = -weights.at(from - 1, j - 1) - u[from] - v[j];
                if cost < least[j] {
                    (least[j], way[j]) = (cost, column);
                }
                if least[j] < delta {
                    (delta, next) = (least[j], j);
                }
            }
            for j in 0..=m {
                if used[j] {
                    u[row_of[j]] += delta;
                    v[j] -= delta;
                } else if least[j] != i64::MAX {
                    least[j] -= delta;
                }
            }
            column = next;
        }
        while column != 0 {
            let before = way[column];
            row_of[column] = row_of[before];
            column = before;
        }
    }
    let mut columns = vec![m; n];
    let mut total = 0;
    for j in 1..=m {
        if row_of[j] != 0 {
            columns[row_of[j] - 1] = j - 1;
            total += weights.at(row_of[j] - 1, j - 1);
        }
    }
    Best { columns, total }
}
