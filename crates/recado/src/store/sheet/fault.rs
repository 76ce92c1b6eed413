//! Mistakes to plant in a sheet.

/// A mistake to plant, to see that the tests find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Reports with a code that an abandoned run noted stay known.
    CodedReportsStay,
    /// Messages that the batch itself holds are not found when the person is released.
    HeldIsForgotten,
    /// Messages that the batch itself accepts are not found when the person opts out.
    AcceptedIsForgotten,
    /// What the batch itself has sent does not count as the same content.
    ContentIsForgotten,
    /// An attempt that the batch itself opens does not count as open.
    OpenIsForgotten,
}

/// Every fault.
pub const FAULTS: [Fault; 5] = [
    Fault::CodedReportsStay,
    Fault::HeldIsForgotten,
    Fault::AcceptedIsForgotten,
    Fault::ContentIsForgotten,
    Fault::OpenIsForgotten,
];
