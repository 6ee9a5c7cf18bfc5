//! `crossway log`, and `crossway log level`.

use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};
use clap_complete::engine::ArgValueCandidates;
use humantime::format_rfc3339_millis;

use super::failure::Failure;
use super::output::{Colour, Look};
use super::{Options, complete, following, reading};
use crate::control::message::{LogFilter, LogLevel, LogLine, LogReply, LogRequest};
use crate::control::{Request, Response};

const LEVEL_WIDTH: usize = 5;

/// What `crossway log` takes.
#[derive(Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    long_about = "Show what the running agent says in its log, oldest first; what the eBPF programs say is among it. \
                  The gateway keeps the last 2,048 lines, a megabyte at most, since its agent was started.",
    after_help = "With --json each line is one of JSON (NDJSON): sequence, unix_milliseconds, level, target, message, fields. A line {\"missed\":N} means that N lines, of all levels and sites, were discarded before this reader had read them.\n\n\
                  With --follow the exit code is 1 when the gateway ends.\n\n\
                  Examples:\n  \
                  crossway log --follow --level warn\n  \
                  crossway log --site paris --last 20\n  \
                  crossway log level info,crossway::host=debug\n  \
                  crossway log level default"
)]
pub(super) struct Log {
    #[command(subcommand)]
    command: Option<LogCommand>,
    /// Show the last N lines only; with --follow, 10 where nothing is said
    #[arg(long, value_name = "N")]
    last: Option<usize>,
    /// Go on and show each new line as it comes, until Ctrl-C
    #[arg(long)]
    follow: bool,
    /// Only lines of this level and above: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value = "trace")]
    level: LogLevel,
    /// Only lines that are about this site or one of its links
    #[arg(long, value_name = "NAME", add = ArgValueCandidates::new(complete::sites))]
    site: Option<String>,
}

#[derive(Debug, Subcommand)]
enum LogCommand {
    /// Show what is logged, or log something else until the agent ends
    Level {
        /// error, warn, info, debug or trace; for a part of the agent info,crossway::host=debug; default is what the
        /// agent was started with
        #[arg(value_name = "LEVEL")]
        level: Option<String>,
    },
}

/// Shows the log, or sets what is logged.
pub(super) fn log(options: &Options, wanted: &Log) -> Result<(), Failure> {
    if let Some(LogCommand::Level { level }) = &wanted.command {
        return self::level(options, level.clone());
    }
    let look = Look::of_stdout(options);
    let before_following = wanted.follow.then_some(following::BEFORE);
    let request = Request::Log(LogRequest {
        last: wanted.last.or(before_following),
        follow: wanted.follow,
        level: wanted.level,
        site: wanted.site.clone(),
    });
    if !wanted.follow {
        let reply = reading::ask(options, &request, pick)?;
        return show(options, &reply, look);
    }
    following::follow(options, &request, pick, |reply| show(options, reply, look))
}

fn level(options: &Options, filter: Option<String>) -> Result<(), Failure> {
    let request = Request::LogFilter { filter };
    let pick = |response| match response {
        Response::LogFilter(reply) => Some(reply),
        _ => None,
    };
    reading::show(options, &request, pick, |reply: &LogFilter, _| {
        format!("{}\n", reply.filter)
    })
}

fn pick(response: Response) -> Option<LogReply> {
    match response {
        Response::Log(reply) => Some(reply),
        _ => None,
    }
}

fn show(options: &Options, reply: &LogReply, look: Look) -> Result<(), Failure> {
    let missed = (reply.missed, ["line was", "lines were"]);
    following::print_records(options, look, missed, reply.lines.iter(), |line| {
        self::line(line, look)
    })
}

fn line(line: &LogLine, look: Look) -> String {
    let at = SystemTime::UNIX_EPOCH + Duration::from_millis(line.unix_milliseconds);
    let level = format!("{:LEVEL_WIDTH$}", line.level.as_str());
    let colour = match line.level {
        LogLevel::Error => Some(Colour::Red),
        LogLevel::Warn => Some(Colour::Yellow),
        LogLevel::Info | LogLevel::Debug | LogLevel::Trace => None,
    };
    let level = look.paint(&level, colour);
    format!(
        "{}  {level}  {}: {line}\n",
        format_rfc3339_millis(at),
        line.target
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_time_level_place_words_and_fields() {
        let told = LogLine {
            sequence: 7,
            unix_milliseconds: 1_800_000_000_123,
            level: LogLevel::Warn,
            target: "crossway::gateway".to_owned(),
            message: "lan0 is away".to_owned(),
            fields: [("interface".to_owned(), "lan0".to_owned())].into(),
        };
        assert_eq!(
            line(&told, Look::PLAIN),
            "2027-01-15T08:00:00.123Z  warn   crossway::gateway: lan0 is away interface=lan0\n"
        );
    }
}
