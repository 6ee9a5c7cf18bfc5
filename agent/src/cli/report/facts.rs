//! What a report says, before it is drawn: sums and extremes of each site, and whether anything has happened.

use crate::control::message::{Outage, Report, Series, SeriesKind};

/// A loss below is none to speak of: hundredths of a percent of the worst ten seconds.
pub(super) const NOTABLE_LOSS: u16 = 100;

/// A report with what follows from it.
pub(super) struct Facts<'a> {
    pub(super) report: &'a Report,
    /// When it begins and ends.
    pub(super) begin: u64,
    pub(super) end: u64,
    /// In the order of the file.
    pub(super) sites: Vec<SiteFacts<'a>>,
    /// Of links, those that are notable.
    pub(super) worst_loss: Option<(&'a Series, Extreme)>,
    /// Milliseconds in which nobody looked.
    pub(super) unwatched: u64,
}

/// A site with its links.
pub(super) struct SiteFacts<'a> {
    pub(super) site: Sums<'a>,
    pub(super) links: Vec<Sums<'a>>,
}

/// A series with its sums and extremes.
pub(super) struct Sums<'a> {
    pub(super) series: &'a Series,
    pub(super) out: u64,
    pub(super) watched: u64,
    pub(super) to_site: u64,
    pub(super) from_site: u64,
    pub(super) to_site_peak: Extreme,
    pub(super) from_site_peak: Extreme,
    pub(super) worst_loss: Extreme,
    /// Messages lost, and all that the far end sent.
    pub(super) lost: (u64, u64),
    pub(super) round_trip: Option<RoundTrips>,
}

/// The largest number of a series, and the interval that has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Extreme {
    pub(super) value: u64,
    pub(super) interval: usize,
}

/// Of all intervals that have any, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RoundTrips {
    pub(super) min: u32,
    pub(super) mean: u32,
    pub(super) max: Extreme,
}

impl<'a> Facts<'a> {
    pub(super) fn of(report: &'a Report) -> Self {
        let history = &report.history;
        let of_kind = |kind| {
            let series = history.series.iter();
            series.filter(move |series| series.kind == kind)
        };
        let sites = of_kind(SeriesKind::Site).map(|site| SiteFacts {
            site: Sums::of(site),
            links: of_kind(SeriesKind::Link)
                .filter(|link| link.site == site.name)
                .map(Sums::of)
                .collect(),
        });
        let sites: Vec<SiteFacts<'_>> = sites.collect();
        let losses = sites.iter().flat_map(|site| &site.links);
        let losses = losses.map(|link| (link.series, link.worst_loss));
        let worst_loss = losses
            .filter(|(_, loss)| loss.value >= NOTABLE_LOSS.into())
            .max_by_key(|(_, loss)| loss.value);
        let end = history.until_unix_milliseconds;
        let begin = history.begins_unix_milliseconds.first().copied();
        let mut facts = Self {
            report,
            begin: begin.unwrap_or(end),
            end,
            sites,
            worst_loss,
            unwatched: 0,
        };
        facts.unwatched = facts.unwatched();
        facts
    }

    /// Intervals that are told.
    pub(super) fn intervals(&self) -> usize {
        self.report.history.begins_unix_milliseconds.len()
    }

    /// When an interval begins; the one behind the last is the end.
    pub(super) fn begin_of(&self, interval: usize) -> u64 {
        let begins = &self.report.history.begins_unix_milliseconds;
        begins.get(interval).copied().unwrap_or(self.end)
    }

    /// How long an interval is.
    pub(super) fn length_of(&self, interval: usize) -> u64 {
        let begin = self.begin_of(interval);
        self.begin_of(interval + 1).saturating_sub(begin)
    }

    /// How long the report is.
    pub(super) fn span(&self) -> u64 {
        self.end.saturating_sub(self.begin)
    }

