//! A report of what was done to a gateway: as JSON, as a page, and as a browser shows it.
//!
//! ```text
//!  host a ── [gateway a] ──────── [gateway b] ── host b
//! ```

use std::fs;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use vm_tests::api::{Outage, Report, Series, SeriesKind, SiteState, SitesReply};
use vm_tests::chromium::{self, Chromium};
use vm_tests::netns::Netns;
use vm_tests::pair::Pair;
use vm_tests::topology::Family;
use vm_tests::{process, traffic, wait};

const SOON: Duration = Duration::from_secs(40);
/// How long nothing passes.
const OUT: Duration = Duration::from_secs(3);
/// An interval of the last hour.
const INTERVAL: Duration = Duration::from_secs(10);

fn report(pair: &Pair) -> Report {
    pair.a.ask(&["report"]).unwrap()
}

fn outages_of(report: &Report, kind: SeriesKind) -> Vec<&Outage> {
    let outages = report.history.outages.iter();
    outages.filter(|outage| outage.kind == kind).collect()
}

fn wait_for_state(pair: &Pair, wanted: SiteState) {
    wait::until("the site's state", SOON, || {
        let reply: SitesReply = pair.a.ask(&["sites"]).ok()?;
        (reply.sites[0].state == wanted).then_some(())
    })
    .unwrap();
}

/// What was done to the gateway, as it was seen from outside.
struct Cut {
    /// How long the site was down.
    down: Duration,
    /// A moment in which it was.
    within_unix_milliseconds: u64,
}

/// Nothing comes in by the tunnel's port until it is let in.
fn cut_and_heal(pair: &Pair) -> Cut {
    let netns = &pair.site_a().gateway;
    for line in [
        "nft add table inet cut",
        "nft add chain inet cut input { type filter hook input priority 0 ; }",
        "nft add rule inet cut input udp dport 51820 drop",
    ] {
        netns.run(line).unwrap();
    }
    wait_for_state(pair, SiteState::Down);
    let down = wait::now();
    let within = wait::date().duration_since(UNIX_EPOCH).unwrap();
    wait::pace(OUT);
    netns.run("nft delete table inet cut").unwrap();
    wait_for_state(pair, SiteState::Active);
    Cut {
        down: down.elapsed(),
        within_unix_milliseconds: within.as_millis() as u64,
    }
}

/// Every tenth data message (type 4) to the gateway is lost, while `while_lossy` runs.
fn lose_a_tenth(netns: &Netns, while_lossy: impl FnOnce()) {
    for line in [
        "nft add table inet lossy",
        "nft add chain inet lossy input { type filter hook input priority 0 ; }",
        "nft add rule inet lossy input udp dport 51820 @th,64,8 4 numgen inc mod 10 0 drop",
    ] {
        netns.run(line).unwrap();
    }
    while_lossy();
    netns.run("nft delete table inet lossy").unwrap();
}

