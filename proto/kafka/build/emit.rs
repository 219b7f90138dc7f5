//! Rust for the messages: a struct each, with its codec, and its random samples for tests.
//!
//! One field is one line of generated code in each function, so that what is generated can be read
//! against the schema. Paths are absolute: Kafka's struct names may be like ours.

use std::fmt::Write as _;

use super::fields::{Emitted, bytes_min, default_value, field_doc, is_set, rust_type};
use super::model::{Api, Base, Field, Message, Struct, Versions};
use super::names::snake;

/// The module of one API: `request` and `response` in it.
pub(crate) fn api_module(api: &Api) -> Emitted<String> {
    let (name, module) = (&api.name, snake(&api.name));
    let request = message(&api.request)?;
    let response = message(&api.response)?;
    Ok(format!(
        "/// `{name}` (API key {}).\npub mod {module} {{\n\
         /// The request of `{name}`.\npub mod request {{\n{request}}}\n\
         /// The response to `{name}`.\npub mod response {{\n{response}}}\n}}\n",
        api.key
    ))
}

/// The module of a message without an API key.
pub(crate) fn message_module(message_: &Message) -> Emitted<String> {
    let body = message(message_)?;
    let name = &message_.name;
    Ok(format!(
        "/// `{name}`.\npub mod {} {{\n{body}}}\n",
        snake(name)
    ))
}

fn message(message: &Message) -> Emitted<String> {
    let mut code = String::new();
    for owner in &message.structs {
        code.push_str(&StructEmitter { message, owner }.all()?);
    }
    let flexible_from = match message.flexible_from {
        Some(from) => format!("Some({from})"),
        None => "None".to_owned(),
    };
    let Versions { min, max } = message.versions;
    let name = &message.name;
    let _ = write!(
        code,
        "impl crate::Message for {name} {{\n\
         const NAME: &'static str = \"{name}\";\n\
         const VERSIONS: crate::VersionRange = crate::VersionRange {{ min: {min}, max: {max} }};\n\
         const FLEXIBLE_FROM: Option<i16> = {flexible_from};\n}}\n"
    );
    Ok(code)
}

/// When a field or a value is there: always, or under a condition on `v`.
fn condition(versions: Versions, outer: Versions) -> Option<String> {
    let Versions { min, max } = versions;
    match (min > outer.min, max < outer.max) {
        (false, false) => None,
        (true, false) => Some(format!("v >= {min}")),
        (false, true) => Some(format!("v <= {max}")),
        (true, true) if min == max => Some(format!("v == {min}")),
        (true, true) => Some(format!("({min}..={max}).contains(&v)")),
    }
}

/// One struct of a message.
struct StructEmitter<'a> {
    message: &'a Message,
    owner: &'a Struct,
}

