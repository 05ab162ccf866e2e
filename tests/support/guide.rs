//! Guides as tests read them: by their blocks.

/// The blocks of a guide, or of a part of one: language and text.
pub fn blocks(guide: &str) -> Vec<(&str, &str)> {
    assert_eq!(guide.matches("```").count() % 2, 0, "a block does not end");
    guide.split("```").skip(1).step_by(2).map(|block| block.split_once('\n').unwrap()).collect()
}

/// The texts of those in one language.
pub fn blocks_in<'a>(guide: &'a str, language: &str) -> Vec<&'a str> {
    blocks(guide).into_iter().filter(|(of, _)| *of == language).map(|(_, text)| text).collect()
}
