//! Rust for what lies above the messages: names in one module, the table of APIs, the enums over
//! all requests and responses, the error codes.

use std::fmt::Write as _;

use super::model::{Api, ErrorLine, Message, Versions};
use super::names::{camel, snake};

/// Brings the message types themselves into `messages`.
pub(crate) fn message_names(apis: &[Api], messages: &[Message]) -> String {
    let mut code = String::new();
    for api in apis {
        let (name, module) = (&api.name, snake(&api.name));
        let _ = writeln!(code, "pub use {module}::request::{name}Request;");
        let _ = writeln!(code, "pub use {module}::response::{name}Response;");
    }
    for message in messages {
        let _ = writeln!(code, "pub use {}::{};", snake(&message.name), message.name);
    }
    code
}

/// `ApiKey`, its table, `Request` and `Response`.
pub(crate) fn api(apis: &[Api]) -> String {
    let mut variants = String::new();
    let mut rows = String::new();
    for api in apis {
        let Api {
            key, name, request, ..
        } = api;
        let Versions { min, max } = request.versions;
        let _ = writeln!(
            variants,
            "/// `{name}`, versions {}.\n{name} = {key},",
            request.versions.text()
        );
        let _ = writeln!(
            rows,
            "ApiInfo {{ key: ApiKey::{name}, name: \"{name}\", \
             versions: VersionRange {{ min: {min}, max: {max} }}, flexible_from: {:?} }},",
            request.flexible_from
        );
    }
    let mut code = format!(
        "/// The APIs that the schema declares, by their Kafka names and numbers.\n\
         #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]\n#[repr(i16)]\n\
         pub enum ApiKey {{\n{variants}}}\n\
         static TABLE: [ApiInfo; {}] = [\n{rows}];\n",
        apis.len()
    );
    for side in ["Request", "Response"] {
        code.push_str(&bodies(apis, side));
    }
    code.push_str(&throttle_setter(apis));
    code
}

/// The field by which a response says that its client is throttled (KIP-219).
const THROTTLE: &str = "ThrottleTimeMs";

/// Sets that field in whichever response has it.
fn throttle_setter(apis: &[Api]) -> String {
    let has_field = |api: &&Api| {
        let root = api.response.find(&api.response.name);
        root.is_some_and(|root| root.fields.iter().any(|field| field.name == THROTTLE))
    };
    let (with, without): (Vec<&Api>, Vec<&Api>) = apis.iter().partition(has_field);
    let field = snake(THROTTLE);
    let mut arms = String::new();
    for Api { name, .. } in with {
        let _ = writeln!(
            arms,
            "Self::{name}(body) => body.{field} = throttle_time_ms,"
        );
    }
    let without: Vec<String> = without
        .iter()
        .map(|api| format!("Self::{}(_)", api.name))
        .collect();
    if !without.is_empty() {
        let _ = writeln!(arms, "{} => {{}}", without.join(" | "));
    }
    format!(
        "impl Response {{\n\
         /// Says for how many milliseconds the client is throttled, where the response can say it.\n\
         #[expect(clippy::too_many_lines, reason = \"a line for each API\")]\n\
         pub fn set_throttle_time_ms(&mut self, throttle_time_ms: i32) {{\n\
         match self {{\n{arms}}}\n}}\n}}\n"
    )
}

