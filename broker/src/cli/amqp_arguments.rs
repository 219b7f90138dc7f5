//! How arguments of AMQP's declarations and bindings are shown.

use std::collections::BTreeMap;

use raftmq_client::{AmqpArgument, ArgumentValue};
use serde_json::{Value, json};

use super::output::harmless;

/// Arguments by name. Bytes that are no text, arrays and tables are in hexadecimal digits, as on the wire.
pub(crate) type ArgumentsView = BTreeMap<String, Value>;

/// Arguments as JSON shows them.
pub(crate) fn arguments_view(arguments: Vec<AmqpArgument>) -> ArgumentsView {
    let named = arguments
        .into_iter()
        .map(|argument| (argument.name, argument.value.map_or(Value::Null, value_of)));
    named.collect()
}

fn value_of(value: ArgumentValue) -> Value {
    match value {
        ArgumentValue::Flag(flag) => json!(flag),
        ArgumentValue::Integer(number) => json!(number),
        ArgumentValue::Real(number) => json!(number),
        ArgumentValue::Text(text) | ArgumentValue::Decimal(text) => json!(text),
        ArgumentValue::Raw(bytes) => {
            let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            json!(digits)
        }
        ArgumentValue::TimestampS(seconds) => json!(seconds),
    }
}

/// Arguments in one cell: `x-max-length=7 x-overflow=drop-head`.
pub(crate) fn arguments_text(arguments: &ArgumentsView) -> String {
    let texts = arguments.iter().map(|(name, value)| {
        let text = value.as_str().map(str::to_owned);
        let text = text.unwrap_or_else(|| value.to_string());
        format!("{}={}", harmless(name), harmless(&text))
    });
    texts.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argument(name: &str, value: Option<ArgumentValue>) -> AmqpArgument {
        AmqpArgument {
            name: name.to_owned(),
            value,
        }
    }

    #[test]
    fn arguments_keep_their_types_in_json_and_stand_in_one_cell() {
        let view = arguments_view(vec![
            argument(
                "x-overflow",
                Some(ArgumentValue::Text("drop-head".to_owned())),
            ),
            argument("x-max-length", Some(ArgumentValue::Integer(7))),
            argument("x-single-active-consumer", Some(ArgumentValue::Flag(true))),
            argument("table", Some(ArgumentValue::Raw(vec![0, 0xff].into()))),
            argument("void", None),
        ]);
        assert_eq!(view["x-max-length"], json!(7));
        assert_eq!(view["x-single-active-consumer"], json!(true));
        let text = "table=00ff void=null x-max-length=7 x-overflow=drop-head \
                    x-single-active-consumer=true";
        assert_eq!(arguments_text(&view), text);
    }
}
