//! The 67 Brazilian area codes (DDD), from `data/br_ddd.csv`.

use std::sync::LazyLock;

/// One area code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AreaCode {
    /// The two digits.
    pub ddd: u8,
    /// The state (UF) in which most of its lines are. 61 also covers towns of Goiás around the
    /// Federal District.
    pub uf: &'static str,
    /// The macro-region of the state, in English.
    pub region: &'static str,
    /// The best-known city.
    pub main_city: &'static str,
    /// IANA name of its time zone. The zones of libphonenumber are too coarse here: they put
    /// Recife on Fernando de Noronha.
    pub timezone: &'static str,
}

/// The area code of two digits, or `None` when the plan has no such code.
pub fn area_code(ddd: u8) -> Option<&'static AreaCode> {
    TABLE.get(usize::from(ddd))?.as_ref()
}

/// Indexed by the code, because every Brazilian number that is read asks for one.
static TABLE: LazyLock<[Option<AreaCode>; 100]> = LazyLock::new(|| {
    let mut table = [None; 100];
    for area in include_str!("../../data/br_ddd.csv")
        .lines()
        .skip(1)
        .filter_map(read_row)
    {
        if let Some(place) = table.get_mut(usize::from(area.ddd)) {
            *place = Some(area);
        }
    }
    table
});

/// The file is part of the program and no cell of it is quoted; the tests read it a second time
/// with a CSV library and compare.
fn read_row(line: &'static str) -> Option<AreaCode> {
    let mut cells = line.split(',');
    Some(AreaCode {
        ddd: cells.next()?.parse().ok()?,
        uf: cells.next()?,
        region: cells.next()?,
        main_city: cells.next()?,
        timezone: cells.next()?,
    })
}
