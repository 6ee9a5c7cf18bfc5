//! What `crossway check` says of the key files that a file names.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crossway::config::Config;
use crossway::keys::{SecretKey, public_key_text};

use crate::{GOOD, warnings};

#[test]
fn a_file_that_is_not_there_is_told_as_such() {
    let rejected =
        Config::load(Path::new("/nowhere/berlin.toml"), &crossway::disk::Disk).unwrap_err();
    assert_eq!(
        rejected.to_string(),
        "/nowhere/berlin.toml: cannot be read: No such file or directory (os error 2): name a \
         readable TOML file"
    );
}

#[test]
fn key_files_are_looked_at() {
    let folder = Folder::new("key-files");
    let key = SecretKey::generate().unwrap();
    folder.write("berlin.toml", GOOD, 0o644);
    let file = folder.0.join("berlin.toml");
    let key_file = folder.0.join("berlin-1.key");
    let at = format!("{}:3:20: ", file.display());

    assert_eq!(
        warnings(Config::load(&file, &crossway::disk::Disk)),
        [format!(
            "{at}warning: gateway, private_key_file: {0} does not exist here: \
             (umask 077; crossway keygen > {0})",
            key_file.display()
        )]
    );

    folder.write("berlin-1.key", &key.to_base64(), 0o644);
    assert_eq!(
        warnings(Config::load(&file, &crossway::disk::Disk)),
        [format!(
            "{at}warning: gateway, private_key_file: {0} has mode 0644, so other users can read the key: chmod 600 {0}",
            key_file.display()
        )]
    );

    folder.write("berlin-1.key", &key.to_base64(), 0o600);
    assert!(warnings(Config::load(&file, &crossway::disk::Disk)).is_empty());

    folder.write("berlin-1.key", "no key at all", 0o600);
    assert_eq!(
        Config::load(&file, &crossway::disk::Disk)
            .unwrap_err()
            .to_string(),
        format!(
            "{at}gateway, private_key_file: {} has 13 characters where a WireGuard key has 44: make a \
             new one with `crossway keygen`, or name the right file",
            key_file.display()
        )
    );
}

#[test]
fn files_that_others_can_replace_are_warned_of() {
    let folder = Folder::new("replaceable");
    let key = SecretKey::generate().unwrap().to_base64();
    folder.write("berlin.toml", GOOD, 0o644);
    folder.write("berlin-1.key", &key, 0o600);
    let [file, key] = ["berlin.toml", "berlin-1.key"].map(|name| folder.0.join(name));
    let load = || warnings(Config::load(&file, &crossway::disk::Disk));
    assert!(load().is_empty());
    let mode =
        |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();

    mode(&file, 0o664);
    let [warning] = &load()[..] else {
        panic!("one warning")
    };
    assert!(
        warning.contains("others can change where packets go"),
        "{warning}"
    );
    assert!(
        warning.contains("its group may write to it: chmod g-w"),
        "{warning}"
    );
    mode(&file, 0o640);
    assert!(load().is_empty(), "a group may read it");

    mode(&folder.0, 0o775);
    let of_both = load();
    assert_eq!(of_both.len(), 2, "{of_both:?}");
    assert!(
        of_both
            .iter()
            .any(|warning| warning.contains("others can replace the key"))
    );
    mode(&folder.0, 0o755);
    if folder.0.metadata().unwrap().uid() == 0 {
        std::os::unix::fs::chown(&key, Some(65534), None).unwrap();
        let [warning] = &load()[..] else {
            panic!("one warning")
        };
        assert!(
            warning.contains("belongs to uid 65534: chown root"),
            "{warning}"
        );
    }
}

#[test]
fn our_own_public_key_at_a_site_is_refused() {
    let folder = Folder::new("own-key");
    let key = SecretKey::generate().unwrap();
    folder.write("berlin-1.key", &key.to_base64(), 0o600);
    let own = public_key_text(&key.public_key());
    let text = GOOD.replace("hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=", &own);
    folder.write("berlin.toml", &text, 0o644);
    let file = folder.0.join("berlin.toml");
    assert_eq!(
        Config::load(&file, &crossway::disk::Disk)
            .unwrap_err()
            .to_string(),
        format!(
            "{}:22:14: site \"paris\", gateway \"paris-1\", public_key: {own} is the public key of \
             this gateway itself: write what `crossway pubkey < KEYFILE` prints on that gateway",
            file.display()
        )
    );
}

#[test]
fn a_key_that_is_replaced_in_its_file_is_another_configuration() {
    let folder = Folder::new("replaced");
    let keys = [(); 3].map(|()| SecretKey::generate().unwrap().to_base64());
    let [own, shared, other] = keys.each_ref().map(|key| key.as_str());
    let file = "public_key = \"hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=\"";
    let text = GOOD.replace(file, &format!("{file}\npreshared_key_file = \"paris.psk\""));
    folder.write("berlin.toml", &text, 0o644);
    let load = |own: &str, shared: &str| {
        folder.write("berlin-1.key", own, 0o600);
        folder.write("paris.psk", shared, 0o600);
        let file = folder.0.join("berlin.toml");
        Config::load(&file, &crossway::disk::Disk).unwrap().config
    };
    let before = load(own, shared);
    assert!(load(own, &format!("{shared}\n")) == before);
    let of = |config: &Config| config.sites[0].gateways[0].clone();
    let same_session = |a: &Config, b: &Config| of(a).shares_the_key_of(&of(b));

    let rekeyed = load(own, other);
    assert!(rekeyed != before && !same_session(&rekeyed, &before));
    let refused = |new: &Config| before.gateway.refuse_change_while_running(&new.gateway);
    assert_eq!(refused(&rekeyed), [""; 0]);

    let another = load(other, shared);
    assert!(another != before && same_session(&another, &before));
    let refusal = refused(&another).concat();
    assert!(
        refusal.contains("the key in ") && refusal.contains("berlin-1.key"),
        "{refusal}"
    );
    assert!(refusal.contains("restart it"), "{refusal}");
}

#[test]
fn a_key_file_that_has_gone_or_moved_is_no_other_key() {
    let folder = Folder::new("gone");
    let key = SecretKey::generate().unwrap().to_base64();
    folder.write("berlin.toml", GOOD, 0o644);
    folder.write("berlin-1.key", &key, 0o600);
    let load = || {
        let file = folder.0.join("berlin.toml");
        Config::load(&file, &crossway::disk::Disk).unwrap().config
    };
    let before = load();
    let refused = |new: &Config| before.gateway.refuse_change_while_running(&new.gateway);
    fs::rename(folder.0.join("berlin-1.key"), folder.0.join("own.key")).unwrap();
    let mut gone = load();
    gone.keep_unread_keys(&before);
    assert!(gone == before);
    assert_eq!(refused(&gone), [""; 0]);

    folder.write(
        "berlin.toml",
        &GOOD.replace("berlin-1.key", "own.key"),
        0o644,
    );
    let moved = load();
    assert!(moved != before);
    assert_eq!(refused(&moved), [""; 0]);
}

/// A folder of the test's own, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("crossway-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str, mode: u32) {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
