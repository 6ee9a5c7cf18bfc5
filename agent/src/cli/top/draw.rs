//! The screen, from 60 columns and 12 lines on.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Clear, Paragraph, Row, Table};

use super::super::units::{bytes, count, duration, rate};
use super::keys::HELP;
use super::poll::Sample;
use super::state::{HISTORY, History, State, Upper, links_of};
use crate::control::message::{Flow, SiteState};
use crate::control::{FlowSort, protocol};

const LEAST: (u16, u16) = (60, 12);
/// Lines of the upper table, without its head.
const UPPER_LINES: u16 = 5;

const HEAD: Style = Style::new().add_modifier(Modifier::BOLD);
const BAD: Style = Style::new().fg(Color::Red);
const ODD: Style = Style::new().fg(Color::Yellow);

pub(super) fn draw(frame: &mut Frame<'_>, state: &State) {
    let area = frame.area();
    if area.width < LEAST.0 || area.height < LEAST.1 {
        let (width, height) = LEAST;
        let text = format!("crossway top needs {width} columns and {height} lines");
        return frame.render_widget(Paragraph::new(text), area);
    }
    let Some(sample) = &state.sample else {
        return frame.render_widget(Paragraph::new("Waiting for the gateway …"), area);
    };
    let rows = match state.upper {
        Upper::Sites => sample.status.sites.len(),
        Upper::Links => links_of(sample).count(),
    };
    let upper = (rows as u16).clamp(1, UPPER_LINES) + 1;
    let [head, middle, drops, flows, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(upper),
        Constraint::Length(1),
        Constraint::Min(2),
        Constraint::Length(1),
    ])
    .areas(area);
    frame.render_widget(head_line(state, sample), head);
    match state.upper {
        Upper::Sites => draw_sites(frame, middle, state, sample),
        Upper::Links => draw_links(frame, middle, state, sample),
    }
    frame.render_widget(drops_line(state), drops);
    draw_flows(frame, flows, state, sample);
    frame.render_widget(foot_line(state, sample), foot);
    if state.help {
        draw_help(frame, area);
    }
}

fn head_line(state: &State, sample: &Sample) -> Line<'static> {
    let status = &sample.status;
    let totals = &status.totals;
    let mut spans = vec![
        Span::styled(status.gateway.clone(), HEAD),
        Span::raw(format!(
            "  up {}  to sites {}  from sites {}",
            duration(status.uptime_seconds),
            rate(totals.to_site_bytes_per_second),
            rate(totals.from_site_bytes_per_second),
        )),
    ];
    if let Some(problem) = &state.problem {
        spans.push(Span::styled(format!("  {problem}"), BAD));
    } else if state.paused {
        spans.push(Span::styled("  held", ODD));
    } else if !status.warnings.is_empty() {
        let warnings = count(status.warnings.len() as u64);
        spans.push(Span::styled(
            format!("  {warnings} warnings: crossway status"),
            ODD,
        ));
    }
    Line::from(spans)
}

fn draw_sites(frame: &mut Frame<'_>, area: Rect, state: &State, sample: &Sample) {
    let rows = sample.status.sites.iter().map(|site| {
        let style = match site.state {
            SiteState::Active => Style::new(),
            SiteState::Down => BAD,
            SiteState::Degraded => ODD,
        };
        Row::new([
            site.name.clone(),
            site.state.as_str().to_owned(),
            rate(site.traffic.to_site_bytes_per_second),
            rate(site.traffic.from_site_bytes_per_second),
            sparkline(state.site_history(&site.name)),
            site.links.len().to_string(),
        ])
        .style(style)
    });
    let widths = [
        Constraint::Fill(2),
        Constraint::Length(10),
        Constraint::Length(12),
        Constraint::Length(12),
        Constraint::Length(HISTORY as u16),
        Constraint::Length(5),
    ];
    let head = [
        "SITE",
        "STATE",
        "TO SITE",
        "FROM SITE",
        "BOTH WAYS",
        "LINKS",
    ];
    frame.render_widget(table(rows, widths, head), area);
}

fn draw_links(frame: &mut Frame<'_>, area: Rect, state: &State, sample: &Sample) {
    let rows = links_of(sample).map(|link| {
        let (to, from) = state.link_rates(link);
        let name = match &link.link {
            Some(path) => format!("{}/{path}", link.gateway),
            None => link.gateway.clone(),
        };
        Row::new([
            format!("{}/{name}", link.site),
            link.lane.to_string(),
            format!("{:?}", link.state),
            rate(to),
            rate(from),
            sparkline(state.link_history(link)),
        ])
    });
    let widths = [
        Constraint::Fill(2),
        Constraint::Length(4),
        Constraint::Length(10),
        Constraint::Length(12),
        Constraint::Length(12),
        Constraint::Length(HISTORY as u16),
    ];
    let head = ["LINK", "LANE", "STATE", "SENT", "RECEIVED", "BOTH WAYS"];
    frame.render_widget(table(rows, widths, head), area);
}

