//! From the text of a file to a [`Config`], or to everything that is wrong with it.

use std::path::Path;
use std::{fmt, io};

use toml_edit::{Document, TomlError};

use super::Config;
use super::diagnostic::{Diagnostic, Report, Severity};
use super::endpoint::Problem;
use super::gateway::GatewayDraft;
use super::policy::PolicyDraft;
use super::section::Section;
use super::site::{SiteDraft, place};
use super::{discovery, flows, key_files, metrics, rules};
use crossway_types::keys::{KeyFileError, SecretKey};

/// A configuration that can be run, and what to know about it.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// The configuration.
    pub config: Config,
    /// What works but is probably not meant.
    pub warnings: Vec<Diagnostic>,
}

/// A configuration that cannot be run. `Display` lists the errors, one a line.
#[derive(Clone, Debug)]
pub struct Rejected {
    /// Every error, in the order of the file.
    pub errors: Vec<Diagnostic>,
    /// Every warning, in the order of the file.
    pub warnings: Vec<Diagnostic>,
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Rejected {}

/// The files that a configuration is made of, as this machine has them. The reader itself does no I/O.
pub trait Files {
    /// The text of the configuration file.
    fn text(&self, file: &Path) -> io::Result<String>;
    /// The key in a key file.
    fn key(&self, file: &Path) -> Result<SecretKey, KeyFileError>;
    /// The permission bits of a file, as far as they can be seen.
    fn mode(&self, file: &Path) -> Option<u32>;
    /// Who beside us and root can change a file, and the mend; as far as that can be seen.
    fn changed_by_others(&self, file: &Path) -> Option<Problem>;
    /// What to do where a file may not be read.
    fn mend_of_unreadable(&self) -> &'static str;
}

impl Config {
    /// Reads and validates `file`, and looks at the key files it names.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn load(file: &Path, files: &dyn Files) -> Result<Accepted, Rejected> {
        let of_file = |severity, problem, mend: &str| Diagnostic {
            file: file.display().to_string(),
            position: None,
            severity,
            place: String::new(),
            problem,
            mend: mend.to_owned(),
        };
        let text = files.text(file).map_err(|error| {
            let mend = match error.kind() {
                io::ErrorKind::PermissionDenied => files.mend_of_unreadable(),
                io::ErrorKind::InvalidData => "save it as UTF-8",
                _ => "name a readable TOML file",
            };
            let problem = format!("cannot be read: {error}");
            Rejected {
                errors: vec![of_file(Severity::Error, problem, mend)],
                warnings: Vec::new(),
            }
        })?;
        let mut accepted = read(&text, file, Some(files))?;
        if let Some(mode) = files.mode(file).filter(|mode| mode & 0o002 != 0) {
            let problem = format!("has mode {mode:04o}: every user can change where packets go");
            let mend = format!("chmod 644 {}", file.display());
            accepted
                .warnings
                .push(of_file(Severity::Warning, problem, &mend));
        } else if let Some((problem, mend)) = files.changed_by_others(file) {
            let problem = format!("others can change where packets go: {problem}");
            accepted
                .warnings
                .push(of_file(Severity::Warning, problem, &mend));
        }
        Ok(accepted)
    }

    /// Validates `text` without touching any file. `file` is for the messages, and its folder is
    /// where relative paths start.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn parse(text: &str, file: &Path) -> Result<Accepted, Rejected> {
        read(text, file, None)
    }
}

fn read(text: &str, file: &Path, files: Option<&dyn Files>) -> Result<Accepted, Rejected> {
    // Editors of Windows begin a file with a mark; columns are counted without it.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let report = Report::new(file.display().to_string(), text);
    let config = match Document::parse(text) {
        Ok(document) => {
            let base = file.parent().unwrap_or(Path::new(""));
            let root = Section::new(&report, "", 0, document.as_table());
            read_document(&root, base, files)
        }
        Err(error) => {
            report_syntax(&report, text, &error);
            None
        }
    };
    let (errors, warnings) = report.finish();
    match config {
        Some(config) if errors.is_empty() => Ok(Accepted { config, warnings }),
        _ => Err(Rejected { errors, warnings }),
    }
}

fn read_document(root: &Section<'_>, base: &Path, files: Option<&dyn Files>) -> Option<Config> {
    let gateway = read_gateway(root, base);
    let metrics = metrics::read(root, base, files);
    let flows = flows::read(root, base);
    let discovery = discovery::read(root, base);
    let sites: Vec<SiteDraft> = root
        .tables("site", "site", |table, index| place("site", table, index))
        .iter()
        .map(|site| SiteDraft::read(site, base))
        .collect();
    if !root.has("site") {
        let mend = "add a [[site]] for each site that it should reach";
        root.report
            .warning(0, "", "no [[site]]: the gateway reaches nothing", mend);
    }
    let policy = PolicyDraft::read(root).finish(root, gateway.as_ref(), &sites);
    rules::check(root.report, gateway.as_ref(), &sites);
    let keys = files.map(|files| key_files::read(files, root.report, gateway.as_ref(), &sites));
    let gateway = gateway?.finish()?;
    let mut config = Config {
        sites: sites
            .into_iter()
            .map(|site| site.finish(gateway.engine))
            .collect::<Option<_>>()?,
        gateway,
        metrics: metrics.ok()?,
        flows: flows?,
        discovery: discovery.ok()?,
        policy: policy?,
    };
    config.take_keys(&keys.unwrap_or_default());
    Some(config)
}

fn read_gateway(root: &Section<'_>, base: &Path) -> Option<GatewayDraft> {
    let Some(found) = root.item("gateway") else {
        root.missing("[gateway]", "add it with name, private_key_file and listen");
        return None;
    };
    let Some(table) = found.value.as_table_like() else {
        let problem = root.expected("a table", found.value);
        root.error("gateway", found.offset, problem, "write [gateway]");
        return None;
    };
    let section = Section::new(root.report, "gateway", found.offset, table);
    Some(GatewayDraft::read(&section, base))
}

/// The parser's own words, and the mend where one is sure.
fn report_syntax(report: &Report<'_>, text: &str, error: &TomlError) {
    /// Longer texts are not repeated: they are seldom a word, and may be a key.
    const LONGEST: usize = 40;
    let span = error.span().unwrap_or(0..0);
    let found = text
        .get(span.clone())
        .filter(|found| (1..=LONGEST).contains(&found.len()) && !found.contains('\n'));
    let mend = match found {
        Some(found) if error.message() == "duplicate key" => {
            format!("{found} appears twice: keep one")
        }
        Some(found) if error.message().starts_with("string values must be quoted") => {
            format!("write {found:?}")
        }
        _ => String::new(),
    };
    report.error(span.start, "TOML", error.message(), mend);
}
