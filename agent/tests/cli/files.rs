//! Keys and configuration files: commands that ask no gateway.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::place::{Place, code, stderr, stdout};

#[test]
fn the_public_key_of_a_new_private_key_has_the_form_of_wireguard() {
    let place = Place::new();
    let private = place.run(&["keygen"], "");
    assert_eq!(code(&private), 0);
    let private = stdout(&private);
    assert_eq!(private.len(), 45, "44 characters and a line break");
    let public = place.run(&["pubkey"], &private);
    assert_eq!((code(&public), stdout(&public).len()), (0, 45));
    assert_ne!(stdout(&public), private);
    // RFC 7748 section 6.1, Alice.
    let public = place.run(
        &["pubkey"],
        "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=\n",
    );
    assert_eq!(
        stdout(&public),
        "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=\n"
    );
}

#[test]
fn a_private_key_that_is_none_is_refused_and_not_repeated() {
    let refused = Place::new().run(&["pubkey"], "my-secret\n");
    assert_eq!(code(&refused), 1);
    assert_eq!(
        stderr(&refused),
        "crossway: standard input has 9 characters where a WireGuard key has 44: write `crossway \
         pubkey < KEYFILE`\n"
    );
}

#[test]
fn a_key_written_to_a_file_that_others_can_read_is_warned_of() {
    let place = Place::new();
    let file = fs::File::create(place.0.join("key")).unwrap();
    let made = place.command(&["keygen"]).stdout(file).output().unwrap();
    assert!(made.status.success());
    assert!(stderr(&made).contains("chmod 600"), "{}", stderr(&made));
}

#[test]
fn a_configuration_that_everybody_can_write_is_warned_of() {
    let place = Place::new();
    let file = place.0.join("good.toml");
    fs::write(&file, GOOD).unwrap();
    for (mode, warned) in [(0o644, false), (0o666, true)] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let checked = place.run(&["check", "good.toml"], "");
        assert_eq!(code(&checked), 0);
        let said = stderr(&checked);
        assert_eq!(said.contains("chmod 644 good.toml"), warned, "{said}");
    }
}

const GOOD: &str = r#"
[gateway]
name = "berlin-1"
private_key_file = "berlin-1.key"
listen = "0.0.0.0:51820"
lan = [{ interface = "eth1" }]
wan = [{ interface = "eth0" }]
[[site]]
name = "paris"
routes = ["10.2.0.0/24"]
[[site.gateway]]
name = "paris-1"
public_key = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo="
"#;

#[test]
fn check_ends_with_0_for_a_right_file_and_2_for_a_wrong_one() {
    let place = Place::new();
    fs::write(place.0.join("good.toml"), GOOD).unwrap();
    fs::write(
        place.0.join("bad.toml"),
        GOOD.replace("10.2.0.0/24", "10.2.0.1/24"),
    )
    .unwrap();

    let good = place.run(&["check", "good.toml"], "");
    assert_eq!(
        (code(&good), stdout(&good).as_str()),
        (
            0,
            "good.toml: ok: gateway berlin-1, 1 LAN, 1 WAN, 1 site, 1 route, policy: \
             open, every site reaches everything\n"
        )
    );
    assert_eq!(
        stderr(&good),
        "good.toml:4:20: warning: gateway, private_key_file: berlin-1.key does not exist here: \
         (umask 077; crossway keygen > berlin-1.key)\n"
    );

    let error = "bad.toml:10:11: site \"paris\", routes: 10.2.0.1/24 has host bits set: did you mean \
                 10.2.0.0/24?";
    let bad = place.run(&["check", "bad.toml"], "");
    assert_eq!((code(&bad), stdout(&bad).as_str()), (2, ""));
    assert!(
        stderr(&bad).ends_with(&format!("{error}\n")),
        "{}",
        stderr(&bad)
    );

    let bad = place.run(&["check", "bad.toml", "--json"], "");
    let told: serde_json::Value = serde_json::from_str(&stdout(&bad)).unwrap();
    assert_eq!((code(&bad), &told["ok"]), (2, &false.into()));
    assert_eq!(told["errors"][0]["line"], 10);
    assert_eq!(told["errors"][0]["mend"], "did you mean 10.2.0.0/24?");
    assert_eq!(told["errors"][0]["text"], error);

    assert_eq!(code(&place.run(&["check", "none.toml"], "")), 2);
}

#[test]
fn show_prints_a_file_as_it_is_understood() {
    let place = Place::new();
    fs::write(place.0.join("good.toml"), GOOD).unwrap();
    let shown = place.run(&["show", "good.toml"], "");
    assert_eq!(code(&shown), 0);
    assert!(stderr(&shown).contains("berlin-1.key does not exist here"));
    let text = stdout(&shown);
    assert!(
        text.contains("\n[[gateway.lan]]\ninterface = \"eth1\"\n"),
        "{text}"
    );
    fs::write(place.0.join("shown.toml"), &text).unwrap();
    assert_eq!(stdout(&place.run(&["show", "shown.toml"], "")), text);

    fs::write(place.0.join("bad.toml"), "[gateway]\nname = \"a b\"\n").unwrap();
    let refused = place.run(&["show", "bad.toml"], "");
    assert_eq!((code(&refused), stdout(&refused).as_str()), (2, ""));
}

#[test]
fn run_with_a_wrong_file_ends_with_2_before_it_touches_anything() {
    let place = Place::new();
    fs::write(place.0.join("bad.toml"), "[gateway]\nname = \"a b\"\n").unwrap();
    let refused = place.run(&["run", "--config", "bad.toml"], "");
    assert_eq!(code(&refused), 2);
    assert_eq!(stderr(&refused).lines().count(), 6, "{}", stderr(&refused));
}