#[test]
fn an_outage_a_loss_and_the_heaviest_conversation_stand_in_the_report_over_reload_hand_over_and_kill()
 {
    let mut pair = Pair::start(|plans| {
        // A machine that has much else to do misses no outage, and makes none.
        for plan in plans {
            plan.watch_each(1000, 5);
        }
    })
    .unwrap();
    let directory = pair.topology.directory().to_owned();
    let calm = report(&pair);
    assert_eq!(calm.history.outages, [], "nothing has happened yet");
    assert_eq!(calm.history.interval_milliseconds, 10_000);
    let summary = pair.a.command(&["report"]).unwrap();
    assert!(summary.contains("\nNothing happened.\n"), "{summary}");

    let cut = cut_and_heal(&pair);
    let host = &pair.site_a().host;
    lose_a_tenth(&pair.site_a().gateway, || {
        traffic::ping(host, pair.far(Family::V4), 200).unwrap();
    });
    // Dropped for a reason of its own.
    host.run("ping -c 3 -i 0.2 -W 1 10.2.0.77").unwrap_err();

    let told = wait::until("the loss in the report", SOON, || {
        let told = report(&pair);
        let links = told.history.series.iter();
        let mut links = links.filter(|series| series.kind == SeriesKind::Link);
        let lost = links.any(|link| link.worst_loss.iter().any(|loss| *loss > 200));
        lost.then_some(told)
    })
    .unwrap();
    check_outage(&told, &cut);
    let link = told
        .history
        .series
        .iter()
        .find(|series| series.kind == SeriesKind::Link)
        .unwrap();
    assert_eq!(link.site, "b");
    let worst = link.worst_loss.iter().max().unwrap();
    // Messages that were lost with the outage may be in the same ten seconds.
    assert!((200..=6000).contains(worst), "{worst}");
    let lost: u32 = link.missing_messages.iter().sum();
    assert!(lost >= 10, "{lost}");
    assert!(link.to_site_bytes.iter().sum::<u64>() > 10_000);
    let measured = link.round_trip_max_microseconds.iter().max();
    let measured = *measured.expect("BFD measures each ten seconds");
    assert!((10..2_000_000).contains(&measured), "{measured} µs");
    let live = pair.a.links().unwrap()[0].round_trip_microseconds;
    assert!(live.is_some());
    let ping = told.flows.iter().find(|flow| flow.protocol == "icmp");
    assert_eq!(ping.unwrap().remote, pair.far(Family::V4));

    let page = directory.join("report.html");
    let said = pair
        .a
        .command(&["report", "--html", page.to_str().unwrap()])
        .unwrap();
    assert!(said.contains("Site b was out for"), "{said}");
    let text = fs::read_to_string(&page).unwrap();
    for words in ["What was out", "BFD heard nothing for", "Site b", "icmp"] {
        assert!(text.contains(words), "{words} is not in {text}");
    }
    look_at(&page, &directory);

    // It goes on over a reload and a hand-over, and after a kill with a time in which nobody looked.
    pair.a.command(&["reload"]).unwrap();
    check_outage(&report(&pair), &cut);
    pair.a.take_over().unwrap();
    let next = report(&pair);
    check_outage(&next, &cut);
    assert!(
        next.history
            .series
            .iter()
            .all(|series| !series.states.contains('-'))
    );
    wait::until("the next agent to have written it down", SOON, || {
        let file = format!("/run/crossway/{}.history", pair.a.name());
        let written = fs::metadata(file).ok()?.modified().ok()?;
        let pid = fs::metadata(format!("/proc/{}", pair.a.pid().ok()?)).ok()?;
        (written > pid.modified().ok()?).then_some(())
    })
    .unwrap();
    pair.a.kill().unwrap();
    pair.a.start_again().unwrap();
    pair.wait_until_up().unwrap();
    let after = report(&pair);
    check_outage(&after, &cut);
    let watched = |series: &Series| series.states.contains("-U");
    wait::until("the gap in the report", SOON, || {
        report(&pair)
            .history
            .series
            .iter()
            .any(watched)
            .then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}: {:?}", report(&pair).history.series));
}

/// The site was out then, and as long as its state said, but for an interval.
fn check_outage(told: &Report, cut: &Cut) {
    let outages = outages_of(told, SeriesKind::Site);
    let times = |outage: &Outage| {
        let ended = outage.ended_unix_milliseconds.unwrap();
        (outage.began_unix_milliseconds, ended)
    };
    let mut of_cut = outages.iter().filter(|outage| {
        let (began, ended) = times(outage);
        (began..ended).contains(&cut.within_unix_milliseconds)
    });
    let outage = of_cut.next().unwrap_or_else(|| panic!("{outages:?}"));
    let lasted = |outage: &Outage| {
        let (began, ended) = times(outage);
        Duration::from_millis(ended - began)
    };
    let all: Duration = outages.iter().map(|outage| lasted(outage)).sum();
    let (lasted, down) = (lasted(outage), cut.down);
    assert!(lasted.abs_diff(down) < INTERVAL, "{lasted:?}, {down:?}");
    assert!(lasted >= OUT, "{lasted:?}");
    assert!(outage.cause.contains("BFD heard nothing"), "{outage:?}");
    let series = &told.history.series;
    let site = series.iter().find(|series| series.kind == SeriesKind::Site);
    let site = site.unwrap();
    let out: u32 = site.out_milliseconds.iter().sum();
    let out = Duration::from_millis(out.into());
    assert!(
        out.abs_diff(all) < Duration::from_millis(200),
        "{out:?}, {all:?}"
    );
    assert!(site.states.contains('D'), "{}", site.states);
}

/// The page as a browser shows and prints it: it says nothing in the console and is not blank.
fn look_at(page: &Path, directory: &Path) {
    if !process::in_path("chromium") {
        eprintln!("no chromium here: how the page looks is not tested (apt-get install chromium)");
        return;
    }
    let browser = Chromium::new(directory).unwrap();
    // What a page that loads and says something would show.
    let noisy = directory.join("noisy.html");
    fs::write(
        &noisy,
        "<script>console.log('here')</script><img src=\"http://192.0.2.1/x.png\">",
    )
    .unwrap();
    let opened = browser.picture(&noisy, (300, 300), false).unwrap();
    let console = opened.console.concat();
    assert!(console.contains("here"), "{console}");
    for width in [1280, 390] {
        let mut brightness = Vec::new();
        for dark in [false, true] {
            let opened = browser.picture(page, (width, 1600), dark).unwrap();
            assert_eq!(opened.console, [""; 0]);
            let picture = chromium::look_at(&opened.file).unwrap();
            assert!(picture.colours > 50, "{picture:?}");
            brightness.push(picture.brightness);
        }
        assert!(brightness[0] > 200 && brightness[1] < 60, "{brightness:?}");
    }
    let printed = browser.print(page).unwrap();
    assert_eq!(printed.console, [""; 0]);
    let sheets = chromium::sheets_of(&printed.file).unwrap();
    assert!((1..=10).contains(&sheets), "{sheets}");
}
