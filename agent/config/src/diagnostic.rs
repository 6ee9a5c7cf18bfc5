//! What is wrong with a configuration file, in one form:
//! `FILE:LINE:COLUMN: PLACE: PROBLEM: MEND`.

use std::cell::RefCell;
use std::fmt;

pub(super) use crossway_types::shown::shown;

/// One finding. `Display` gives the whole line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Name of the file, as it was given.
    pub file: String,
    /// Line and column of the value, both from 1, the column in characters; none where the
    /// finding is about the file as a whole.
    pub position: Option<(usize, usize)>,
    /// Whether the file can be used all the same.
    pub severity: Severity,
    /// Section and key, such as `site "paris", routes`.
    pub place: String,
    /// The value and what is wrong with it.
    pub problem: String,
    /// What to write instead, or to do; may be empty where the problem says it.
    pub mend: String,
}

/// Weight of a [`Diagnostic`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The file is refused.
    Error,
    /// The file is taken.
    Warning,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some((line, column)) = self.position {
            write!(f, ":{line}:{column}")?;
        }
        f.write_str(match self.severity {
            Severity::Error => ": ",
            Severity::Warning => ": warning: ",
        })?;
        if !self.place.is_empty() {
            write!(f, "{}: ", self.place)?;
        }
        f.write_str(&self.problem)?;
        if !self.mend.is_empty() {
            write!(f, ": {}", self.mend)?;
        }
        Ok(())
    }
}

/// Gathers the findings of one file, so that all of them are told at once.
pub(super) struct Report<'t> {
    file: String,
    text: &'t str,
    /// Byte offset of each line's first character.
    line_starts: Vec<usize>,
    /// Findings with their byte offsets; positions are set by [`Report::finish`].
    findings: RefCell<Vec<(usize, Diagnostic)>>,
}

impl<'t> Report<'t> {
    pub(super) fn new(file: String, text: &'t str) -> Self {
        let after_newlines = text.match_indices('\n').map(|(newline, _)| newline + 1);
        Self {
            file,
            text,
            line_starts: std::iter::once(0).chain(after_newlines).collect(),
            findings: RefCell::default(),
        }
    }

    /// Adds an error about what stands at byte `offset`.
    pub(super) fn error(
        &self,
        offset: usize,
        place: impl Into<String>,
        problem: impl Into<String>,
        mend: impl Into<String>,
    ) {
        self.add(
            Severity::Error,
            offset,
            (place.into(), problem.into(), mend.into()),
        );
    }

    /// Adds a warning about what stands at byte `offset`.
    pub(super) fn warning(
        &self,
        offset: usize,
        place: impl Into<String>,
        problem: impl Into<String>,
        mend: impl Into<String>,
    ) {
        self.add(
            Severity::Warning,
            offset,
            (place.into(), problem.into(), mend.into()),
        );
    }

    /// Whether any error has been added.
    pub(super) fn has_errors(&self) -> bool {
        let findings = self.findings.borrow();
        let mut findings = findings.iter();
        findings.any(|(_, finding)| finding.severity == Severity::Error)
    }

    fn add(&self, severity: Severity, offset: usize, what: (String, String, String)) {
        let (place, problem, mend) = what;
        let finding = Diagnostic {
            file: self.file.clone(),
            position: None,
            severity,
            place,
            problem,
            mend,
        };
        self.findings.borrow_mut().push((offset, finding));
    }

    /// `expected a string, found the integer 10`; what is longer than a word is not repeated.
    pub(super) fn expected(
        &self,
        kind: &str,
        found: &str,
        span: Option<std::ops::Range<usize>>,
    ) -> String {
        let text = span.and_then(|span| self.text.get(span)).unwrap_or("");
        let scalar = ["string", "integer", "float", "boolean", "datetime"].contains(&found);
        if scalar && text.len() <= 40 && !text.contains('\n') {
            format!("expected {kind}, found the {found} {text}")
        } else {
            let article = if found.starts_with(['a', 'i']) {
                "an"
            } else {
                "a"
            };
            format!("expected {kind}, found {article} {found}")
        }
    }

    /// Line of a byte offset, from 1.
    pub(super) fn line(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset)
    }

    /// Errors and warnings, each in the order of the file.
    pub(super) fn finish(self) -> (Vec<Diagnostic>, Vec<Diagnostic>) {
        let lines = self.line_starts;
        let line_of = |offset| lines.partition_point(|start| *start <= offset);
        let mut findings = self.findings.into_inner();
        findings.sort_by_key(|(offset, _)| *offset);
        // Columns are counted on from finding to finding: a list of 100,000 routes may be one line.
        let mut counted = (0, 0);
        let mut column = 1;
        for (offset, finding) in &mut findings {
            let offset = self.text.floor_char_boundary(*offset);
            let line = line_of(offset);
            if line != counted.0 {
                counted = (line, lines[line - 1]);
                column = 1;
            }
            column += self.text[counted.1..offset].chars().count();
            counted.1 = offset;
            finding.position = Some((line, column));
        }
        findings
            .into_iter()
            .map(|(_, finding)| finding)
            .partition(|finding| finding.severity == Severity::Error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_lines_and_characters_from_one() {
        let text = "näme\n\nab ü cd\n";
        let report = Report::new("f".to_owned(), text);
        for word in ["cd", "ü", "me", "b"] {
            report.error(text.find(word).unwrap(), "", word, "");
        }
        report.error(text.len(), "", "end", "");
        assert_eq!(report.line(0), 1);
        let (errors, _) = report.finish();
        let told: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "f:1:3: me",
                "f:3:2: b",
                "f:3:4: ü",
                "f:3:6: cd",
                "f:4:1: end"
            ]
        );
    }
}
