//! What commands print: one description of the data, printed as aligned tables or as JSON.
//!
//! A command builds a [`Report`]; nobody else formats tables or JSON. The JSON is the interface
//! that
//! `docs/cli.md` promises: keys are the column names, numbers are numbers, absent values are null.

use std::io::{self, Write};

use serde_json::{Map, Value, json};

use super::error::Result;

/// How a list is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// Aligned columns for people.
    #[default]
    Table,
    /// One JSON document for programs.
    Json,
}

/// The option every list has.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct FormatOption {
    /// How to print: aligned tables, or one JSON document
    #[arg(long, value_enum, default_value = "table")]
    pub format: Format,
}

/// One value in a table.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// Nothing: `-` in a table, null in JSON.
    Absent,
    /// Text, printed without its control characters.
    Text(String),
    /// A whole number, right-aligned.
    Number(i64),
    /// A number with three decimals.
    Decimal(f64),
    /// Yes or no.
    Flag(bool),
    /// Numbers with commas between.
    Numbers(Vec<i64>),
    /// Texts with commas between.
    Texts(Vec<String>),
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Cell {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<i32> for Cell {
    fn from(number: i32) -> Self {
        Self::Number(number.into())
    }
}

impl From<usize> for Cell {
    fn from(number: usize) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<bool> for Cell {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Absent, Into::into)
    }
}

impl From<&[i32]> for Cell {
    fn from(numbers: &[i32]) -> Self {
        Self::Numbers(numbers.iter().map(|&number| number.into()).collect())
    }
}

impl Cell {
    fn text(&self) -> String {
        match self {
            Self::Absent => "-".to_owned(),
            Self::Text(text) => printable(text),
            Self::Number(number) => number.to_string(),
            Self::Decimal(number) => format!("{number:.3}"),
            Self::Flag(true) => "yes".to_owned(),
            Self::Flag(false) => "no".to_owned(),
            Self::Numbers(numbers) => join(numbers.iter().map(i64::to_string)),
            Self::Texts(texts) => join(texts.iter().map(|text| printable(text))),
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Absent => Value::Null,
            Self::Text(text) => json!(text),
            Self::Number(number) => json!(number),
            Self::Decimal(number) => json!((number * 1000.0).round() / 1000.0),
            Self::Flag(flag) => json!(flag),
            Self::Numbers(numbers) => json!(numbers),
            Self::Texts(texts) => json!(texts),
        }
    }

    fn is_number(&self) -> bool {
        matches!(self, Self::Number(_) | Self::Decimal(_))
    }
}

fn join(parts: impl Iterator<Item = String>) -> String {
    let all: Vec<String> = parts.collect();
    if all.is_empty() { "-".to_owned() } else { all.join(",") }
}

/// Text without what would move a terminal's cursor: control characters become `\xHH` or `\u{…}`.
pub fn printable(text: &str) -> String {
    if !text.chars().any(char::is_control) {
        return text.to_owned();
    }
    let escape = |c: char| match c {
        '\n' => "\\n".to_owned(),
        '\t' => "\\t".to_owned(),
        '\r' => "\\r".to_owned(),
        c if c.is_control() => format!("\\x{:02x}", u32::from(c)),
        c => c.to_string(),
    };
    text.chars().map(escape).collect()
}

