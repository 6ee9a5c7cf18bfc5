//! The directory of a gateway's pins: `/sys/fs/bpf/crossway/<gateway>/<MAP>` and `…/links/<place>`.
//!
//! Two things cannot be pinned and are remembered by an empty directory instead: a filter of a
//! clsact qdisc (`links/<place>`) and a clsact qdisc that we added (`qdiscs/<index>-<interface>`).
//! The BPF file system takes no dot in a name, so each becomes a colon, which neither a gateway's
//! nor an interface's name may hold.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use aya::maps::{Array, Map, MapData, MapInfo};
use crossway_sys::owner;
use datapath_abi::settings::Settings;
use datapath_abi::{ABI_VERSION, maps};
use tracing::info;

use super::attachment::Place;
use super::hold::{Hold, Holder};
use super::shape::Shape;
use super::sys::bpffs;

/// Of the directories: nobody else has anything to do there.
const MODE: u32 = 0o700;

/// Mounts the BPF file system where it is missing.
pub(super) fn ensure_bpffs() -> Result<()> {
    let root = bpffs::ROOT;
    if !bpffs::is_mounted().with_context(|| format!("look at {root}"))? {
        bpffs::mount().with_context(|| {
            format!("mount the BPF file system at {root}: it needs root and a kernel with CONFIG_BPF_SYSCALL")
        })?;
        info!("mounted the BPF file system at {root}, it was missing");
    }
    Ok(())
}

/// Paths of one gateway's pins.
#[derive(Clone, Debug)]
pub(super) struct Pins {
    directory: PathBuf,
}

