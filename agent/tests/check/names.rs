//! What `crossway check` says of names of sites and gateways.

use crate::{Case, tell_all};

#[test]
fn every_fault_of_a_name_is_told_with_line_value_reason_and_mend() {
    tell_all(CASES);
}

const CASES: &[Case] = &[
    Case {
        about: "two sites of one name",
        replace: r#"name = "rome""#,
        with: r#"name = "paris""#,
        errors: &[
            r#"berlin.toml:29:8: site "paris", name: paris is already a site (line 18): rename one of them"#,
        ],
    },
    Case {
        about: "two gateways of one name",
        replace: r#"name = "rome-1""#,
        with: r#"name = "paris-1""#,
        errors: &[
            r#"berlin.toml:32:8: site "rome", gateway "paris-1", name: paris-1 is already a gateway (line 21): rename one of them"#,
        ],
    },
    Case {
        about: "a gateway with our own name",
        replace: r#"name = "rome-1""#,
        with: r#"name = "berlin-1""#,
        errors: &[
            r#"berlin.toml:32:8: site "rome", gateway "berlin-1", name: berlin-1 is already a gateway (line 2): rename one of them"#,
        ],
    },
    Case {
        about: "a name with a space",
        replace: r#"name = "berlin-1""#,
        with: r#"name = "berlin 1""#,
        errors: &[
            r#"berlin.toml:2:8: gateway, name: "berlin 1" has the character ' ' in it: write 1 to 32 letters, digits, -, _ or ., a letter or digit first"#,
        ],
    },
    Case {
        about: "an empty name",
        replace: r#"name = "paris""#,
        with: r#"name = """#,
        errors: &[
            r#"berlin.toml:18:8: site "", name: "" is empty: write 1 to 32 letters, digits, -, _ or ., a letter or digit first"#,
        ],
    },
    Case {
        about: "a name that climbs out of its folder",
        replace: r#"name = "berlin-1""#,
        with: r#"name = "../berlin""#,
        errors: &[
            "berlin.toml:2:8: gateway, name: ../berlin has the character '/' in it: write 1 to 32 letters, digits, -, _ or ., a letter or digit first",
        ],
    },
    Case {
        about: "a name that starts with a dot",
        replace: r#"name = "berlin-1""#,
        with: r#"name = "..berlin""#,
        errors: &[
            "berlin.toml:2:8: gateway, name: ..berlin does not start with a letter or digit: write 1 to 32 letters, digits, -, _ or ., a letter or digit first",
        ],
    },
    Case {
        about: "a name that is too long",
        replace: r#"name = "rome""#,
        with: r#"name = "rome-rome-rome-rome-rome-rome-rome-rome-""#,
        errors: &[
            r#"berlin.toml:29:8: site "rome-rome-rome-rome-rome-rome-rome-rome-", name: rome-rome-rome-rome-rome-rome-rome-rome- has 40 characters: write 1 to 32 letters, digits, -, _ or ., a letter or digit first"#,
        ],
    },
    Case {
        about: "no name",
        replace: r#"name = "rome"
"#,
        with: "",
        errors: &[r#"berlin.toml:28:1: site #2: name is missing: write name = "paris""#],
    },
    Case {
        about: "a name of the wrong type",
        replace: r#"name = "rome""#,
        with: "name = 7",
        errors: &[
            r#"berlin.toml:29:8: site #2, name: expected a string, found the integer 7: write name = "paris""#,
        ],
    },
];
