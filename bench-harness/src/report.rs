//! Results as one HTML page with drawings in it: nothing to install, nothing fetched.
//!
//! Three drawings per page: the whole distribution of latencies with an axis that gives each nine
//! the same room, latency over time, and CPU per gigabyte and per million requests as bars. Input
//! is the JSON of loads and of `compare`; unknown fields are ignored.

use std::fmt::Write as _;
use std::fs;
use std::io::Write;

use serde_json::Value;

use crate::Verdict;
use crate::args::ReportArgs;
use crate::error::BenchError;

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 76.0;
const BOTTOM: f64 = 40.0;
const TOP: f64 = 16.0;
/// Told apart also by people who see few colours.
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

/// Reads results and writes the page.
pub fn run(args: &ReportArgs, out: &mut dyn Write) -> Result<Verdict, BenchError> {
    let mut series = Vec::new();
    for path in &args.results {
        let name = path.display().to_string();
        let text = fs::read_to_string(path)
            .map_err(|error| BenchError::system(format!("cannot read {name}"), error))?;
        let value: Value = serde_json::from_str(&text)
            .map_err(|error| BenchError::Usage(format!("{name} is no result: {error}")))?;
        let stem = path.file_stem().map_or(name, |stem| stem.to_string_lossy().into_owned());
        collect(&stem, &value, &mut series);
    }
    if series.is_empty() {
        return Err(BenchError::Usage("no result in these files".to_owned()));
    }
    fs::write(&args.output, page(&args.title, &series)).map_err(|error| {
        BenchError::system(format!("cannot write {}", args.output.display()), error)
    })?;
    writeln!(out, "{}", args.output.display())?;
    Ok(Verdict::Sound)
}

/// One result with the name it has on the page.
#[derive(Debug, Clone)]
struct Series {
    name: String,
    value: Value,
}

fn collect(name: &str, value: &Value, series: &mut Vec<Series>) {
    match value.get("runs").and_then(Value::as_array) {
        Some(runs) => {
            // One round of each is drawn: the median one by p99.
            for which in ["a", "b"] {
                let mut mine: Vec<&Value> = runs
                    .iter()
                    .filter(|run| run["side"] == which)
                    .map(|run| &run["outcome"])
                    .collect();
                mine.sort_by_key(|outcome| outcome["latency"]["p99_ns"].as_u64());
                if let Some(middle) = mine.get(mine.len() / 2) {
                    let name = format!("{name} {}", which.to_uppercase());
                    series.push(Series { name, value: (*middle).clone() });
                }
            }
        }
        None if value.get("latency").is_some() => {
            series.push(Series { name: name.to_owned(), value: value.clone() });
        }
        None => {}
    }
}