    /// Sites that were out, the longest first, with their time.
    pub(super) fn sites_out(&self) -> Vec<&SiteFacts<'a>> {
        let out = self.sites.iter().filter(|site| site.site.out > 0);
        let mut out: Vec<&SiteFacts<'_>> = out.collect();
        out.sort_by_key(|site| std::cmp::Reverse(site.site.out));
        out
    }

    /// How long an outage lasted, as far as this report tells of it.
    pub(super) fn lasted(&self, outage: &Outage) -> u64 {
        let end = outage.ended_unix_milliseconds.unwrap_or(self.end);
        end.saturating_sub(outage.began_unix_milliseconds)
    }

    /// Whether a reader can go home.
    pub(super) fn nothing_happened(&self) -> bool {
        let history = &self.report.history;
        history.outages.is_empty()
            && history.warnings.is_empty()
            && history.clock_steps.is_empty()
            && self.worst_loss.is_none()
            && self.sites.iter().all(|site| !site.has_been_out())
    }

    /// Intervals that nobody has watched at all.
    fn unwatched(&self) -> u64 {
        let unwatched = (0..self.intervals()).filter(|interval| {
            let mut series = self.report.history.series.iter();
            series.all(|series| series.states.as_bytes().get(*interval) == Some(&b'-'))
        });
        unwatched.map(|interval| self.length_of(interval)).sum()
    }
}

impl SiteFacts<'_> {
    /// Whether the site or one of its links has been out.
    pub(super) fn has_been_out(&self) -> bool {
        self.site.out > 0 || self.links.iter().any(|link| link.out > 0)
    }

    /// What is worth a look comes first: time out, loss, bytes.
    pub(super) fn weight(&self) -> (u64, u64, u64, u64) {
        let links = || self.links.iter();
        (
            self.site.out,
            links().map(|link| link.out).sum(),
            links().map(|link| link.worst_loss.value).max().unwrap_or(0),
            self.site.to_site + self.site.from_site,
        )
    }
}

impl<'a> Sums<'a> {
    fn of(series: &'a Series) -> Self {
        let lost = sum(&series.missing_messages);
        Self {
            series,
            out: sum(&series.out_milliseconds),
            watched: sum(&series.watched_milliseconds),
            to_site: series.to_site_bytes.iter().sum(),
            from_site: series.from_site_bytes.iter().sum(),
            to_site_peak: Extreme::of(&series.to_site_peak),
            from_site_peak: Extreme::of(&series.from_site_peak),
            worst_loss: Extreme::of(&series.worst_loss),
            lost: (lost, lost + sum(&series.received_messages)),
            round_trip: RoundTrips::of(series),
        }
    }

    /// The loss of the whole time, in hundredths of a percent.
    pub(super) fn loss(&self) -> u16 {
        let (lost, sent) = self.lost;
        (lost * 10_000).checked_div(sent).unwrap_or(0) as u16
    }
}

impl Extreme {
    fn of<N: Copy + Into<u64>>(numbers: &[N]) -> Self {
        let numbers = numbers.iter().enumerate();
        let all = numbers.map(|(interval, value)| Self {
            value: (*value).into(),
            interval,
        });
        // The first of several.
        all.rev()
            .max_by_key(|extreme| extreme.value)
            .unwrap_or_default()
    }
}

impl RoundTrips {
    fn of(series: &Series) -> Option<Self> {
        let measured = |numbers: &[u32]| -> Vec<u32> {
            numbers
                .iter()
                .copied()
                .filter(|number| *number > 0)
                .collect()
        };
        let means = measured(&series.round_trip_mean_microseconds);
        let min = measured(&series.round_trip_min_microseconds)
            .into_iter()
            .min()?;
        let mean = sum(&means).checked_div(means.len() as u64)?;
        Some(Self {
            min,
            mean: mean as u32,
            max: Extreme::of(&series.round_trip_max_microseconds),
        })
    }
}

fn sum(numbers: &[u32]) -> u64 {
    numbers.iter().map(|number| u64::from(*number)).sum()
}
