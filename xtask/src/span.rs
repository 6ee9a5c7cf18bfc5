//! Spans of time as one types them: `10s`, `2m`, `1h 30m`, `500ms`, or a number of seconds.

use std::time::Duration;

/// Longer is a slip.
const LONGEST: Duration = Duration::from_hours(24 * 30);

/// Reads one.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().map(Duration::try_from_secs_f64);
    let span = match seconds {
        Some(seconds) => seconds.ok(),
        None => humantime::parse_duration(text).ok(),
    };
    span.filter(|span| *span <= LONGEST)
        .ok_or_else(|| "expected a time such as 10s, 2m, 1h 30m or a number of seconds".to_owned())
}

/// Reads one that is not zero.
pub(crate) fn parse_some(text: &str) -> Result<Duration, String> {
    let span = parse(text)?;
    if span.is_zero() {
        return Err("expected more than no time".to_owned());
    }
    Ok(span)
}

/// Writes one so that [`parse`] reads it.
pub(crate) fn show(span: Duration) -> String {
    // One word.
    humantime::format_duration(span)
        .to_string()
        .replace(' ', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_commands_read_times_alike() {
        for (text, milliseconds) in [
            ("10s", 10_000),
            ("2m", 120_000),
            ("1h 30m", 5_400_000),
            ("500ms", 500),
            ("90", 90_000),
            ("1.5", 1500),
            ("0s", 0),
            ("0", 0),
        ] {
            let expected = Duration::from_millis(milliseconds);
            assert_eq!(parse(text), Ok(expected), "{text}");
            assert_eq!(parse(&show(expected)), Ok(expected), "{text}");
        }
        for text in [
            "",
            "soon",
            "5 fortnights",
            "-1s",
            "-1",
            "1e30",
            "NaN",
            "2000d",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse_some("0s").is_err());
    }
}