fn page(title: &str, series: &[Series]) -> String {
    let mut html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{0}</title><style>\
         body{{font:15px/1.5 system-ui,sans-serif;max-width:900px;margin:2em auto;color:#222}}\
         table{{border-collapse:collapse;width:100%}}td,th{{padding:.25em .6em;text-align:right;\
         border-bottom:1px solid #ddd}}td:first-child,th:first-child{{text-align:left}}\
         svg{{width:100%;height:auto}}svg text{{font:12px system-ui,sans-serif;fill:#555}}\
         .doubt{{color:#b00}}small{{color:#666}}</style><h1>{0}</h1>",
        escape(title)
    );
    html.push_str(&table(series));
    let curves: Vec<Vec<(f64, f64)>> = series.iter().map(curve).collect();
    let nines = |x: f64| match x {
        x if x < 0.5 => "0".to_owned(),
        x if x < 1.5 => "90 %".to_owned(),
        x => format!("99.{} %", "9".repeat(x as usize - 2)).replace("99. %", "99 %"),
    };
    html.push_str("<h2>Latency by percentile</h2>");
    html.push_str(&plot(series, &curves, "part of requests at or below", &nines));
    let courses: Vec<Vec<(f64, f64)>> = series.iter().map(course).collect();
    html.push_str("<h2>99th percentile over time</h2>");
    html.push_str(&plot(series, &courses, "seconds", &|x| format!("{x:.1}")));
    for (heading, key) in [
        ("CPU-seconds of the broker per GB", "cpu_seconds_per_gigabyte"),
        ("CPU-seconds of the broker per million requests", "cpu_seconds_per_million_requests"),
    ] {
        html.push_str(&bars(series, heading, key));
    }
    html.push_str(&footnotes(series));
    html.push_str("</html>\n");
    html
}

fn table(series: &[Series]) -> String {
    let mut html = String::from(
        "<table><tr><th><th>requests/s<th>MB/s<th>p50 µs<th>p99 µs<th>p99.9 µs<th>max µs</tr>",
    );
    for (index, one) in series.iter().enumerate() {
        let number = |a: &str, b: &str, scale: f64| {
            one.value[a][b].as_f64().map_or("-".to_owned(), |value| format!("{:.1}", value * scale))
        };
        let _ = write!(
            html,
            "<tr><td><span style=\"color:{}\">■</span> {}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}</tr>",
            COLOURS[index % COLOURS.len()],
            escape(&one.name),
            number("load", "requests_per_second", 1.0),
            number("load", "megabytes_per_second", 1.0),
            number("latency", "p50_ns", 1e-3),
            number("latency", "p99_ns", 1e-3),
            number("latency", "p99_9_ns", 1e-3),
            number("latency", "max_ns", 1e-3),
        );
    }
    html.push_str("</table>");
    html
}

/// Quantiles as "nines" (0 is none, 1 is 90 %, 2 is 99 %) against microseconds.
fn curve(series: &Series) -> Vec<(f64, f64)> {
    let points = series.value["curve"].as_array().into_iter().flatten();
    let read = points.filter_map(|point| Some((point[0].as_f64()?, point[1].as_f64()?)));
    // The last point is 100 %: it has no place on an axis of nines.
    read.filter(|(quantile, _)| *quantile < 1.0)
        .map(|(quantile, ns)| (-(1.0 - quantile).log10(), ns / 1e3))
        .collect()
}

fn course(series: &Series) -> Vec<(f64, f64)> {
    let points = series.value["course"].as_array().into_iter().flatten();
    points
        .filter_map(|point| Some((point["at_seconds"].as_f64()?, point["p99_ns"].as_f64()? / 1e3)))
        .collect()
}

/// Lines over a logarithmic axis of microseconds.
fn plot(
    series: &[Series],
    lines: &[Vec<(f64, f64)>],
    axis: &str,
    label: &dyn Fn(f64) -> String,
) -> String {
    let points = || lines.iter().flatten();
    let x_max = points().map(|(x, _)| *x).fold(0.0, f64::max).max(1e-9);
    let y_of = |y: f64| y.max(0.1).log10();
    let low = points().map(|(_, y)| y_of(*y)).fold(f64::MAX, f64::min).min(9.0).floor();
    let high = points().map(|(_, y)| y_of(*y)).fold(-1.0, f64::max).ceil().max(low + 1.0);
    let place = |x: f64, y: f64| {
        let right = LEFT + x / x_max * (WIDTH - LEFT - 12.0);
        let down = TOP + (high - y_of(y)) / (high - low) * (HEIGHT - TOP - BOTTOM);
        (right, down)
    };
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">");
    for decade in low as i32..=high as i32 {
        let (_, down) = place(0.0, 10_f64.powi(decade));
        let value = 10_f64.powi(decade);
        let text = match decade {
            ..3 => format!("{value} µs"),
            3..6 => format!("{} ms", value / 1e3),
            _ => format!("{} s", value / 1e6),
        };
        let _ = write!(
            svg,
            "<line x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{down:.1}\" y2=\"{down:.1}\" \
             stroke=\"#e5e5e5\"/><text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>",
            LEFT - 8.0,
            down + 4.0
        );
    }
    let step = if x_max <= 8.0 { 1.0 } else { (x_max / 6.0).ceil() };
    let mut x = 0.0;
    while x <= x_max {
        let (right, _) = place(x, 1.0);
        let _ = write!(
            svg,
            "<text x=\"{right:.1}\" y=\"{:.0}\" text-anchor=\"middle\">{}</text>",
            HEIGHT - BOTTOM + 18.0,
            label(x)
        );
        x += step;
    }
    let _ = write!(
        svg,
        "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{axis}</text>",
        WIDTH - 4.0,
        HEIGHT - 4.0
    );
    for (index, (line, one)) in lines.iter().zip(series).enumerate() {
        let path: Vec<String> = line
            .iter()
            .map(|(x, y)| place(*x, *y))
            .map(|(right, down)| format!("{right:.1},{down:.1}"))
            .collect();
        let _ = write!(
            svg,
            "<polyline fill=\"none\" stroke-width=\"2\" stroke=\"{}\" points=\"{}\"><title>{}\
             </title></polyline>",
            COLOURS[index % COLOURS.len()],
            path.join(" "),
            escape(&one.name)
        );
    }
    svg.push_str("</svg>");
    svg
}

/// Bars of one figure of the broker; nothing if no result has it.
fn bars(series: &[Series], heading: &str, key: &str) -> String {
    let values: Vec<Option<f64>> =
        series.iter().map(|one| one.value["server"][key].as_f64()).collect();
    let most = values.iter().flatten().copied().fold(0.0, f64::max);
    if most <= 0.0 {
        return String::new();
    }
    let height = 28.0 * series.len() as f64 + 8.0;
    let mut svg = format!("<h2>{heading}</h2><svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">");
    for (index, (one, value)) in series.iter().zip(values).enumerate() {
        let down = 28.0 * index as f64 + 4.0;
        let value = value.unwrap_or(0.0);
        let long = value / most * (WIDTH - 330.0);
        let _ = write!(
            svg,
            "<text x=\"0\" y=\"{:.0}\">{}</text><rect x=\"220\" y=\"{down:.0}\" \
             width=\"{long:.1}\" height=\"20\" fill=\"{}\"/>\
             <text x=\"{:.1}\" y=\"{:.0}\">{value:.3}</text>",
            down + 14.0,
            escape(&one.name),
            COLOURS[index % COLOURS.len()],
            228.0 + long,
            down + 14.0
        );
    }
    svg.push_str("</svg>");
    svg
}

/// What was asked for, where it ran, and what speaks against the figures.
fn footnotes(series: &[Series]) -> String {
    let mut html = String::from("<h2>Conditions</h2>");
    for one in series {
        let doubts: Vec<&str> =
            one.value["doubts"].as_array().into_iter().flatten().flat_map(Value::as_str).collect();
        let doubts = match doubts.is_empty() {
            true => String::new(),
            false => format!("<p class=\"doubt\">{}</p>", escape(&doubts.join("; "))),
        };
        let _ = write!(
            html,
            "<h3>{}</h3>{doubts}<small><p>{}</p><p>{}</p></small>",
            escape(&one.name),
            escape(&one.value["settings"].to_string()),
            escape(&one.value["host"].to_string())
        );
    }
    html
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result() -> Value {
        serde_json::json!({
            "latency": { "p50_ns": 80_000, "p99_ns": 900_000 },
            "curve": [[0.0, 50_000], [0.5, 80_000], [0.99, 900_000], [1.0, 2_000_000]],
            "course": [{ "at_seconds": 0.0, "p99_ns": 700_000 }],
            "server": { "cpu_seconds_per_gigabyte": 0.5 },
            "settings": { "mode": "e2e" },
            "host": { "kernel": "6.18" },
            "doubts": ["it was <noisy>"]
        })
    }

    #[test]
    fn a_page_holds_its_drawings_and_fetches_nothing() {
        let mut series = Vec::new();
        collect("one", &result(), &mut series);
        let html = page("a & b", &series);
        assert_eq!(html.matches("<svg").count(), 3);
        assert!(html.contains("a &amp; b") && html.contains("it was &lt;noisy&gt;"));
        assert!(!html.contains("http") && !html.contains("<script"));
        assert!(!html.contains("NaN") && !html.contains("inf"));
    }

    #[test]
    fn of_a_comparison_the_median_round_of_each_is_drawn() {
        let run = |side: &str, p99: u64| {
            let mut outcome = result();
            outcome["latency"]["p99_ns"] = p99.into();
            serde_json::json!({ "side": side, "outcome": outcome })
        };
        let runs = [run("a", 3), run("b", 9), run("a", 1), run("a", 2)];
        let mut series = Vec::new();
        collect("c", &serde_json::json!({ "runs": runs }), &mut series);
        let shown: Vec<_> = series
            .iter()
            .map(|one| (one.name.as_str(), one.value["latency"]["p99_ns"].as_u64()))
            .collect();
        assert_eq!(shown, [("c A", Some(2)), ("c B", Some(9))]);
    }
}
