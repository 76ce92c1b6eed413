//! Numbers of rows, a type for each table that others point to, so that a person is never taken for
//! a message. Whoever keeps the rows gives the numbers; the rules only pass them on and compare.

macro_rules! row_numbers {
    ($($(#[$meta:meta])* $name:ident),+ $(,)?) => {
        $(
            $(#[$meta])*
            #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
            pub struct $name(pub i64);

            impl std::fmt::Display for $name {
                fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    self.0.fmt(f)
                }
            }
        )+
    };
}

row_numbers! {
    /// The row of a message.
    MessageRow,
    /// A person. The number is that of the identity by which they were met first.
    PersonRow,
    /// The row of an identity: one address of a person.
    IdentityRow,
    /// The row of a sender.
    SenderRow,
    /// The row of an attempt; time-ordered.
    AttemptRow,
    /// The row of a cohort.
    CohortRow,
    /// The row of a hold.
    HoldRow,
}
