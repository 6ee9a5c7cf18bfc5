//! The initial file system of a guest: programs of this machine with their libraries, a kernel's modules, and
//! whatever tests add, packed by `cpio` (initramfs, Documentation/filesystems/ramfs-rootfs-initramfs.rst).

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::guest::kernel::Kernel;
use crate::process;

/// A file system in the making, in a folder of the host.
#[derive(Debug)]
pub struct Image {
    root: PathBuf,
    libraries: BTreeSet<PathBuf>,
}

impl Image {
    /// An empty one in `folder`, which is emptied first.
    pub fn create(folder: &Path) -> Result<Self> {
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
        for part in ["usr/bin", "usr/lib", "etc", "var/log", "root"] {
            fs::create_dir_all(folder.join(part))?;
        }
        // As Debian has it since bookworm; modules and libraries are found by either path.
        for (link, target) in [
            ("bin", "usr/bin"),
            ("sbin", "usr/bin"),
            ("usr/sbin", "bin"),
            ("lib", "usr/lib"),
            ("lib64", "usr/lib64"),
        ] {
            symlink(target, folder.join(link))?;
        }
        symlink("/run", folder.join("var/run"))?;
        let image = Self {
            root: folder.to_owned(),
            libraries: BTreeSet::new(),
        };
        image.write(
            "etc/passwd",
            "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n",
        )?;
        image.write("etc/group", "root:x:0:\nusers:x:100:\nnogroup:x:65534:\n")?;
        image.write("etc/hosts", "127.0.0.1 localhost\n::1 localhost\n")?;
        image.write(
            "etc/nsswitch.conf",
            "hosts: files\npasswd: files\ngroup: files\n",
        )?;
        for list in ["/etc/protocols", "/etc/services"] {
            if Path::new(list).exists() {
                fs::copy(list, image.root.join(&list[1..]))?;
            }
        }
        Ok(image)
    }

    /// Writes a file; `path` is relative to the guest's root.
    pub fn write(&self, path: &str, text: &str) -> Result<()> {
        fs::write(self.root.join(path), text).with_context(|| format!("cannot write {path}"))
    }

    /// Adds a file as it is.
    pub fn data(&self, from: &Path, to: &str) -> Result<()> {
        fs::copy(from, self.root.join(to))
            .with_context(|| format!("cannot copy {}", from.display()))?;
        Ok(())
    }

    /// Adds a program of the search path, with its libraries.
    pub fn program(&mut self, name: &str) -> Result<()> {
        let paths = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&paths)
            .map(|folder| folder.join(name))
            .find(|path| path.is_file());
        let path = found.with_context(|| format!("{name} is not in the search path"))?;
        self.file(&path, &format!("usr/bin/{name}"))
    }

    /// Adds an executable file at a path of the guest, with its libraries and without its debugging information.
    pub fn file(&mut self, from: &Path, to: &str) -> Result<()> {
        let place = self.root.join(to);
        if let Some(folder) = place.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::copy(from, &place).with_context(|| format!("cannot copy {}", from.display()))?;
        fs::set_permissions(&place, fs::Permissions::from_mode(0o755))?;
        // Scripts and what is stripped already stay as they are.
        let _ = process::run(Command::new("strip").arg("--strip-debug").arg(&place));
        self.libraries_of(from)
    }

    /// Packs it, with the modules of `kernel`, into `archive`.
    pub fn pack(&self, kernel: &Kernel, archive: &Path) -> Result<()> {
        kernel.install_modules(&self.root)?;
        let output = File::create(archive)?;
        let find = Command::new("find")
            .args([".", "-print0"])
            .current_dir(&self.root)
            .stdout(Stdio::piped())
            .spawn()?;
        let status = Command::new("cpio")
            .args(["--null", "--create", "--format=newc", "--quiet"])
            .args(["--owner=0:0", "--reproducible"])
            .current_dir(&self.root)
            .stdin(find.stdout.context("find's output")?)
            .stdout(output)
            .status()
            .context("cannot start cpio")?;
        ensure!(status.success(), "cpio failed ({status})");
        Ok(())
    }

    fn libraries_of(&mut self, program: &Path) -> Result<()> {
        let output = Command::new("ldd").arg(program).output()?;
        // Not dynamic, or no program at all: nothing to add.
        if !output.status.success() {
            return Ok(());
        }
        for path in parse_libraries(&String::from_utf8_lossy(&output.stdout))? {
            if self.libraries.insert(path.clone()) {
                // Where the loader looks: the path as it was found, with /lib being /usr/lib.
                let place = self.root.join(path.strip_prefix("/")?);
                let place = match place.strip_prefix(self.root.join("lib64")) {
                    Ok(rest) => self.root.join("usr/lib64").join(rest),
                    Err(_) => place,
                };
                if let Some(folder) = place.parent() {
                    fs::create_dir_all(folder)?;
                }
                fs::copy(&path, &place)
                    .with_context(|| format!("cannot copy {}", path.display()))?;
            }
        }
        Ok(())
    }
}

/// The files that `ldd` names.
fn parse_libraries(text: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for line in text.lines() {
        if line.contains("not found") {
            bail!("a library is missing: {}", line.trim());
        }
        let path = line.split_whitespace().find(|word| word.starts_with('/'));
        found.extend(path.map(PathBuf::from));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_paths_of_libraries_are_read_and_the_one_of_the_kernel_is_left_out() {
        let text = "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let found = parse_libraries(text).unwrap();
        assert_eq!(
            found,
            [
                Path::new("/lib/x86_64-linux-gnu/libc.so.6"),
                Path::new("/lib64/ld-linux-x86-64.so.2")
            ]
        );
    }

    #[test]
    fn a_missing_library_is_named() {
        let error = parse_libraries("\tlibodd.so => not found\n").unwrap_err();
        assert!(error.to_string().contains("libodd.so"), "{error}");
    }
}
