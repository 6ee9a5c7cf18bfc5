//! What is wrong with a policy, and where.

use super::source::Place;

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where in the file.
    pub place: Place,
    /// Whether the policy can be used all the same.
    pub is_warning: bool,
    /// The value and what is wrong with it.
    pub problem: String,
    /// What to write instead.
    pub mend: String,
}

/// Gathers findings, so that all are told at once.
#[derive(Default)]
pub(crate) struct Faults(Vec<Fault>);

impl Faults {
    pub(crate) fn error(
        &mut self,
        place: Place,
        problem: impl Into<String>,
        mend: impl Into<String>,
    ) {
        self.0.push(Fault {
            place,
            is_warning: false,
            problem: problem.into(),
            mend: mend.into(),
        });
    }

    pub(crate) fn warning(
        &mut self,
        place: Place,
        problem: impl Into<String>,
        mend: impl Into<String>,
    ) {
        self.error(place, problem, mend);
        if let Some(last) = self.0.last_mut() {
            last.is_warning = true;
        }
    }

    /// Whether none of them stands in the way.
    pub(crate) fn are_warnings(&self) -> bool {
        self.0.iter().all(|fault| fault.is_warning)
    }

    pub(crate) fn into_vec(self) -> Vec<Fault> {
        self.0
    }
}