/// Rows under named columns.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    columns: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// No rows yet. Names are lower case with underscores: JSON's keys, and the headings in
    /// capitals.
    pub fn new(columns: &[&'static str]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row with a cell per column.
    pub fn push(&mut self, row: Vec<Cell>) {
        assert!(row.len() == self.columns.len(), "a row has a cell per column");
        self.rows.push(row);
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let headings: Vec<String> =
            self.columns.iter().map(|name| name.to_uppercase().replace('_', "-")).collect();
        let rows: Vec<Vec<String>> =
            self.rows.iter().map(|row| row.iter().map(Cell::text).collect()).collect();
        let width_of = |text: &String| text.chars().count();
        let widths: Vec<usize> = (0..headings.len())
            .map(|at| {
                rows.iter().map(|row| width_of(&row[at])).fold(width_of(&headings[at]), usize::max)
            })
            .collect();
        // A column of numbers is aligned at its last digit, heading included.
        let right: Vec<bool> = (0..headings.len())
            .map(|at| {
                self.rows.iter().any(|row| row[at].is_number())
                    && self.rows.iter().all(|row| row[at].is_number() || row[at] == Cell::Absent)
            })
            .collect();
        for row in std::iter::once(&headings).chain(&rows) {
            let mut line = String::new();
            for (at, text) in row.iter().enumerate() {
                let padding = " ".repeat(widths[at] - width_of(text));
                let (before, after) = if right[at] { (&*padding, "") } else { ("", &*padding) };
                line.push_str(before);
                line.push_str(text);
                line.push_str(after);
                line.push_str("  ");
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }

    fn json(&self) -> Value {
        let row = |cells: &Vec<Cell>| {
            let pairs = self.columns.iter().zip(cells);
            Value::Object(pairs.map(|(name, cell)| ((*name).to_owned(), cell.json())).collect())
        };
        Value::Array(self.rows.iter().map(row).collect())
    }
}

/// What a command has to say: single values, then tables.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Report {
    fields: Vec<(&'static str, Cell)>,
    tables: Vec<(&'static str, Table)>,
}

impl Report {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a value with a name.
    pub fn field(&mut self, name: &'static str, cell: impl Into<Cell>) {
        self.fields.push((name, cell.into()));
    }

    /// Adds a table with a name.
    pub fn table(&mut self, name: &'static str, table: Table) {
        self.tables.push((name, table));
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let width = self.fields.iter().map(|(name, _)| name.len() + 1).max().unwrap_or(0);
        for (name, cell) in &self.fields {
            let label = format!("{}:", name.replace('_', " "));
            writeln!(out, "{label:width$} {}", cell.text())?;
        }
        let mut first = self.fields.is_empty();
        for (name, table) in self.tables.iter().filter(|(_, table)| !table.is_empty()) {
            if !first {
                writeln!(out)?;
            }
            first = false;
            writeln!(out, "{}", name.replace('_', " "))?;
            table.write(out)?;
        }
        Ok(())
    }

    fn json(&self) -> Value {
        let fields = self.fields.iter().map(|(name, cell)| ((*name).to_owned(), cell.json()));
        let tables = self.tables.iter().map(|(name, table)| ((*name).to_owned(), table.json()));
        Value::Object(fields.chain(tables).collect::<Map<String, Value>>())
    }
}

/// Prints a list: a table, or a JSON array of objects.
pub fn print_table(out: &mut dyn Write, format: Format, table: &Table) -> Result<()> {
    match format {
        Format::Table => table.write(out)?,
        Format::Json => write_json(out, &table.json())?,
    }
    Ok(out.flush()?)
}

/// Prints a description: lines and tables, or one JSON object.
pub fn print_report(out: &mut dyn Write, format: Format, report: &Report) -> Result<()> {
    match format {
        Format::Table => report.write(out)?,
        Format::Json => write_json(out, &report.json())?,
    }
    Ok(out.flush()?)
}

/// Prints several descriptions: one after the other, or a JSON array.
pub fn print_reports(out: &mut dyn Write, format: Format, reports: &[Report]) -> Result<()> {
    match format {
        Format::Table => {
            for (index, report) in reports.iter().enumerate() {
                if index > 0 {
                    writeln!(out)?;
                }
                report.write(out)?;
            }
        }
        Format::Json => {
            write_json(out, &Value::Array(reports.iter().map(Report::json).collect()))?;
        }
    }
    Ok(out.flush()?)
}

fn write_json(out: &mut dyn Write, value: &Value) -> io::Result<()> {
    writeln!(out, "{value:#}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Table {
        let mut table = Table::new(&["topic", "log_end", "replicas"]);
        table.push(vec!["größe".into(), 7.into(), Cell::Numbers(vec![1, 2])]);
        table.push(vec!["b\u{1b}[2J".into(), Cell::Absent, Cell::Numbers(vec![])]);
        table.push(vec!["c".into(), 12_345.into(), Cell::Numbers(vec![3])]);
        table
    }

    fn printed(print: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> String {
        let mut out = Vec::new();
        print(&mut out).expect("a vector takes everything");
        String::from_utf8(out).expect("output is UTF-8")
    }

    #[test]
    fn columns_align_and_numbers_stand_at_the_right() {
        let text = printed(|out| print_table(out, Format::Table, &sample()));
        assert_eq!(
            text,
            "TOPIC     LOG-END  REPLICAS\n\
             größe           7  1,2\n\
             b\\x1b[2J        -  -\n\
             c           12345  3\n"
        );
    }

    #[test]
    fn json_has_the_columns_as_keys_and_null_for_absent() {
        let text = printed(|out| print_table(out, Format::Json, &sample()));
        let value: Value = serde_json::from_str(&text).expect("valid JSON");
        assert_eq!(value[0], json!({"topic": "größe", "log_end": 7, "replicas": [1, 2]}));
        assert_eq!(value[1], json!({"topic": "b\u{1b}[2J", "log_end": null, "replicas": []}));
    }

    #[test]
    fn a_report_is_fields_then_tables() {
        let mut report = Report::new();
        report.field("topic", "a");
        report.field("topic_id", Cell::Absent);
        report.table("partitions", sample());
        report.table("configs", Table::new(&["key"]));
        let text = printed(|out| print_report(out, Format::Table, &report));
        assert!(text.starts_with("topic:    a\ntopic id: -\n\npartitions\nTOPIC "), "{text}");
        assert!(!text.contains("configs"), "an empty table is not printed");
        let text = printed(|out| print_report(out, Format::Json, &report));
        let value: Value = serde_json::from_str(&text).expect("valid JSON");
        assert_eq!(value["configs"], json!([]));
        assert_eq!(value["partitions"][2]["log_end"], 12_345);
    }
}
