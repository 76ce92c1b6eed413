//! Values that are stored as numbers and shown as words, each with both written beside it.

/// Declares an enum without fields whose values have a number in the store and a word in the API.
///
/// Both are promises: a number or a word never changes its meaning, new values take new numbers,
/// and no number is used again. All of them are a snapshot in the tests.
#[macro_export]
macro_rules! stored {
    ($(#[$meta:meta])* $name:ident {
        $($(#[$value_meta:meta])* $value:ident = $number:literal $word:literal),+ $(,)?
    }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$value_meta])* $value),+ }

        impl $name {
            /// Every value, in the order of its declaration.
            pub const ALL: &'static [Self] = &[$(Self::$value),+];

            /// The number in the store.
            pub const fn number(self) -> i64 {
                match self { $(Self::$value => $number),+ }
            }

            /// Reads a number of the store; `None` when it is not one of them.
            pub const fn from_number(number: i64) -> Option<Self> {
                match number { $($number => Some(Self::$value),)+ _ => None }
            }

            /// The word in the API, the log and the command line.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$value => $word),+ }
            }

            /// Reads the word; `None` when it is not one of them.
            pub fn from_name(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$value),)+ _ => None }
            }
        }
    };
}
