//! The status page in a real browser. Without Chromium each test says so and is skipped.
#![cfg(feature = "web")]
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::panic)]

mod browser;
#[path = "../common/mod.rs"]
mod common;
mod open;
mod proxy;

use std::path::PathBuf;

use open::{DESK, Open, PHONE};
use proxy::Mode;
use serde_json::json;

const CHART: &str = "#large [data-key=memory] svg";

/// Where pictures go: beside the README where that is asked for, to be thrown away otherwise.
fn pictures() -> PathBuf {
    std::env::var_os("MONITOR_BOT_PICTURES")
        .map_or_else(|| env!("CARGO_TARGET_TMPDIR").into(), PathBuf::from)
}

/// An hour of history with two incidents.
const HOUR: &str = r#"watch add nginx
watch add postgres
rule add "cpu > 90"
wait 25m
fake memory 91
wait 4m
fake memory off
wait 18m
fake process:postgres 0
wait 3m
fake process:postgres 1
wait 10m
"#;

#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_what_happens() {
    // By the time of the bot, which is measured in readings, the page is there before the alert.
    let lines = HOUR.to_owned() + "rule add \"disk:/ > 55 for 20s\"\n";
    let Some(mut open) = Open::page(&lines).await else {
        return;
    };
    open.load("1h").await;
    let browser = &mut open.browser;
    browser.until_says("#headline", "All well").await;
    browser
        .until_says("#uptime", "100 % uptime in the last hour")
        .await;
    browser
        .until_says("#incidents summary", "2 incidents")
        .await;
    let first = browser
        .text("document.querySelector('#large .value').textContent")
        .await;
    browser
        .until(&format!(
            "document.querySelector('#large .value').textContent !== {first:?}"
        ))
        .await;
    // The alert comes by itself, is told to those who listen, and gets the first place.
    browser.until_says("#news", "New alert: Disk / is at").await;
    assert_eq!(
        browser
            .text("document.querySelector('#large .name').textContent")
            .await,
        "Disk /"
    );
    let alert = browser
        .text("document.querySelector('#alerts').innerText")
        .await;
    for part in [
        "Disk / is at",
        "above 55.0 %",
        "worst",
        "since",
        "ack 3",
        "rule disk:/ > 55 for 20s",
        "Used most: ",
    ] {
        assert!(alert.contains(part), "{part}: {alert}");
    }
    assert_eq!(browser.text("document.body.dataset.state").await, "bad");
    assert!(browser.text("document.title").await.starts_with("(1)"));
    assert_eq!(browser.text("window.stayed").await, "yes");
    browser
        .until("document.querySelector('[data-key=\"disk:/\"] .incident') !== null")
        .await;
    browser.picture(&pictures().join("page-light.png")).await;
    open.end(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_text_wherever_it_is_shown() {
    const NAME: &str = "z<b onmouseover=alert(1)>evil</b>";
    let lines = format!("watch add {NAME:?}\nwait 1m\nfake \"process:{NAME}\" 0\nwait 1m\n");
    let Some(mut open) = Open::page(&lines).await else {
        return;
    };
    let address = open.proxy.address.clone();
    open.browser.open(&address).await;
    open.browser.until_says("#incidents", "1 incident").await;
    let click = "document.querySelectorAll('summary').forEach(detail => detail.click())";
    open.browser.text(click).await;
    for place in [
        "[data-key=process] .note",
        "[data-key=process] .parts .name",
        "#incidents li",
    ] {
        open.browser.until_says(place, NAME).await;
    }
    assert_eq!(
        open.browser
            .text("document.querySelectorAll('b').length")
            .await,
        "0"
    );
    open.end(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_fits_a_desk_and_a_phone_in_the_light_and_in_the_dark() {
    let Some(mut open) = Open::page(HOUR).await else {
        return;
    };
    let watch = "window.jumped = []; new PerformanceObserver(list => list.getEntries().forEach(({ sources }) =>
        jumped.push(...sources.map(({ node }) => node?.className || node?.id || node?.nodeName)))).observe({ type: 'layout-shift' })";
    let script = json!({ "source": watch });
    open.browser
        .ask("Page.addScriptToEvaluateOnNewDocument", script)
        .await;
    open.load("1h").await;
    assert_eq!(
        open.browser.text("jumped.join()").await,
        "",
        "nothing jumps while it loads"
    );

    let mut grounds = Vec::new();
    for (size, scheme, name) in [
        (DESK, "light", "page-well.png"),
        (DESK, "dark", "page-dark.png"),
        (PHONE, "dark", "page-phone-dark.png"),
        (PHONE, "light", "page-phone.png"),
    ] {
        open.browser.size(size).await;
        open.browser.scheme(scheme).await;
        open.browser
            .until("document.documentElement.scrollWidth <= innerWidth")
            .await;
        open.browser.picture(&pictures().join(name)).await;
        let ground = "getComputedStyle(document.body).backgroundColor";
        grounds.push(open.browser.text(ground).await);
    }
    assert!(grounds[0] == grounds[3] && grounds[1] == grounds[2] && grounds[0] != grounds[1]);
    let height = open
        .browser
        .text("document.documentElement.scrollHeight")
        .await;
    assert!(height.parse::<u32>().unwrap() < 1_400, "{height}");
    // Fifty alerts do not bury the rest.
    let storm = "latest.metrics.flatMap(({ metric }) => [1, 2, 3].map(id => ({ id: metric + id, metric, text: metric, rule: metric, raised_at: 0 })))";
    let height =
        format!("(hear({{ ...latest, alerts: {storm} }}), document.documentElement.scrollHeight)");
    let height = open.browser.text(&height).await;
    assert!(height.parse::<u32>().unwrap() < 2_000, "{height}");
    open.end(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_connection_nothing_is_called_well_and_it_comes_back() {
    let Some(mut open) = Open::page("wait 10m\n").await else {
        return;
    };
    open.load("10m").await;
    for mode in [Mode::Unavailable, Mode::Silent] {
        open.proxy.set(mode);
        open.state("unknown").await;
        open.browser
            .until_says("#detail", "No connection since")
            .await;
        open.browser
            .until_says("#detail", "The figures below are")
            .await;
        assert!(open.is_old().await);
        assert!(open.browser.text("document.title").await.starts_with('?'));
        open.proxy.set(Mode::Open);
        open.state("well").await;
        open.shows("10m").await;
        assert!(!open.is_old().await);
    }
    assert_eq!(open.browser.text("window.stayed").await, "yes");

    // A laptop that sleeps: no script runs, the line is cut, and nothing tells so when it wakes.
    let frozen = json!({ "state": "frozen" });
    open.browser.ask("Page.setWebLifecycleState", frozen).await;
    open.proxy.set(Mode::Silent);
    open.browser.until("Date.now() - readAt > 10_000").await;
    assert_eq!(
        open.browser.text("document.body.dataset.state").await,
        "well",
        "it slept"
    );
    let active = json!({ "state": "active" });
    open.browser.ask("Page.setWebLifecycleState", active).await;
    open.browser
        .until("document.body.dataset.state !== 'well'")
        .await;
    open.proxy.set(Mode::Open);
    open.state("well").await;

    // The same for what cannot be measured any more.
    open.service.signal("STOP");
    open.browser.until_says("#headline", "No data since").await;
    assert!(open.is_old().await);
    open.service.signal("CONT");
    open.state("well").await;
    open.end(&["502", "ERR_"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn before_any_data_and_without_scripts_nothing_is_called_well() {
    let Some(mut open) = Open::page("wait 1m\n").await else {
        return;
    };
    let address = open.proxy.address.clone();
    open.proxy.set(Mode::Holding("/api/"));
    open.browser.open(&address).await;
    open.browser.until_says("#detail", "Connecting").await;
    let said = "document.querySelector('#verdict').innerText";
    assert!(open.browser.text(said).await.contains("Unknown"));
    assert!(
        !open
            .browser
            .text("document.body.innerText")
            .await
            .contains("well")
    );
    open.proxy.set(Mode::Open);
    open.state("well").await;

    let off = json!({ "value": true });
    open.browser
        .ask("Emulation.setScriptExecutionDisabled", off)
        .await;
    open.browser.open(&format!("{address}/?again")).await;
    open.browser
        .until("location.search === '?again' && document.readyState === 'complete'")
        .await;
    let said = open.browser.text(said).await;
    assert!(
        said.contains("Unknown") && said.contains("This page needs scripts"),
        "{said}"
    );
    open.end(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_bot_cannot_tell_or_store_is_not_called_well() {
    let Some(mut open) = Open::page("wait 1m\n").await else {
        return;
    };
    open.load("10m").await;
    for (fault, headline) in [
        ("problem: 'The database failed'", "unknown: Unknown"),
        ("stored_at: latest.at - 60", "stale: Not stored since"),
        ("stored_at: null", "stale: Not stored"),
        ("at: latest.at + 0.5, age: 60", "stale: No data since"),
        ("every: 1", "well: All well"),
    ] {
        let told = format!(
            "(hear({{ ...latest, {fault} }}), document.body.dataset.state + ': ' + byId('headline').textContent)"
        );
        let told = open.browser.text(&told).await;
        assert!(told.starts_with(headline), "{fault}: {told}");
        // The next reading tells how it really is.
        open.browser
            .until("latest.age < 60 && latest.problem === null")
            .await;
    }
    open.end(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_span_that_was_chosen_last_is_shown() {
    let Some(mut open) = Open::page("wait 1h\n").await else {
        return;
    };
    open.load("10m").await;
    // The page is asked to tell when the answer to a question is there, or is not waited for any more.
    let tell = "(fetched => window.fetch = (...asked) => {
        const answer = fetched(...asked), told = () => window.late ||= asked[0].includes('span=7d');
        answer.then(answer => answer.clone().text()).then(told, told);
        return answer;
    })(window.fetch)";
    open.browser.text(tell).await;
    open.proxy.set(Mode::Holding("span=7d"));
    open.choose("7d").await;
    open.browser.until("loading !== null").await;
    open.choose("1h").await;
    open.shows("1h").await;
    open.proxy.set(Mode::Open);
    open.browser.until("window.late").await;
    assert_eq!(open.browser.text("drawing.to - drawing.from").await, "3600");
    open.browser.until_says("#uptime", "in the last hour").await;

    // A span that cannot be had is not drawn as if it were.
    open.proxy.set(Mode::Unavailable);
    open.choose("1d").await;
    open.browser
        .until_says("#uptime", "The last day could not be read")
        .await;
    open.proxy.set(Mode::Open);
    open.shows("1d").await;
    open.end(&["502", "ERR_"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chart_can_be_read() {
    let Some(mut open) = Open::page(HOUR).await else {
        return;
    };
    open.load("1h").await;
    let browser = &mut open.browser;
    let axis = format!(
        "[...document.querySelectorAll('{CHART} text')].map(text => text.textContent).join(' ')"
    );
    let axis = browser.text(&axis).await;
    for part in ["0 %", "50 %", "100 %", "rule 85 %", "00:30"] {
        assert!(axis.contains(part), "{part}: {axis}");
    }
    // The rule's line stands at 85, between the lines of 50 and 100, and the incident is marked.
    let lines = format!(
        "[...document.querySelectorAll('{CHART} line')].map(line => ['x1', 'y1', 'y2'].map(end => +line.getAttribute(end)))"
    );
    let limit = format!("+document.querySelector('{CHART} line.limit').getAttribute('y1')");
    let off = format!(
        "(([nought, half, full]) => half + (full - half) * .7 - {limit})({lines}.filter(([x, y, to]) => y === to).map(([x, y]) => y))"
    );
    let off: f64 = browser.text(&off).await.parse().unwrap();
    assert!(off.abs() < 0.2, "{off}");
    let shaded = format!("document.querySelectorAll('{CHART} .incident').length");
    assert_eq!(browser.text(&shaded).await, "1");

    // One crosshair for all, with values.
    browser.hover(CHART, (250.0, 40.0)).await;
    let all = "[...document.querySelectorAll('.figure svg')].every(chart => chart.classList.contains('crossed'))";
    assert_eq!(browser.text(all).await, "true");
    let notes = "new Set([...document.querySelectorAll('.chart .note')].map(note => note.textContent.split(' · ')[0])).size";
    assert_eq!(browser.text(notes).await, "1", "all show the same moment");
    browser.hover("#foot", (5.0, 5.0)).await;
    browser.until("!document.querySelector('.crossed')").await;

    // The same with keys: the incident was 35 to 31 minutes ago, of which a slot is half a minute.
    browser
        .text(&format!("document.querySelector('{CHART}').focus()"))
        .await;
    let value = format!("document.querySelector('{CHART}').getAttribute('aria-valuetext')");
    browser.press("ArrowLeft").await;
    let last = browser.text(&value).await;
    browser.press("ArrowLeft").await;
    assert_ne!(browser.text(&value).await, last);
    for _ in 0..66 {
        browser.press("ArrowLeft").await;
    }
    assert!(browser.text(&value).await.starts_with("91.0 %"));
    browser.press("Escape").await;
    assert_eq!(
        browser
            .text("document.querySelectorAll('.crossed').length")
            .await,
        "0"
    );

    // Each core, when somebody wants to see them.
    browser
        .text("document.querySelector('#large [data-key=cpu] summary').click()")
        .await;
    browser
        .until("document.querySelectorAll('[data-key=\"cpu:1\"] .mean').length === 1")
        .await;
    open.end(&[]).await;
}
