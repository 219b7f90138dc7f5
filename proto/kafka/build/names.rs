//! Kafka's spellings turned into Rust's.

/// `TopicId` becomes `topic_id`; a Rust keyword gets `r#`.
pub(crate) fn snake(camel: &str) -> String {
    let mut snake = String::new();
    let mut was_lower = false;
    for letter in camel.chars() {
        if letter.is_ascii_uppercase() && was_lower {
            snake.push('_');
        }
        was_lower = letter.is_ascii_lowercase() || letter.is_ascii_digit();
        snake.push(letter.to_ascii_lowercase());
    }
    match snake.as_str() {
        "type" | "match" | "ref" | "use" | "loop" | "move" => format!("r#{snake}"),
        _ => snake,
    }
}

/// `UNKNOWN_TOPIC_ID` becomes `UnknownTopicId`.
pub(crate) fn camel(screaming: &str) -> String {
    let mut camel = String::new();
    for word in screaming.split('_') {
        let (first, rest) = word.split_at(word.len().min(1));
        camel.push_str(first);
        camel.push_str(&rest.to_ascii_lowercase());
    }
    camel
}
