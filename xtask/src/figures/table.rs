//! Lines of the table of figures, and the numbers in them.
//!
//! A line that misses its bound says so: it is a result, not a failure.

use serde_json::Value;

use super::rows::{Bound, Metric, Row};

/// A line of the table.
#[derive(Debug)]
pub struct Line {
    pub name: String,
    pub ours: Option<f64>,
    /// Kafka's; `None` for what concerns Corelane alone.
    pub theirs: Option<f64>,
    pub text: String,
}

/// A figure of both brokers.
pub fn line(row: &Row, metric: &Metric, ours: Option<f64>, theirs: Option<f64>) -> Line {
    let ratio = ours.zip(theirs).filter(|(_, theirs)| *theirs > 0.0).map(|(o, t)| o / t);
    let (bound, met) = match metric.bound {
        Bound::AtMost(most) => (format!("≤ {most:.3}"), Some(ratio.is_some_and(|r| r <= most))),
        Bound::AtLeast(least) => (format!("≥ {least:.0}"), Some(ratio.is_some_and(|r| r >= least))),
        Bound::Own(most) => {
            (format!("≤ {most:.3} itself"), Some(ours.is_some_and(|ours| ours <= most)))
        }
        Bound::None => (String::new(), None),
    };
    let mark = if met == Some(false) { " **not met**" } else { "" };
    let text = format!(
        "| {}: {} | {} | {} | {} | {} | {bound}{mark} |",
        row.name,
        metric.label,
        row.what,
        rounded(ours),
        rounded(theirs),
        ratio.map_or("-".to_string(), |ratio| format!("{ratio:.3}")),
    );
    let name = format!("{}: {}", row.name, metric.label);
    Line { name, ours, theirs, text }
}

/// A line of Corelane's alone: the value itself is bound.
pub fn alone(name: &str, what: &str, value: Option<(f64, String)>, most: f64) -> Line {
    let met = value.as_ref().is_some_and(|(value, _)| *value <= most);
    let mark = if met { "" } else { " **not met**" };
    written(name, what, value, &format!("≤ {most}{mark}"))
}

/// A line of Corelane's alone that nothing is asked of.
pub fn noted(name: &str, what: &str, value: Option<(f64, String)>) -> Line {
    written(name, what, value, "")
}

fn written(name: &str, what: &str, value: Option<(f64, String)>, bound: &str) -> Line {
    let ours = value.as_ref().map(|(value, _)| *value);
    let shown = value.map_or("-".to_string(), |(_, shown)| shown);
    let text = format!("| {name} | {what} | {shown} | | | {bound} |");
    Line { name: name.to_owned(), ours, theirs: None, text }
}

/// One load beside another on the same broker: the ratio is bound, both values are shown.
pub fn against(name: &str, what: &str, loaded: Option<f64>, plain: Option<f64>, most: f64) -> Line {
    let ratio = loaded.zip(plain).filter(|(_, plain)| *plain > 0.0);
    let ratio = ratio.map(|(loaded, plain)| loaded / plain);
    let values = format!("{} against {}", rounded(loaded), rounded(plain));
    alone(name, what, ratio.map(|ratio| (ratio, format!("{values}: {ratio:.2}"))), most)
}

/// A value and how it is shown.
pub fn shown(value: Option<f64>) -> Option<(f64, String)> {
    value.map(|value| (value, rounded(Some(value))))
}

/// The JSON document in a program's output.
pub fn json_in(output: &str) -> Option<Value> {
    let (start, end) = output.find('{').zip(output.rfind('}'))?;
    serde_json::from_str(output.get(start..=end)?).ok()
}

/// The number at a path of keys.
pub fn number(value: &Value, at: &[&str]) -> Option<f64> {
    at.iter().try_fold(value, |value, key| value.get(key))?.as_f64()
}

/// The middle one, or the mean of the two in the middle.
pub fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        count if count % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}

/// With about three digits.
pub fn rounded(value: Option<f64>) -> String {
    match value {
        None => "-".to_string(),
        Some(value) if value >= 1000.0 => format!("{value:.0}"),
        Some(value) if value >= 10.0 => format!("{value:.1}"),
        Some(value) => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_beyond_its_bound_is_marked() {
        let line = against("a", "b", Some(13.0), Some(10.0), 1.2);
        assert_eq!(line.ours, Some(1.3));
        assert_eq!(line.text, "| a | b | 13.0 against 10.0: 1.30 | | | ≤ 1.2 **not met** |");
        assert!(!against("a", "b", Some(11.0), Some(10.0), 1.2).text.contains("not met"));
        assert!(against("a", "b", None, Some(10.0), 1.2).text.ends_with("| ≤ 1.2 **not met** |"));
    }

    #[test]
    fn the_median_of_an_even_count_lies_between_the_two_in_the_middle() {
        assert_eq!(median(&mut [4.0, 1.0, 2.0, 100.0]), Some(3.0));
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&mut []), None);
    }
}