fn table<'a, const N: usize>(
    rows: impl Iterator<Item = Row<'a>>,
    widths: [Constraint; N],
    head: [&'a str; N],
) -> Table<'a> {
    Table::new(rows, widths).header(Row::new(head).style(HEAD))
}

fn drops_line(state: &State) -> Line<'static> {
    let mut spans = vec![Span::styled("DROPPED ", HEAD)];
    let drops = state.drops();
    if drops.is_empty() {
        spans.push(Span::raw("nothing"));
    }
    for (drop, per_second) in drops {
        let text = format!("{} {} ", drop.reason, count(drop.packets));
        let now = (per_second > 0).then(|| format!("(+{}/s) ", count(per_second)));
        spans.push(Span::raw(text));
        spans.extend(now.map(|now| Span::styled(now, BAD)));
    }
    Line::from(spans)
}

fn draw_flows(frame: &mut Frame<'_>, area: Rect, state: &State, sample: &Sample) {
    let lines = usize::from(area.height.saturating_sub(1));
    let flows = sample.flows.flows.iter().skip(state.scroll).take(lines);
    let rows = flows.map(|flow| {
        let mark = match way(flow) {
            "" => Cell::new(""),
            mark => Cell::new(mark).style(ODD),
        };
        Row::new([
            Cell::new(flow.protocol.clone()),
            Cell::new(protocol::end(
                flow.protocol_number,
                flow.local,
                flow.local_port,
            )),
            Cell::new(protocol::end(
                flow.protocol_number,
                flow.remote,
                flow.remote_port,
            )),
            Cell::new(flow.site.clone()),
            mark,
            Cell::new(rate(flow.bytes_per_second())),
            Cell::new(bytes(
                flow.to_site_bytes.saturating_add(flow.from_site_bytes),
            )),
            Cell::new(duration(flow.age_seconds)),
        ])
    });
    let widths = [
        Constraint::Length(6),
        Constraint::Fill(3),
        Constraint::Fill(3),
        Constraint::Fill(1),
        Constraint::Length(4),
        Constraint::Length(12),
        Constraint::Length(9),
        Constraint::Length(4),
    ];
    let head = [
        "PROTO", "LOCAL", "REMOTE", "SITE", "1WAY", "RATE", "BYTES", "AGE",
    ];
    frame.render_widget(table(rows, widths, head), area);
}

/// Which way a flow goes that goes one way alone.
fn way(flow: &Flow) -> &'static str {
    match (flow.to_site_packets > 0, flow.from_site_packets > 0) {
        (true, false) => "->",
        (false, true) => "<-",
        _ => "",
    }
}

fn foot_line(state: &State, sample: &Sample) -> Line<'static> {
    if let Some((text, problem)) = &state.typed {
        let mut spans = vec![
            Span::styled("filter: ", HEAD),
            Span::raw(format!("{text}_")),
        ];
        spans.extend(
            problem
                .clone()
                .map(|problem| Span::styled(format!("  {problem}"), BAD)),
        );
        return Line::from(spans);
    }
    let filter = state.filter.to_string();
    let filter = if filter.is_empty() {
        "all".to_owned()
    } else {
        filter
    };
    Line::from(vec![
        Span::styled("q", HEAD),
        Span::raw("uit "),
        Span::styled("s", HEAD),
        Span::raw(format!("ort:{} ", sort_word(state.sort))),
        Span::styled("/", HEAD),
        Span::raw(format!("{filter} ")),
        Span::styled("o", HEAD),
        Span::raw("ne-way "),
        Span::styled("Tab", HEAD),
        Span::raw(" links "),
        Span::styled("?", HEAD),
        Span::raw(format!(
            " help  {} of {} flows",
            count(sample.flows.matched),
            count(sample.flows.present)
        )),
    ])
}

fn sort_word(sort: FlowSort) -> &'static str {
    match sort {
        FlowSort::Bytes => "bytes",
        FlowSort::Packets => "packets",
        FlowSort::Rate => "rate",
        FlowSort::Age => "age",
        FlowSort::Idle => "idle",
        FlowSort::Table => "table",
    }
}

fn draw_help(frame: &mut Frame<'_>, area: Rect) {
    let lines = HELP.iter().map(|(key, what)| {
        Line::from(vec![
            Span::styled(format!("{key:16}"), HEAD),
            Span::raw(*what),
        ])
    });
    let lines: Vec<Line<'_>> = lines.collect();
    let height = (lines.len() as u16).min(area.height);
    let place = Rect { height, ..area };
    frame.render_widget(Clear, place);
    frame.render_widget(Paragraph::new(lines), place);
}

/// The last looks as bars, the highest of them as high as a line.
fn sparkline(history: Option<&History>) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let Some(history) = history else {
        return String::new();
    };
    let highest = history.iter().copied().max().unwrap_or(0).max(1);
    let bar = |value: &u64| {
        let level = u128::from(*value) * (BARS.len() as u128 - 1) / u128::from(highest);
        BARS.get(level as usize).copied().unwrap_or('█')
    };
    history.iter().map(bar).collect()
}
