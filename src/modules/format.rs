//! Lays a YAML file out in one way: two spaces for each level, lists indented below their keys, no spaces at the ends
//! of lines, no two empty lines in a row, one line end at the end. Everything else stays as its author wrote it: order,
//! comments, quotes, blocks, columns within a line.

use std::ops::Range;
use std::sync::Arc;

use granit_parser::{Event, Parser, ScalarStyle, StructureStyle};

use super::yaml;
use crate::origin::{Diagnostic, Source};

/// Spaces for each level.
const STEP: usize = 2;

/// The text laid out anew. It says what it said before: where that cannot be kept, the text is left as it is.
///
/// # Errors
/// Whatever makes the file none that rave reads.
pub fn format(source: &Arc<Source>) -> Result<String, Vec<Diagnostic>> {
    yaml::parse(source)?;
    let text = source.text.strip_prefix('\u{feff}').unwrap_or(&source.text).replace("\r\n", "\n");
    let laid_out = lay_out(&text);
    Ok(if meaning(&text) == meaning(&laid_out) { laid_out } else { text })
}

/// A list or map in block style.
#[derive(Debug, Clone, Copy)]
struct Block {
    /// First and last line that begin an entry of it.
    lines: (usize, usize),
    /// Where its entries begin, and where they shall.
    column: usize,
    indent: usize,
    is_list: bool,
}

/// What spans lines besides blocks.
#[derive(Debug, Clone, Copy)]
enum Long {
    /// A scalar in block style, by the line of its header.
    Literal { line: usize },
    /// Anything else, by its first and last line.
    Other { first: usize, last: usize },
}

/// What the parser says of a text, in the order of lines.
#[derive(Debug, Default)]
struct Structure {
    blocks: Vec<Block>,
    long: Vec<Long>,
    /// The last line of the last scalar.
    seen: usize,
}

/// Everything that a text says, comments included, without places.
fn meaning(text: &str) -> Option<Vec<String>> {
    let options = granit_parser::options! { emit_comments: true };
    let events = Parser::new_from_str_with_options(text, options);
    let said = events.map(|event| {
        Some(match event.ok()?.0 {
            Event::Comment(text, _) => format!("# {}", text.trim_end()),
            other => format!("{other:?}"),
        })
    });
    said.collect()
}

/// The line of the header of a block scalar whose text begins on line `first`.
fn header(text: &str, first: usize, is_empty: bool) -> usize {
    let lines: Vec<&str> = text.lines().take(first + usize::from(is_empty)).collect();
    let is_header = |line: &str| {
        let line = line.split(" #").next().unwrap_or("").trim_end();
        line.trim_end_matches(|c: char| c.is_ascii_digit() || "+-".contains(c)).ends_with(['|', '>'])
    };
    let found = lines.iter().rposition(|line| if is_empty { is_header(line) } else { !line.trim().is_empty() });
    found.unwrap_or(first)
}

/// A node whose end has not been read.
enum Open {
    Flow {
        first: usize,
    },
    /// The place among the blocks.
    Block(usize),
}

impl Structure {
    fn of(text: &str) -> Self {
        let starts: Vec<usize> = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let line_of = |at: usize| starts.partition_point(|start| *start <= at).saturating_sub(1);
        let mut found = Self::default();
        let mut open: Vec<Open> = Vec::new();
        let options = granit_parser::options! { emit_comments: false };
        for (event, span) in Parser::new_from_str_with_options(text, options).map_while(Result::ok) {
            let range = span.byte_range().unwrap_or(0..0);
            let first = line_of(range.start);
            match event {
                Event::SequenceStart(StructureStyle::Block, ..) | Event::MappingStart(StructureStyle::Block, ..) => {
                    let above = found.innermost(&open);
                    let indent = above.map_or(0, |block| block.indent + STEP);
                    let column = range.start - starts.get(first).copied().unwrap_or(0);
                    let dash = found.dash_above(&open, &event, text, &range, first);
                    let (first, column) = dash.unwrap_or((first, column));
                    found.note(&open, first);
                    open.push(Open::Block(found.blocks.len()));
                    let is_list = matches!(event, Event::SequenceStart(..));
                    found.blocks.push(Block { lines: (first, first), column, indent, is_list });
                }
                Event::SequenceStart(..) | Event::MappingStart(..) => {
                    found.note(&open, first);
                    open.push(Open::Flow { first });
                }
                Event::SequenceEnd | Event::MappingEnd => {
                    if let Some(Open::Flow { first }) = open.pop() {
                        found.long(&open, first, line_of(range.end.saturating_sub(1)));
                    }
                }
                Event::Scalar(_, ScalarStyle::Literal | ScalarStyle::Folded, ..) => {
                    let line = header(text, first, range.is_empty());
                    found.note(&open, line);
                    found.long.push(Long::Literal { line });
                    let body = text.get(range.clone()).unwrap_or("").trim_end().len();
                    found.seen = line_of((range.start + body).saturating_sub(1)).max(line);
                }
                Event::Scalar(..) if range.is_empty() => found.note_empty(&open, text),
                Event::Scalar(..) => {
                    found.note(&open, first);
                    found.seen = line_of(range.end.saturating_sub(1));
                    found.long(&open, first, line_of(range.end.saturating_sub(1)));
                }
                _ => {}
            }
        }
        found
    }

