//! What `crossway check` says of `[discovery]`.

use crate::said_of;

/// A file with that at its end, and what is said of it.
fn discovery(lines: &str) -> String {
    said_of(&format!("\n{lines}\n"), |config| &config.discovery)
}

#[test]
fn where_services_are_looked_for_is_read_with_its_defaults_and_every_fault_is_told() {
    let cases = [
        ("", "None"),
        (
            "[discovery]",
            "Some(Discovery { database: None, services: 16384, networks: [] })",
        ),
        (
            "[discovery]\ndatabase = \"/srv/a.db\"\nservices = 9\nnetworks = [\"100.64.0.0/10\"]",
            r#"Some(Discovery { database: Some("/srv/a.db"), services: 9, networks: [100.64.0.0/10] })"#,
        ),
        (
            "[discovery]\ndatabase = \"/srv/\"",
            r#"discovery, database: /srv/ is not the name of a file: write one such as "/var/lib/crossway/berlin-1.services.db""#,
        ),
        (
            "[discovery]\nservices = 0",
            "discovery, services: 0 is out of range: write a number from 1 to 65536, such as 16384",
        ),
        (
            "[discovery]\nnetworks = [\"203.0.113.1/24\", 7]",
            "discovery, networks: 203.0.113.1/24 has host bits set: did you mean 203.0.113.0/24?\n\
             discovery, networks: expected a string, found the integer 7: write \"100.64.0.0/10\"",
        ),
        (
            "[discovery]\nnetwork = []",
            r#"discovery: unknown key "network": did you mean "networks"?"#,
        ),
    ];
    for (lines, expected) in cases {
        assert_eq!(discovery(lines), expected, "{lines}");
    }
}
