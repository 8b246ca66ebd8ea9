//! What a command answers: facts and their shape, nothing about where they are shown.

use serde::Serialize;
use serde_json::Value;

/// The answer to one command.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    /// What to show, from top to bottom.
    pub blocks: Vec<Block>,
    /// The same for a program.
    pub data: Value,
    /// The one who asked wants to leave.
    pub quit: bool,
}

/// A piece of an answer.
#[derive(Debug, Clone)]
pub enum Block {
    /// A line or a few.
    Text(String, Tone),
    /// Rows and columns.
    Table(Table),
    /// A series over time.
    Plot(Plot),
}

/// What a piece of text means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Tone {
    /// Nothing special.
    #[default]
    Plain,
    /// A headline.
    Strong,
    /// Less important.
    Dim,
    /// As it should be.
    Good,
    /// To be looked at.
    Warn,
    /// Wrong.
    Bad,
}

/// Rows and columns.
#[derive(Debug, Clone, Default)]
pub struct Table {
    /// As many as there are cells in a row.
    pub columns: Vec<Column>,
    /// From top to bottom.
    pub rows: Vec<Vec<Cell>>,
}

/// The head of a column, and where it stands.
#[derive(Debug, Clone, Copy)]
pub enum Column {
    /// For words.
    Left(&'static str),
    /// For numbers.
    Right(&'static str),
}

/// One field of a table.
#[derive(Debug, Clone, Default)]
pub struct Cell {
    /// What it says.
    pub text: String,
    /// What it means.
    pub tone: Tone,
}

/// A series over time, in slots of equal length; a slot without a value is a gap.
#[derive(Debug, Clone)]
pub struct Plot {
    /// The average of each slot.
    pub values: Vec<Option<f64>>,
    /// The value of the highest line; the lowest is nought.
    pub high: f64,
    /// Nought and the highest value, as they are shown.
    pub labels: (String, String),
    /// The moments at both ends.
    pub ends: (String, String),
    /// What the worst value means.
    pub tone: Tone,
}

impl Reply {
    /// An empty answer that carries data for a program.
    pub fn with_data(data: impl Serialize) -> Self {
        // The data are this program's own structs of names and numbers, which JSON can always hold.
        Self {
            data: serde_json::to_value(data).unwrap_or_default(),
            ..Self::default()
        }
    }

    /// One line.
    pub fn line(text: impl Into<String>) -> Self {
        let text = text.into();
        Self::with_data(serde_json::json!({ "message": text })).text(text)
    }

    /// Adds a line.
    pub fn text(self, text: impl Into<String>) -> Self {
        self.toned(text, Tone::Plain)
    }

    /// Adds a line with a meaning.
    pub fn toned(mut self, text: impl Into<String>, tone: Tone) -> Self {
        self.blocks.push(Block::Text(text.into(), tone));
        self
    }

    /// Adds a table.
    pub fn table(mut self, table: Table) -> Self {
        self.blocks.push(Block::Table(table));
        self
    }

    /// Adds a plot.
    pub fn plot(mut self, plot: Plot) -> Self {
        self.blocks.push(Block::Plot(plot));
        self
    }
}

impl Table {
    /// A table without rows.
    pub fn new(columns: impl Into<Vec<Column>>) -> Self {
        Self {
            columns: columns.into(),
            rows: Vec::new(),
        }
    }

    /// Adds a row.
    pub fn row<const N: usize>(&mut self, cells: [Cell; N]) {
        self.rows.push(cells.into());
    }
}

impl Cell {
    /// A field with a meaning.
    pub fn toned(text: impl Into<String>, tone: Tone) -> Self {
        Self {
            text: text.into(),
            tone,
        }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::toned(text, Tone::Plain)
    }
}