impl Pins {
    pub(super) fn new(gateway: &str) -> Self {
        Self {
            directory: all_gateways().join(file_name(gateway)),
        }
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn map(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    pub(super) fn link(&self, place: &Place) -> PathBuf {
        self.links().join(file_name(&place.to_string()))
    }

    pub(super) fn qdisc(&self, index: u32, interface: &str) -> PathBuf {
        self.qdiscs()
            .join(file_name(&format!("{index}-{interface}")))
    }

    /// Refuses pins that somebody else has made or could replace, before any is opened: what is pinned there
    /// would run on our packets, or be taken off others' interfaces.
    pub(super) fn refuse_foreign(&self) -> Result<()> {
        let folders = [
            &all_gateways(),
            &self.directory,
            &self.links(),
            &self.qdiscs(),
        ];
        refuse_foreign(Path::new(bpffs::ROOT), folders)
    }

    /// Holds them against other agents; the directories are there.
    pub(super) fn hold(&self, holder: Holder) -> Result<Hold> {
        Hold::of(&self.directory, holder)
    }

    /// Makes the directories.
    pub(super) fn create(&self) -> Result<()> {
        for directory in [self.links(), self.qdiscs()] {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(MODE)
                .create(&directory)
                .with_context(|| format!("make the directory {}", directory.display()))?;
        }
        Ok(())
    }

    /// Every place of which a pin or a mark is left.
    pub(super) fn places(&self) -> Result<Vec<Place>> {
        let names = names_in(&self.links())?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// Removes the pins of the maps and the directories, which hold no links any more.
    pub(super) fn remove(&self) -> Result<()> {
        for name in names_in(&self.directory)? {
            let path = self.directory.join(file_name(&name));
            if !path.is_dir() {
                fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
            }
        }
        for directory in [&self.links(), &self.qdiscs(), &self.directory] {
            remove_directory(directory)
                .with_context(|| format!("remove the directory {}", directory.display()))?;
        }
        // Other gateways may have their pins there.
        match remove_directory(&all_gateways()) {
            Err(error) if error.kind() != ErrorKind::DirectoryNotEmpty => Err(error)
                .with_context(|| format!("remove the directory {}", all_gateways().display())),
            _ => Ok(()),
        }
    }

    /// Whether there are pinned maps.
    pub(super) fn exist(&self) -> bool {
        self.map(maps::SETTINGS).exists()
    }

    /// Why the pinned maps cannot be taken over; `None` if they can, or if there are none.
    pub(super) fn misfit(&self, flows: usize) -> Result<Option<String>> {
        for name in maps::ALL {
            let path = self.map(name);
            if !path.exists() {
                continue;
            }
            let found = MapInfo::from_pin(&path)
                .with_context(|| format!("read the pinned map {}", path.display()))?;
            let (expected, found) = (Shape::expected(name, flows), Shape::of(&found));
            if expected != found {
                return Ok(Some(format!(
                    "map {name}: expected {}, found {}",
                    shown(expected),
                    shown(found)
                )));
            }
        }
        self.version_misfit()
    }

    /// Why the pinned maps are of another version; `None` if they are not, or if there are none.
    pub(super) fn version_misfit(&self) -> Result<Option<String>> {
        let path = self.map(maps::SETTINGS);
        if !path.exists() {
            let any = maps::ALL.iter().any(|name| self.map(name).exists());
            return Ok(any.then(|| format!("map {} is missing", maps::SETTINGS)));
        }
        let map = Map::from_map_data(MapData::from_pin(&path)?)?;
        let settings = Array::<_, Settings>::try_from(map)?.get(&0, 0)?;
        let found = settings.abi_version;
        Ok((found != ABI_VERSION)
            .then(|| format!("expected ABI version {ABI_VERSION}, found {found}")))
    }

    pub(super) fn links(&self) -> PathBuf {
        self.directory.join("links")
    }

    fn qdiscs(&self) -> PathBuf {
        self.directory.join("qdiscs")
    }
}

/// Refuses `folders`, each inside the one before or beside it below `root`, and all that is in them, unless it is ours
/// alone. In `root` others may have their own.
fn refuse_foreign(root: &Path, folders: [&PathBuf; 4]) -> Result<()> {
    let why = "the eBPF programs are not loaded while others could change what is pinned";
    owner::refuse_foreign_unless_sticky(root).context(why)?;
    for folder in folders {
        match owner::refuse_foreign(folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            judged => judged.context(why)?,
        }
        for name in names_in(folder)? {
            let path = folder.join(file_name(&name));
            // The pins of other gateways are their own affair.
            if *folder != *folders[0] {
                owner::refuse_foreign(&path).context(why)?;
            }
        }
    }
    Ok(())
}

fn all_gateways() -> PathBuf {
    Path::new(bpffs::ROOT).join("crossway")
}

fn file_name(name: &str) -> String {
    name.replace('.', ":")
}

/// Names of the entries of `directory`, none if it does not exist.
fn names_in(directory: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(error).with_context(|| format!("list {}", directory.display()));
        }
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        names.push(name.to_string_lossy().replace(':', "."));
    }
    Ok(names)
}

/// Removes an empty directory, which may be gone already.
pub(super) fn remove_directory(path: &Path) -> io::Result<()> {
    match fs::remove_dir(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

fn shown(shape: Option<Shape>) -> String {
    shape.map_or_else(|| "an unknown type".to_owned(), |shape| shape.to_string())
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn pins_that_others_could_change_are_refused_before_they_are_opened() {
        let root = std::env::temp_dir().join(format!("crossway-pins-{}", std::process::id()));
        let [all, own] = ["crossway", "crossway/a"].map(|name| root.join(name));
        let [links, qdiscs] = ["links", "qdiscs"].map(|name| own.join(name));
        let judge = || refuse_foreign(&root, [&all, &own, &links, &qdiscs]);
        let mode = |path: &Path, mode| {
            fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        };
        fs::create_dir_all(&root).unwrap();
        mode(&root, 0o1777);
        judge().unwrap();
        for folder in [&links, &qdiscs] {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(MODE)
                .create(folder)
                .unwrap();
        }
        judge().unwrap();
        for (path, bits) in [
            (&root, 0o777),
            (&all, 0o1777),
            (&own, 0o770),
            (&links, 0o720),
        ] {
            let before = path.metadata().unwrap().permissions();
            mode(path, bits);
            let refused = format!("{:#}", judge().unwrap_err());
            assert!(
                refused.contains("others could change what is pinned"),
                "{refused}"
            );
            assert!(refused.contains(&path.display().to_string()), "{refused}");
            fs::set_permissions(path, before).unwrap();
        }
        for folder in [&own, &links] {
            let link = folder.join("planted");
            symlink("/sys/fs/bpf/elsewhere", &link).unwrap();
            let refused = format!("{:#}", judge().unwrap_err());
            assert!(refused.contains("planted is a symbolic link"), "{refused}");
            fs::remove_file(&link).unwrap();
        }
        // Another gateway's folder is judged by its own agent.
        symlink("/nowhere", all.join("b")).unwrap();
        judge().unwrap();
        fs::remove_dir_all(&root).unwrap();
    }
}
