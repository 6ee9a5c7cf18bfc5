//! What a file says of policy, word by word.

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// `policy`, if it is there.
    pub stance: Option<Stance>,
    /// `denied`.
    pub denied: Denied,
    /// `[objects]`, in the order of the file.
    pub objects: Vec<List>,
    /// `[ports]`.
    pub ports: Vec<List>,
    /// `[[allow]]`.
    pub allow: Vec<Entry>,
    /// `[[shadow]]`.
    pub shadow: Vec<Entry>,
    /// `[[never]]`.
    pub never: Vec<Entry>,
    /// `[[expect]]`.
    pub expect: Vec<Entry>,
}

impl Source {
    /// Whether everything passes: so it is without rules, unless the file says otherwise.
    pub fn is_open(&self) -> bool {
        match self.stance {
            Some(stance) => stance == Stance::Open,
            None => self.allow.is_empty(),
        }
    }
}

/// `policy = "open" | "closed"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stance {
    /// Everything passes.
    Open,
    /// Only what a rule allows passes.
    Closed,
}

impl Stance {
    /// Every stance.
    pub const ALL: [Self; 2] = [Self::Open, Self::Closed];

    /// The word of the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
        }
    }
}

/// `denied = "drop" | "reject"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Denied {
    /// Silently.
    #[default]
    Drop,
    /// The sender is told: RST for TCP, else ICMP's "administratively prohibited" (RFC 1812,
    /// 5.2.7.1).
    Reject,
}

impl Denied {
    /// Every way.
    pub const ALL: [Self; 2] = [Self::Drop, Self::Reject];

    /// The word of the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::Reject => "reject",
        }
    }
}

/// A name for several words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    /// The key.
    pub name: String,
    /// What it stands for.
    pub words: Vec<String>,
}

/// A table with `from`, `to` and `ports`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// `name`, if it is there.
    pub name: Option<String>,
    /// Who opens the flow.
    pub from: Vec<String>,
    /// Whom it is opened to.
    pub to: Vec<String>,
    /// Protocols and ports; `None` for any.
    pub ports: Option<Vec<String>>,
}

/// The tables of the file that have words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Table {
    /// `[objects]`.
    Objects,
    /// `[ports]`.
    Ports,
    /// `[[allow]]`.
    Allow,
    /// `[[shadow]]`.
    Shadow,
    /// `[[never]]`.
    Never,
    /// `[[expect]]`.
    Expect,
}

impl Table {
    /// The word of the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Objects => "objects",
            Self::Ports => "ports",
            Self::Allow => "allow",
            Self::Shadow => "shadow",
            Self::Never => "never",
            Self::Expect => "expect",
        }
    }
}

/// What of an entry is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// All of it.
    Whole,
    /// `name`.
    Name,
    /// `from`.
    From,
    /// `to`.
    To,
    /// `ports`.
    Ports,
}

impl Key {
    /// The word of the file, but for the whole.
    pub fn as_str(self) -> Option<&'static str> {
        match self {
            Self::Whole => None,
            Self::Name => Some("name"),
            Self::From => Some("from"),
            Self::To => Some("to"),
            Self::Ports => Some("ports"),
        }
    }
}

/// Where something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// Which table.
    pub table: Table,
    /// Which of its entries, from 0.
    pub entry: usize,
    /// Which of its keys.
    pub key: Key,
    /// Which word of the list, from 0.
    pub word: Option<usize>,
}

impl Place {
    /// The entry as a whole.
    pub fn of(table: Table, entry: usize) -> Self {
        Self {
            table,
            entry,
            key: Key::Whole,
            word: None,
        }
    }

    /// The same place, a key of it.
    #[must_use]
    pub fn key(self, key: Key) -> Self {
        Self { key, ..self }
    }

    /// The same place, a word of its list.
    #[must_use]
    pub fn word(self, word: usize) -> Self {
        let word = Some(word);
        Self { word, ..self }
    }
}