    /// The first dash of a list that stands no deeper than the key that it belongs to: the parser places such a list
    /// behind its dash.
    fn dash_above(
        &self,
        open: &[Open],
        event: &Event<'_>,
        text: &str,
        range: &Range<usize>,
        first: usize,
    ) -> Option<(usize, usize)> {
        let parent = self.innermost(open)?;
        let is_dash =
            text.get(range.start..)?.starts_with('-') && text.get(..range.start)?.trim_end_matches(' ').ends_with('\n');
        if !matches!(event, Event::SequenceStart(..)) || parent.is_list || is_dash {
            return None;
        }
        let before: Vec<&str> = text.lines().take(first + 1).skip(parent.lines.0).collect();
        let at = before.iter().rposition(|line| line.get(parent.column..).is_some_and(|rest| rest.starts_with('-')))?;
        Some((parent.lines.0 + at, parent.column))
    }

    fn innermost(&self, open: &[Open]) -> Option<&Block> {
        match open.last() {
            Some(Open::Block(at)) => self.blocks.get(*at),
            _ => None,
        }
    }

    /// Something stands on that line within all open blocks.
    fn note(&mut self, open: &[Open], line: usize) {
        for open in open {
            if let Open::Block(at) = open
                && let Some(block) = self.blocks.get_mut(*at)
            {
                block.lines.1 = block.lines.1.max(line);
            }
        }
    }

    /// An entry of a list without a value: nothing but a dash.
    fn note_empty(&mut self, open: &[Open], text: &str) {
        let Some(block) = self.innermost(open).copied().filter(|block| block.is_list) else { return };
        let lines = text.lines().enumerate().skip(block.lines.1.max(self.seen) + 1);
        let next = lines
            .map(|(at, line)| (at, line, line.trim()))
            .find(|(_, _, rest)| !rest.is_empty() && !rest.starts_with('#'));
        if let Some((at, line, rest)) = next
            && rest.starts_with('-')
            && line.len() - line.trim_start().len() == block.column
        {
            self.note(open, at);
        }
    }

    fn long(&mut self, open: &[Open], first: usize, last: usize) {
        let within = matches!(open.last(), Some(Open::Flow { .. }));
        if last > first && !within {
            self.long.push(Long::Other { first, last });
        }
    }
}

/// The blocks that a line is in, from the outermost.
type Inside = Vec<Block>;

/// Writes lines at their new places.
struct Writer {
    out: String,
    /// Comments and empty lines before the next line with a place of its own, each with its old column.
    waiting: Vec<(usize, String)>,
    /// The blocks of the last line that had a place of its own.
    before: Inside,
}

fn lay_out(text: &str) -> String {
    let mut structure = Structure::of(text);
    structure.long.sort_by_key(|long| match long {
        Long::Literal { line } => *line,
        Long::Other { first, .. } => *first,
    });
    let lines: Vec<&str> = text.lines().collect();
    let mut writer = Writer { out: String::with_capacity(text.len()), waiting: Vec::new(), before: Inside::new() };
    let mut inside = Inside::new();
    let mut blocks = structure.blocks.into_iter().peekable();
    let mut long = structure.long.into_iter().peekable();
    let mut at = 0;
    while let Some(line) = lines.get(at) {
        let column = line.len() - line.trim_start_matches(' ').len();
        let rest = line.trim();
        if rest.is_empty() || rest.starts_with('#') {
            writer.waiting.push((column, rest.to_owned()));
            at += 1;
            continue;
        }
        inside.retain(|block| block.lines.1 >= at);
        while let Some(block) = blocks.next_if(|block| block.lines.0 <= at) {
            inside.push(block);
        }
        let shift = writer.entry(&inside, line, column);
        while long.next_if(|long| long.line() < at).is_some() {}
        let mut next = at + 1;
        while let Some(long) = long.next_if(|long| long.line() < next) {
            next = match long {
                Long::Literal { .. } => writer.literal(&inside, line, &lines, next),
                Long::Other { last, .. } => writer.continued(&lines, next, last, shift),
            };
        }
        at = next;
    }
    writer.comments(&[], None);
    let trimmed = writer.out.trim_end_matches('\n').len();
    writer.out.truncate(trimmed);
    if !writer.out.is_empty() {
        writer.out.push('\n');
    }
    writer.out
}

