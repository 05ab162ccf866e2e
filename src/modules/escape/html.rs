//! HTML and XML: text between tags, and attributes in quotes.

/// The place that text has come to.
#[derive(Debug, Clone, Default)]
pub(in crate::modules) struct Html {
    place: Place,
    /// The name of the tag that is open, or the element whose text is no text of HTML.
    tag: String,
    /// The name of the attribute that is being read.
    attribute: String,
    /// The last letters, as far as they matter.
    last: String,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Text,
    /// `<`, of which it is not yet known what it opens.
    Opened,
    /// The name of a tag.
    Name,
    /// Between attributes, or the name of one.
    Attributes,
    /// Behind the `=` of an attribute.
    Value,
    Quoted(char),
    Unquoted,
    Comment,
    /// `<!...>` and `<?...>`.
    Declaration,
    /// The text of a script or the like, up to its end tag.
    Raw,
}

/// Elements whose text is not read as HTML.
const RAW: [&str; 7] = ["script", "style", "xmp", "iframe", "noembed", "noframes", "plaintext"];

/// Schemes of URLs that bring a program along.
const PROGRAMS: [&str; 3] = ["javascript:", "vbscript:", "data:"];

impl Html {
    /// Goes over one letter of the module's own.
    pub fn step(&mut self, c: char) {
        self.place = match self.place {
            Place::Text if c == '<' => self.open(),
            Place::Opened if c.is_ascii_alphabetic() || c == '/' => {
                self.tag = c.to_ascii_lowercase().to_string();
                Place::Name
            }
            Place::Opened if c == '!' || c == '?' => Place::Declaration,
            Place::Opened => Place::Text,
            Place::Name | Place::Attributes | Place::Value | Place::Unquoted if c == '>' => self.close(),
            Place::Name if c.is_whitespace() => Place::Attributes,
            Place::Name => {
                self.tag.push(c.to_ascii_lowercase());
                Place::Name
            }
            Place::Attributes if c == '=' => Place::Value,
            Place::Attributes => {
                if c.is_whitespace() || c == '/' {
                    self.attribute.clear();
                } else {
                    self.attribute.push(c.to_ascii_lowercase());
                }
                Place::Attributes
            }
            Place::Value if c == '"' || c == '\'' => Place::Quoted(c),
            Place::Value if c.is_whitespace() => Place::Value,
            Place::Value => Place::Unquoted,
            Place::Quoted(quote) if c == quote => self.next_attribute(),
            Place::Unquoted if c.is_whitespace() => self.next_attribute(),
            Place::Declaration if self.last == "-" && c == '-' => Place::Comment,
            Place::Declaration if c == '>' => Place::Text,
            Place::Comment if c == '>' && self.last.ends_with("--") => Place::Text,
            Place::Raw if c == '>' && self.last.ends_with(&format!("</{}", self.tag)) => Place::Text,
            other => other,
        };
        self.remember(c);
    }

    fn open(&mut self) -> Place {
        self.last.clear();
        Place::Opened
    }

    fn next_attribute(&mut self) -> Place {
        self.attribute.clear();
        self.last.clear();
        Place::Attributes
    }

    /// The place behind the end of a tag.
    fn close(&mut self) -> Place {
        self.attribute.clear();
        self.last.clear();
        if RAW.contains(&self.tag.as_str()) { Place::Raw } else { Place::Text }
    }

    fn remember(&mut self, c: char) {
        let kept = match self.place {
            Place::Declaration => c == '-',
            Place::Comment | Place::Raw => !c.is_whitespace(),
            Place::Quoted(quote) => c != quote,
            _ => false,
        };
        if kept {
            self.last.push(c.to_ascii_lowercase());
            let over = self.last.len().saturating_sub(16);
            let cut = self.last.char_indices().map(|(at, _)| at).find(|at| *at >= over).unwrap_or(0);
            self.last.drain(..cut);
        } else if self.place == Place::Declaration && c != '!' {
            "no comment".clone_into(&mut self.last);
        }
    }

    /// Goes over a value that [`Html::escape`] gave.
    pub fn skip(&mut self) {
        "value".clone_into(&mut self.last);
    }

    /// A value as it may be written here, or why it may not.
    pub fn escape(&self, value: &str) -> Result<String, String> {
        let handler = self.attribute.starts_with("on") || ["style", "srcdoc"].contains(&self.attribute.as_str());
        match self.place {
            Place::Quoted(_) if handler => Err(format!("what `{}` says is a program", self.attribute)),
            Place::Quoted(_) if self.last.is_empty() && is_program(value) => {
                Err("a URL of this kind brings a program along".into())
            }
            Place::Text | Place::Quoted(_) | Place::Comment => Ok(text(value)),
            Place::Value | Place::Unquoted => Err("put quotes around it in the template".into()),
            Place::Raw => Err(format!("the text of <{}> is a program, not a text of HTML", self.tag)),
            Place::Opened | Place::Name | Place::Attributes | Place::Declaration => {
                Err("a value stands between tags, or in the quotes of an attribute".into())
            }
        }
    }
}

/// Whether a URL is a program. Browsers pass over spaces and control characters in it.
fn is_program(value: &str) -> bool {
    let letters = value.chars().filter(|c| !c.is_whitespace() && !c.is_control());
    let start: String = letters.take(16).collect::<String>().to_ascii_lowercase();
    PROGRAMS.iter().any(|scheme| start.starts_with(scheme))
}

fn text(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '&' => text.push_str("&amp;"),
            '<' => text.push_str("&lt;"),
            '>' => text.push_str("&gt;"),
            '"' => text.push_str("&quot;"),
            '\'' => text.push_str("&#39;"),
            c => text.push(c),
        }
    }
    text
}
