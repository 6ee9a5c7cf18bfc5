//! Times as the page has them: UTC, and short.

use std::time::{Duration, SystemTime};

use humantime::format_rfc3339_seconds;

use crate::cli::units;

/// `2027-01-15 08:00:05`.
pub(super) fn date_and_time(unix_milliseconds: u64) -> String {
    let at = SystemTime::UNIX_EPOCH + Duration::from_millis(unix_milliseconds);
    let text = format_rfc3339_seconds(at).to_string();
    text.trim_end_matches('Z').replace('T', " ")
}

/// `08:00:05`.
pub(super) fn time(unix_milliseconds: u64) -> String {
    let text = date_and_time(unix_milliseconds);
    text.split_once(' ')
        .map_or(text.clone(), |(_, time)| time.to_owned())
}

/// `08:00`.
pub(super) fn hour_and_minute(unix_milliseconds: u64) -> String {
    let mut text = time(unix_milliseconds);
    text.truncate(5);
    text
}

/// `0.7 s`, `12.0 s`, `3m 05s`.
pub(super) fn lasted(milliseconds: u64) -> String {
    if milliseconds < 60_000 {
        return format!("{}.{} s", milliseconds / 1000, milliseconds % 1000 / 100);
    }
    units::duration(milliseconds / 1000)
}

/// `450 µs`, `1.9 ms`, `120 ms`.
pub(super) fn round_trip(microseconds: u32) -> String {
    match microseconds {
        0..1000 => format!("{microseconds} µs"),
        1000..10_000 => format!("{:.1} ms", f64::from(microseconds) / 1000.0),
        10_000..10_000_000 => format!("{} ms", microseconds / 1000),
        _ => format!("{:.1} s", f64::from(microseconds) / 1_000_000.0),
    }
}

/// `0.05 %`, of hundredths of a percent.
pub(super) fn share(hundredths: u16) -> String {
    format!("{}.{:02} %", hundredths / 100, hundredths % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_utc_and_short() {
        let at = 1_800_000_005_999;
        assert_eq!(date_and_time(at), "2027-01-15 08:00:05");
        assert_eq!(
            (time(at), hour_and_minute(at)),
            ("08:00:05".into(), "08:00".into())
        );
        assert_eq!(lasted(700), "0.7 s");
        assert_eq!(lasted(59_999), "59.9 s");
        assert_eq!(lasted(185_000), "3m 05s");
        assert_eq!(round_trip(450), "450 µs");
        assert_eq!(round_trip(1_940), "1.9 ms");
        assert_eq!(round_trip(120_400), "120 ms");
        assert_eq!(round_trip(12_000_000), "12.0 s");
        assert_eq!(share(5), "0.05 %");
    }
}
