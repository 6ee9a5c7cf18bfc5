//! What `crossway check` says of `[flows]`.

use crate::said_of;

/// A file with that at its end, and what is said of it.
fn flows(lines: &str) -> String {
    said_of(&format!("\n[flows]\n{lines}\n"), |config| &config.flows)
}

#[test]
fn where_flows_go_is_read_with_its_defaults_and_every_fault_is_told() {
    let cases = [
        ("", "FlowExport { file: None, collector: None }"),
        (
            "file = \"/var/log/f.jsonl\"",
            "FlowExport { file: Some(FlowFile { path: \"/var/log/f.jsonl\", size_mib: 64, count: 4 }), \
             collector: None }",
        ),
        (
            "file = \"/f\"\nfile_mib = 1\nfiles = 1\ncollector = \"[2001:db8::9]:4739\"\ndomain = 7\n\
             enterprise = 99\ntemplate_seconds = 5",
            "FlowExport { file: Some(FlowFile { path: \"/f\", size_mib: 1, count: 1 }), \
             collector: Some(Collector { address: [2001:db8::9]:4739, domain: 7, enterprise: 99, \
             template_pace: 5s }) }",
        ),
        (
            "file = \"/var/log/\"",
            r#"flows, file: /var/log/ is not the name of a file: write one such as "/var/log/crossway/flows.jsonl""#,
        ),
        (
            "file = 7",
            r#"flows, file: expected a string, found the integer 7: write file = "/var/log/crossway/flows.jsonl""#,
        ),
        (
            "file = \"/f\"\nfile_mib = 0",
            "flows, file_mib: 0 is out of range: write a number from 1 to 65536, such as 64",
        ),
        (
            "files = 3\ndomain = 1",
            "flows, files: it means nothing without file: add file, or take it out\n\
             flows, domain: it means nothing without collector: add collector, or take it out",
        ),
        (
            "collector = \"flows.example.net:4739\"",
            "flows, collector: flows.example.net:4739 is not an address and a port: write those of the \
             collector, such as \"192.0.2.9:4739\" (no host name: a name server that does not answer must \
             not hide what happened meanwhile)",
        ),
        (
            "collector = \"0.0.0.0:4739\"\nfiel = \"/f\"",
            "flows, collector: 0.0.0.0:4739 is not an address and a port: write those of the \
             collector, such as \"192.0.2.9:4739\" (no host name: a name server that does not answer must \
             not hide what happened meanwhile)\n\
             flows: unknown key \"fiel\": did you mean \"file\"?",
        ),
    ];
    for (lines, expected) in cases {
        assert_eq!(flows(lines), expected, "{lines}");
    }
}