/// The enum over all requests or all responses.
fn bodies(apis: &[Api], side: &str) -> String {
    let mut variants = String::new();
    let [mut keys, mut decodes, mut encodes, mut samples] = [const { String::new() }; 4];
    let mut froms = String::new();
    for Api { name, .. } in apis {
        let _ = writeln!(
            variants,
            "/// Of `{name}`.\n{name}(crate::messages::{name}{side}),"
        );
        let _ = writeln!(keys, "Self::{name}(_) => ApiKey::{name},");
        let _ = writeln!(
            decodes,
            "ApiKey::{name} => Self::{name}(Message::decode(reader, version)?),"
        );
        let _ = writeln!(encodes, "Self::{name}(body) => body.encode(version, sink),");
        let _ = writeln!(
            samples,
            "ApiKey::{name} => Self::{name}(rng.sample(version)),"
        );
        let _ = write!(
            froms,
            "impl From<crate::messages::{name}{side}> for {side} {{\n\
             fn from(body: crate::messages::{name}{side}) -> Self {{\nSelf::{name}(body)\n}}\n}}\n"
        );
    }
    let word = side.to_ascii_lowercase();
    format!(
        "/// The body of a {word}, of whichever API.\n#[derive(Debug, Clone, PartialEq)]\n\
         pub enum {side} {{\n{variants}}}\n\
         impl {side} {{\n\
         /// Which API the {word} is of.\n#[must_use]\n\
         #[expect(clippy::too_many_lines, reason = \"a line for each API\")]\n\
         pub const fn api(&self) -> ApiKey {{\nmatch self {{\n{keys}}}\n}}\n\
         /// Reads the body of a {word}; bytes that trail it stay in `reader`.\n///\n\
         /// # Errors\n/// Those of [`Message::decode`].\n\
         #[expect(clippy::too_many_lines, reason = \"a line for each API\")]\n\
         pub fn decode(api: ApiKey, version: i16, reader: &mut Reader) -> Result<Self, DecodeError> {{\n\
         Ok(match api {{\n{decodes}}})\n}}\n\
         /// Appends the body to `sink`.\n///\n\
         /// # Errors\n/// Those of [`Message::encode`].\n\
         #[expect(clippy::too_many_lines, reason = \"a line for each API\")]\n\
         pub fn encode<S: Sink>(&self, version: i16, sink: &mut S) -> Result<(), EncodeError> {{\n\
         match self {{\n{encodes}}}\n}}\n\
         /// A random {word} whose fields are those that `version` has.\n\
         #[cfg(feature = \"testing\")]\n#[must_use]\n\
         #[expect(clippy::too_many_lines, reason = \"a line for each API\")]\n\
         pub fn sample(api: ApiKey, version: i16, rng: &mut crate::testing::SampleRng) -> Self {{\n\
         match api {{\n{samples}}}\n}}\n}}\n{froms}"
    )
}

/// `ErrorCode` and what it knows of itself.
pub(crate) fn error_codes(errors: &[ErrorLine]) -> String {
    let [mut variants, mut from_i16, mut names] = [const { String::new() }; 3];
    let mut retriable = Vec::new();
    for ErrorLine {
        code,
        name,
        is_retriable,
    } in errors
    {
        let variant = camel(name);
        let _ = writeln!(variants, "/// `{name}` ({code}).\n{variant} = {code},");
        let _ = writeln!(from_i16, "{code} => Self::{variant},");
        let _ = writeln!(names, "Self::{variant} => \"{name}\",");
        if *is_retriable {
            retriable.push(format!("Self::{variant}"));
        }
    }
    let retriable = retriable.join(" | ");
    format!(
        "/// Kafka's error codes.\n#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]\n\
         #[repr(i16)]\npub enum ErrorCode {{\n{variants}}}\n\
         impl ErrorCode {{\n\
         /// How many there are.\npub const COUNT: usize = {};\n\
         /// The error of a number from the wire.\n#[must_use]\n\
         #[expect(clippy::too_many_lines, reason = \"a line for each code\")]\n\
         pub const fn from_i16(code: i16) -> Option<Self> {{\nSome(match code {{\n{from_i16}\
         _ => return None,\n}})\n}}\n\
         /// Kafka's spelling, such as `NOT_LEADER_OR_FOLLOWER`.\n#[must_use]\n\
         #[expect(clippy::too_many_lines, reason = \"a line for each code\")]\n\
         pub const fn name(self) -> &'static str {{\nmatch self {{\n{names}}}\n}}\n\
         /// Whether Kafka's clients repeat the request by themselves.\n#[must_use]\n\
         pub const fn is_retriable(self) -> bool {{\nmatches!(self, {retriable})\n}}\n}}\n",
        errors.len()
    )
}