impl Long {
    fn line(&self) -> usize {
        match self {
            Self::Literal { line } => *line,
            Self::Other { first, .. } => *first,
        }
    }
}

impl Writer {
    /// Writes the line of an entry, and what waited for it; returns how far what follows the dashes moved.
    fn entry(&mut self, inside: &Inside, line: &str, column: usize) -> isize {
        let known = inside.iter().rev().find(|block| block.column == column);
        let innermost = inside.last().map_or(0, |block| block.indent + STEP);
        let indent = known.map_or(if column == 0 { 0 } else { innermost }, |block| block.indent);
        self.comments(inside, Some((column, indent)));
        let mut text = " ".repeat(indent);
        let (mut column, mut rest) = (column, line.trim());
        while let Some(after) = rest.strip_prefix("- ")
            && inside.iter().any(|block| block.column == column)
        {
            let value = after.trim_start_matches(' ');
            if value.starts_with('#') {
                break;
            }
            column += rest.len() - value.len();
            text.push_str("- ");
            rest = value;
        }
        let shift = signed(text.len()) - signed(column);
        text.push_str(rest);
        self.line(&text);
        self.before.clone_from(inside);
        shift
    }

    /// Writes comments and empty lines that stand before a line of that column and indentation.
    fn comments(&mut self, inside: &[Block], next: Option<(usize, usize)>) {
        for (column, text) in std::mem::take(&mut self.waiting) {
            if text.is_empty() {
                if !self.out.is_empty() && !self.out.ends_with("\n\n") {
                    self.out.push('\n');
                }
                continue;
            }
            let same = |blocks: &[Block]| blocks.iter().rev().find(|b| b.column == column).map(|b| b.indent);
            let around = self.before.iter().rev().find(|block| block.column <= column).map(|block| block.indent);
            let indent = match next {
                Some((wanted, indent)) if wanted == column => Some(indent),
                _ => same(&self.before).or_else(|| same(inside)),
            };
            let indent = indent.or(next.map(|(_, indent)| indent)).or(around).unwrap_or(0);
            self.line(&format!("{}{text}", " ".repeat(indent)));
        }
    }

    /// Writes the lines of a block scalar from `at` on; returns the line after it.
    fn literal(&mut self, inside: &Inside, header: &str, lines: &[&str], at: usize) -> usize {
        let (parent, target) = inside.last().map_or((0, 0), |block| (block.column, block.indent));
        let indicator = header.rfind(['|', '>']).and_then(|at| header.get(at + 1..)).unwrap_or("");
        let indicator = indicator.split('#').next().unwrap_or("");
        let given = indicator.chars().find_map(|c| c.to_digit(10)).map(|digit| digit as usize);
        let width = |line: &str| line.len() - line.trim_start_matches(' ').len();
        let of_first = lines.iter().skip(at).find(|line| !line.trim_matches(' ').is_empty()).map(|line| width(line));
        let old = given.map_or(of_first.unwrap_or(0), |given| parent + given);
        let new = match (given, inside.is_empty()) {
            (_, true) => old,
            (Some(given), _) => target + given,
            (None, _) => target + STEP,
        };
        if given.is_none() && !inside.is_empty() && old <= parent {
            return at;
        }
        let body = lines.iter().skip(at).take_while(|line| line.trim_matches(' ').is_empty() || width(line) >= old);
        let mut body: Vec<&str> = body.copied().collect();
        if !indicator.contains('+') {
            // What is empty behind the last line says nothing.
            while body.last().is_some_and(|line| line.trim_matches(' ').is_empty()) {
                body.pop();
            }
        }
        for line in &body {
            match line.get(old..) {
                Some(rest) if !rest.is_empty() => self.line(&format!("{}{rest}", " ".repeat(new))),
                _ => self.line(""),
            }
        }
        at + body.len()
    }

    /// Writes further lines of a scalar, or of a list or map in flow style; returns the line after the last.
    fn continued(&mut self, lines: &[&str], at: usize, last: usize, shift: isize) -> usize {
        for line in lines.iter().take(last + 1).skip(at) {
            let column = line.len() - line.trim_start_matches(' ').len();
            let rest = line.trim_start_matches(' ');
            // A space behind a backslash is a part of a text.
            let rest = if rest.trim_end().ends_with('\\') { rest } else { rest.trim_end() };
            let indent = usize::try_from(signed(column) + shift).unwrap_or(0);
            self.line(&if rest.is_empty() { String::new() } else { format!("{}{rest}", " ".repeat(indent)) });
        }
        at.max(last + 1)
    }

    fn line(&mut self, text: &str) {
        self.out.push_str(text);
        self.out.push('\n');
    }
}

fn signed(number: usize) -> isize {
    isize::try_from(number).unwrap_or(isize::MAX)
}

#[cfg(test)]
#[path = "format_tests.rs"]
mod tests;