impl StructEmitter<'_> {
    fn all(&self) -> Emitted<String> {
        self.check_elements()?;
        let mut code = self.declaration()?;
        self.debug(&mut code);
        self.wire(&mut code)?;
        self.sample(&mut code)?;
        Ok(code)
    }

    /// A count can be checked against the bytes that remain only if no element takes none.
    fn check_elements(&self) -> Emitted<()> {
        for field in self.owner.fields.iter().filter(|field| field.is_array) {
            if let Base::Struct(name) = &field.base
                && let Some(element) = self.message.find(name)
                && (field.versions.min..=field.versions.max)
                    .any(|version| bytes_min(self.message, element, version) == 0)
            {
                return Err(format!("{}: elements may take no bytes", self.label(field)));
            }
        }
        Ok(())
    }

    /// Name for errors.
    fn label(&self, field: &Field) -> String {
        format!("\"{}.{}\"", self.owner.name, field.name)
    }

    fn declaration(&self) -> Emitted<String> {
        let (name, versions) = (&self.owner.name, self.owner.versions.text());
        let debug = if self.has_own_debug() { "" } else { "Debug, " };
        let mut code = format!(
            "/// `{name}` of `{}`, versions {versions}.\n\
             #[derive({debug}Clone, PartialEq)]\npub struct {name} {{\n",
            self.message.name
        );
        let mut defaults = String::new();
        for field in &self.owner.fields {
            let doc = field_doc(field);
            let (rust, default) = (snake(&field.name), default_value(field)?);
            let _ = writeln!(code, "/// {doc}\npub {rust}: {},", rust_type(field));
            let _ = writeln!(defaults, "{rust}: {default},");
        }
        let _ = write!(
            code,
            "}}\nimpl Default for {name} {{\n\
             /// Kafka's defaults.\nfn default() -> Self {{\nSelf {{\n{defaults}}}\n}}\n}}\n"
        );
        Ok(code)
    }

    fn has_own_debug(&self) -> bool {
        self.owner.fields.iter().any(|field| field.is_secret)
    }

    /// Secrets are not printed.
    fn debug(&self, code: &mut String) {
        if !self.has_own_debug() {
            return;
        }
        let name = &self.owner.name;
        let mut fields = String::new();
        for field in &self.owner.fields {
            let rust = snake(&field.name);
            let value = if field.is_secret {
                "&\"(secret)\"".to_owned()
            } else {
                format!("&self.{rust}")
            };
            let _ = write!(fields, ".field(\"{rust}\", {value})");
        }
        let _ = write!(
            code,
            "impl std::fmt::Debug for {name} {{\n\
             fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {{\n\
             f.debug_struct(\"{name}\"){fields}.finish()\n}}\n}}\n"
        );
    }

    fn wire(&self, code: &mut String) -> Emitted<()> {
        let (name, bytes_min) = (&self.owner.name, self.bytes_min());
        let uses = |text: &str, name| {
            if text.contains("v ") || text.contains("&v") {
                name
            } else {
                ""
            }
        };
        let (read, written) = (self.read()?, self.write()?);
        let read_version = uses(&read, "let v = r.version();\n");
        let write_version = uses(&written, "let v = w.version();\n");
        let _ = write!(
            code,
            "impl crate::wire::Wire for {name} {{\n\
             fn bytes_min(v: i16, _: crate::Encoding) -> usize {{\n{bytes_min}}}\n\
             fn read(r: &mut crate::Reader, _: &'static str) -> Result<Self, crate::DecodeError> {{\n\
             {read_version}{read}}}\n\
             fn write<S: crate::Sink>(&self, w: &mut crate::Writer<'_, S>, _: &'static str) \
             -> Result<(), crate::EncodeError> {{\n{write_version}{written}Ok(())\n}}\n}}\n"
        );
        Ok(())
    }

    /// Fewest bytes by version, neighbours with the same figure in one arm.
    fn bytes_min(&self) -> String {
        let Versions { min, max } = self.message.versions;
        let mut arms: Vec<(i16, usize)> = Vec::new();
        for version in min..=max {
            let bytes = bytes_min(self.message, self.owner, version);
            match arms.last_mut() {
                Some(last) if last.1 == bytes => last.0 = version,
                _ => arms.push((version, bytes)),
            }
        }
        let Some((last, earlier)) = arms.split_last() else {
            return "0\n".to_owned();
        };
        let mut code = String::new();
        for (until, bytes) in earlier {
            let _ = writeln!(code, "if v <= {until} {{ return {bytes}; }}");
        }
        if earlier.is_empty() {
            code.push_str("let _ = v;\n");
        }
        let _ = writeln!(code, "{}", last.1);
        code
    }

    fn is_ever_flexible(&self) -> bool {
        self.message.is_flexible(self.owner.versions.max)
    }

    fn tagged(&self) -> Vec<&Field> {
        let mut tagged: Vec<&Field> = self
            .owner
            .fields
            .iter()
            .filter(|field| field.tag.is_some())
            .collect();
        tagged.sort_by_key(|field| field.tag);
        tagged
    }

    fn read(&self) -> Emitted<String> {
        let mut fields = String::new();
        for field in &self.owner.fields {
            let (rust, default) = (snake(&field.name), default_value(field)?);
            let read = self.read_value(field);
            let value = match condition(field.versions, self.owner.versions) {
                _ if field.tag.is_some() => default,
                None => read,
                Some(condition) => format!("if {condition} {{ {read} }} else {{ {default} }}"),
            };
            let _ = writeln!(fields, "{rust}: {value},");
        }
        let tags_label = format!("\"{}.tags\"", self.owner.name);
        let tagged = self.tagged();
        let binding = if tagged.is_empty() { "let" } else { "let mut" };
        let mut code = format!("{binding} value = Self {{\n{fields}}};\n");
        if tagged.is_empty() {
            if self.is_ever_flexible() {
                let _ = writeln!(code, "if r.is_flexible() {{ r.skip_tags({tags_label})?; }}");
            }
            code.push_str("Ok(value)\n");
            return Ok(code);
        }
        let _ = writeln!(
            code,
            "if r.is_flexible() {{ r.tags({tags_label}, |r, tag| {{ match tag {{"
        );
        for field in tagged {
            let guard = match condition(field.versions, self.owner.versions) {
                Some(condition) => format!(" if {condition}"),
                None => String::new(),
            };
            let (rust, read) = (snake(&field.name), self.read_value(field));
            let tag = field.tag.unwrap_or_default();
            let _ = writeln!(code, "{tag}{guard} => value.{rust} = {read},");
        }
        code.push_str("_ => return Ok(false),\n}\nOk(true) })?; }\nOk(value)\n");
        Ok(code)
    }

    fn read_value(&self, field: &Field) -> String {
        let label = self.label(field);
        let is_struct = matches!(field.base, Base::Struct(_)) && !field.is_array;
        let get = match (&field.nullable, is_struct) {
            _ if field.is_inflexible => format!("r.get_classic({label})?"),
            (Some(_), true) => format!("crate::wire::read_nullable(r, {label})?"),
            (_, _) => format!("r.get({label})?"),
        };
        match field
            .nullable
            .and_then(|nullable| condition(nullable, field.versions))
        {
            Some(condition) => {
                format!("if {condition} {{ {get} }} else {{ Some(r.get({label})?) }}")
            }
            None => get,
        }
    }

    fn write(&self) -> Emitted<String> {
        let mut code = String::new();
        for field in self.owner.fields.iter().filter(|field| field.tag.is_none()) {
            let write = self.write_value(field);
            let absent = self.absent(field)?;
            let _ = match condition(field.versions, self.owner.versions) {
                None => writeln!(code, "{write}"),
                Some(condition) => writeln!(code, "if {condition} {{ {write} }}{absent}"),
            };
        }
        if !self.is_ever_flexible() {
            return Ok(code);
        }
        let tagged = self.tagged();
        if tagged.is_empty() {
            code.push_str("if w.is_flexible() { w.uvarint(0); }\n");
            return Ok(code);
        }
        let (mut counts, mut writes, mut refusals) = (Vec::new(), String::new(), String::new());
        for field in tagged {
            let set = is_set(field)?;
            let present = match condition(field.versions, self.owner.versions) {
                Some(condition) => {
                    let absent = self.absent(field)?;
                    if !absent.is_empty() {
                        let _ = writeln!(refusals, "if {condition} {{ }}{absent}");
                    }
                    format!("{condition} && {set}")
                }
                None => set,
            };
            counts.push(present.clone());
            let (rust, label) = (snake(&field.name), self.label(field));
            let tag = field.tag.unwrap_or_default();
            let _ = writeln!(
                writes,
                "if {present} {{ w.put_tagged({label}, {tag}, &self.{rust})?; }}"
            );
        }
        let counts = counts.join(", ");
        code.push_str(&refusals);
        let _ = writeln!(
            code,
            "if w.is_flexible() {{ w.tag_count(&[{counts}]);\n{writes}}}"
        );
        Ok(code)
    }

    fn write_value(&self, field: &Field) -> String {
        let (rust, label) = (snake(&field.name), self.label(field));
        let is_struct = matches!(field.base, Base::Struct(_)) && !field.is_array;
        let put = match (&field.nullable, is_struct) {
            _ if field.is_inflexible => format!("w.put_classic({label}, &self.{rust})?;"),
            (Some(_), true) => {
                format!("crate::wire::write_nullable(self.{rust}.as_ref(), w, {label})?;")
            }
            (_, _) => format!("w.put({label}, &self.{rust})?;"),
        };
        match field
            .nullable
            .and_then(|nullable| condition(nullable, field.versions))
        {
            Some(condition) => format!(
                "if {condition} {{ {put} }} else {{ w.put_required({label}, self.{rust}.as_ref())?; }}"
            ),
            None => put,
        }
    }

    /// The `else` that refuses a value which the version cannot carry; empty if it is dropped.
    fn absent(&self, field: &Field) -> Emitted<String> {
        if field.is_ignorable {
            return Ok(String::new());
        }
        let (set, label) = (is_set(field)?, self.label(field));
        Ok(format!(
            " else if {set} {{ return Err(w.absent({label})); }}"
        ))
    }

    fn sample(&self, code: &mut String) -> Emitted<()> {
        let name = &self.owner.name;
        let mut fields = String::new();
        for field in &self.owner.fields {
            let (rust, default) = (snake(&field.name), default_value(field)?);
            let value = match field
                .nullable
                .and_then(|nullable| condition(nullable, field.versions))
            {
                Some(condition) => {
                    format!("if {condition} {{ g.sample(v) }} else {{ Some(g.sample(v)) }}")
                }
                None => "g.sample(v)".to_owned(),
            };
            let _ = match condition(field.versions, self.owner.versions) {
                None => writeln!(fields, "{rust}: {value},"),
                Some(condition) => {
                    writeln!(
                        fields,
                        "{rust}: if {condition} {{ {value} }} else {{ {default} }},"
                    )
                }
            };
        }
        let unused = if fields.is_empty() {
            "let _ = (g, v);\n"
        } else {
            ""
        };
        let _ = write!(
            code,
            "#[cfg(feature = \"testing\")]\nimpl crate::testing::Sample for {name} {{\n\
             fn sample(g: &mut crate::testing::SampleRng, v: i16) -> Self {{\n{unused}\
             Self {{\n{fields}}}\n}}\n}}\n"
        );
        Ok(())
    }
}
