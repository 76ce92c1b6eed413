//! Numbers and words that stand in databases and at callers.

use std::collections::BTreeSet;
use std::fmt::Write;

use delivery::address::AddressVariant;
use delivery::consent::{ConsentKind, ConsentWord};
use delivery::counter::Metric;
use delivery::event::{EventKind, Source};
use delivery::hold::HoldScope;
use delivery::identity::IdentityKind;
use delivery::message::{BusinessScope, DedupeChoice, Kind, Policy, Priority, WindowChoice};
use delivery::outcome::{OutcomeKind, ProviderStatus, SettledBy};
use delivery::progress::{PauseSource, Reason, WatchKind};
use delivery::state::State;
use delivery::window::WindowCheck;

macro_rules! table {
    ($($name:ident),+ $(,)?) => {{
        let mut text = String::new();
        $(
            writeln!(text, "{}", stringify!($name)).unwrap();
            let mut numbers = BTreeSet::new();
            for &value in $name::ALL {
                writeln!(text, "{:>4} {}", value.number(), value.as_str()).unwrap();
                assert_eq!($name::from_number(value.number()), Some(value));
                assert_eq!($name::from_name(value.as_str()), Some(value));
                assert!(numbers.insert(value.number()), "{value:?} has a number of its own");
            }
            assert_eq!($name::from_number(-1), None);
            assert_eq!($name::from_name("?"), None);
        )+
        text
    }};
}

#[test]
fn numbers_and_words_never_change_their_meaning() {
    let text = table!(
        State,
        EventKind,
        Source,
        ProviderStatus,
        OutcomeKind,
        SettledBy,
        Kind,
        Priority,
        Policy,
        WindowChoice,
        WindowCheck,
        DedupeChoice,
        BusinessScope,
        ConsentKind,
        ConsentWord,
        AddressVariant,
        IdentityKind,
        Metric,
        Reason,
        WatchKind,
        HoldScope,
        PauseSource,
    );
    insta::assert_snapshot!(text);
}
