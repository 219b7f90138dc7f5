//! The generator's parser and emitter, which `build/` runs before every build.

#[path = "../../build/emit.rs"]
mod emit;
#[path = "../../build/fields.rs"]
mod fields;
#[path = "../../build/model.rs"]
mod model;
#[path = "../../build/names.rs"]
mod names;
#[path = "../../build/parse.rs"]
mod parse;

use model::{Api, Base, Declared, ErrorLine, Message, Versions};
use parse::{SchemaError, parse, parse_errors};

const EXAMPLE: &str = "
# A comment.
api 99 Example

request 1-4 flexible 3+
  Name     string?3+  1+   = null
  Count    int32      2-3  = -1 ignorable
  Topics   []Topic    1+
    Id     uuid  1+
    State  int8  3+  tag 0
  Owner    Owner      4
  struct Owner 4+
    Key    bytes  4  secret

response 1-4 flexible 3+
  Code  int16  1+
";

fn example() -> Api {
    let Ok(Declared::Api(api)) = parse(EXAMPLE) else {
        unreachable!("the example is an API")
    };
    *api
}

#[test]
fn a_schema_says_what_each_field_is() {
    let api = example();

    assert_eq!((api.key, api.name.as_str()), (99, "Example"));
    let Message {
        name,
        versions,
        flexible_from,
        structs,
    } = api.request;
    assert_eq!((name.as_str(), flexible_from), ("ExampleRequest", Some(3)));
    assert_eq!(versions, Versions { min: 1, max: 4 });
    let names: Vec<&str> = structs.iter().map(|owner| owner.name.as_str()).collect();
    assert_eq!(names, ["ExampleRequest", "Topic", "Owner"]);

    let [name, count, topics, owner] = structs[0].fields.as_slice() else {
        panic!("four fields")
    };
    assert_eq!(name.nullable, Some(Versions { min: 3, max: 4 }));
    assert_eq!(name.default.as_deref(), Some("null"));
    assert_eq!(count.versions, Versions { min: 2, max: 3 });
    assert!(count.is_ignorable && !count.is_secret);
    assert_eq!(
        (topics.is_array, &topics.base),
        (true, &Base::Struct("Topic".to_owned()))
    );
    assert_eq!((owner.is_array, owner.nullable), (false, None));
    assert_eq!(structs[1].fields[1].tag, Some(0));
    assert!(structs[2].fields[0].is_secret);
}

#[test]
fn a_field_is_one_line_in_reader_and_writer() {
    let code = emit::api_module(&example()).unwrap();

    for line in [
        "name: if v >= 3 { r.get(\"ExampleRequest.Name\")? } else { Some(r.get(\"ExampleRequest.Name\")?) },",
        "count: if (2..=3).contains(&v) { r.get(\"ExampleRequest.Count\")? } else { -1 },",
        "if (2..=3).contains(&v) { w.put(\"ExampleRequest.Count\", &self.count)?; }",
        "0 if v >= 3 => value.state = r.get(\"Topic.State\")?,",
        ".field(\"key\", &\"(secret)\")",
    ] {
        assert!(code.contains(line), "{line} is not in\n{code}");
    }
}

#[test]
fn a_message_stands_alone() {
    let Ok(Declared::Message(message)) = parse("message Header 0\n  Id  int32  0  inflexible\n")
    else {
        panic!("a message");
    };

    assert!(message.structs[0].fields[0].is_inflexible);
    assert!(
        emit::message_module(&message)
            .unwrap()
            .contains("r.get_classic(\"Header.Id\")?")
    );
}

fn refused(text: &str) -> SchemaError {
    parse(text).expect_err("the schema is wrong")
}

#[test]
fn what_does_not_add_up_is_refused_with_its_line() {
    for (text, line, what) in [
        ("", 0, "empty schema"),
        ("api x Name", 1, "bad API key x"),
        (
            "message M 0\n  A  int32",
            2,
            "expected `Name type versions`",
        ),
        ("message M 0\n  A  int33  0", 2, "unknown type int33"),
        ("message M 0\n  A  int32  0  shiny", 2, "unknown word shiny"),
        (
            "message M 0\n  A  int32  1+",
            2,
            "versions 1+ lie outside 0",
        ),
        ("message M 0\n  A  int32  5-3", 2, "bad versions 5-3"),
        (
            "message M 0\n   A  int32  0",
            2,
            "indented by an odd number of spaces",
        ),
        ("message M 0\n    A  int32  0", 2, "indented 2 deep under 0"),
        ("message M 0\n  A  S  0", 0, "struct S is not declared"),
        (
            "message M 0\n  A  S  0\n    B  S  0",
            0,
            "S contains itself",
        ),
        (
            "message M 0\n  A  int32  0  tag 0",
            0,
            "M.A is tagged before flexible",
        ),
        (
            "message M 0 flexible 0+\n  A  int32  0  tag 1",
            0,
            "tags of M are not 0, 1, 2 ...: [1]",
        ),
        (
            "message M 0\n  struct S 0\n  struct S 0",
            3,
            "struct S is declared twice",
        ),
        ("api 1 A\nrequest 0", 1, "no response"),
        (
            "api 1 A\nrequest 0\nresponse 1",
            1,
            "request and response differ in their versions",
        ),
    ] {
        assert_eq!(
            refused(text),
            SchemaError {
                line,
                what: what.to_owned()
            },
            "{text}"
        );
    }
}

#[test]
fn elements_that_may_take_no_bytes_are_refused() {
    let text = "message M 0-1\n  A  []S  0+\n    B  int8  1\n";
    let Ok(Declared::Message(message)) = parse(text) else {
        unreachable!("it parses")
    };

    let refused = emit::message_module(&message);

    assert_eq!(
        refused,
        Err("\"M.A\": elements may take no bytes".to_owned())
    );
}

#[test]
fn error_codes_ascend() {
    let parsed = parse_errors("-1 UNKNOWN\n2 CORRUPT retriable\n").unwrap();
    let corrupt = ErrorLine {
        code: 2,
        name: "CORRUPT".to_owned(),
        is_retriable: true,
    };
    assert_eq!(parsed[1], corrupt);

    assert_eq!(parse_errors("2 A\n1 B").unwrap_err().line, 2);
    assert_eq!(names::camel("UNKNOWN_TOPIC_ID"), "UnknownTopicId");
}
