//! `raftmq user`: AMQP's users. A password is sent and never printed.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read};

use clap::{Args, Subcommand};
use raftmq_client::UserInfo;
use serde::Serialize;

use super::connect::{ConnectArgs, client_failure};
use super::error::{CliError, CliResult, io_failure};
use super::output::{self, Format, harmless};

/// Longest password that is read, bytes, its line end included; brokers take less.
const PASSWORD_BYTES_MAX: usize = 4_096;

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// List all users with their tags
    List,
    /// Make a user, or change the password or the tags of one
    Set(SetArgs),
    /// Delete a user with its permissions
    Delete {
        /// The user
        name: String,
    },
}

/// What is to be changed; the rest stays.
#[derive(Debug, Args)]
pub(crate) struct SetArgs {
    /// 1 to 255 bytes
    name: String,
    /// Read the password from stdin, one line
    #[arg(long, conflicts_with = "password")]
    password_stdin: bool,
    /// The password; whoever can list the processes of this machine sees it
    #[arg(long, value_name = "TEXT")]
    password: Option<Secret>,
    /// All tags of the user, for example administrator,monitoring; '' for none
    #[arg(long, value_name = "TAG,TAG")]
    tags: Option<String>,
}

/// Text that is not shown.
#[derive(Clone)]
struct Secret(String);

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

#[derive(Debug, Serialize)]
struct UserView {
    name: String,
    tags: Vec<String>,
}

/// Runs one verb.
pub(crate) async fn run(command: UserCommand, connect: &ConnectArgs, format: Format) -> CliResult {
    match command {
        UserCommand::List => list(connect, format).await,
        UserCommand::Set(args) => set(args, connect, format).await,
        UserCommand::Delete { name } => {
            let client = connect.connect().await?;
            let deleted = client.admin().delete_user(&name).await;
            let action = format!("delete user {name:?}");
            deleted.map_err(|error| client_failure(&action, &error))?;
            done(format, "deleted", &name)
        }
    }
}

async fn set(args: SetArgs, connect: &ConnectArgs, format: Format) -> CliResult {
    let password = match args.password {
        Some(Secret(password)) => Some(password),
        None if args.password_stdin => Some(read_password(io::stdin().lock())?),
        None => None,
    };
    if password.is_none() && args.tags.is_none() {
        return Err(CliError::usage("nothing is to be changed")
            .next("name a password with --password-stdin, or --tags"));
    }
    let client = connect.connect().await?;
    let mut put = client.admin().put_user(&args.name);
    if let Some(password) = password {
        put = put.password(password);
    }
    if let Some(tags) = &args.tags {
        put = put.tags(tags_in(tags));
    }
    let action = format!("set user {:?}", args.name);
    let changed = put.send().await;
    changed.map_err(|error| client_failure(&action, &error))?;
    done(format, "set", &args.name)
}

fn tags_in(text: &str) -> impl Iterator<Item = &str> {
    let tags = text.split(',').map(str::trim);
    tags.filter(|tag| !tag.is_empty())
}

/// Reads one line, without its end.
fn read_password(input: impl Read) -> CliResult<String> {
    let bytes_max = u64::try_from(PASSWORD_BYTES_MAX).unwrap_or(u64::MAX);
    let mut text = String::new();
    let read = input.take(bytes_max + 1).read_to_string(&mut text);
    read.map_err(|error| io_failure("read the password from stdin", &error))?;
    if text.len() > PASSWORD_BYTES_MAX {
        let text = format!("the password on stdin has more than {PASSWORD_BYTES_MAX} bytes");
        return Err(CliError::usage(text));
    }
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.contains('\n') {
        return Err(CliError::usage(
            "expected one line with the password on stdin, got more",
        ));
    }
    if line.is_empty() {
        return Err(CliError::usage("expected a password on stdin, got nothing"));
    }
    Ok(line.to_owned())
}

fn done(format: Format, what: &str, name: &str) -> CliResult {
    match format {
        Format::Json => output::print_json(&BTreeMap::from([(what, name)])),
        Format::Table => output::print_line(&format!("{what} user {}", harmless(name))),
    }
}

async fn list(connect: &ConnectArgs, format: Format) -> CliResult {
    let client = connect.connect().await?;
    let listed = client.admin().list_users().await;
    let listed = listed.map_err(|error| client_failure("list users", &error))?;
    let views = listed
        .into_iter()
        .map(|UserInfo { name, tags }| UserView { name, tags });
    let views: Vec<UserView> = views.collect();
    if format == Format::Json {
        return output::print_json(&views);
    }
    let rows = views
        .iter()
        .map(|view| vec![harmless(&view.name), harmless(&view.tags.join(","))]);
    output::print_table(&["user", "tags"], rows)
}

#[cfg(test)]
mod tests {
    use super::super::error::Kind;
    use super::*;

    #[test]
    fn a_password_is_one_line_without_its_end() {
        for (input, expected) in [
            ("secret", "secret"),
            ("secret\n", "secret"),
            ("secret\r\n", "secret"),
            (" s p a c e s \n", " s p a c e s "),
        ] {
            assert_eq!(read_password(input.as_bytes()).unwrap(), expected);
        }
    }

    #[test]
    fn what_is_no_password_is_refused_and_not_shown() {
        let long = "x".repeat(PASSWORD_BYTES_MAX + 1);
        for input in ["", "\n", "secret\nsecret\n", &long] {
            let refused = read_password(input.as_bytes()).unwrap_err();
            assert_eq!(refused.kind, Kind::Usage, "{input:?}");
            assert!(!refused.to_string().contains("secret"), "{refused}");
        }
        assert!(read_password(&b"\xff\n"[..]).is_err(), "not text");
        let args = SetArgs {
            name: "shop".to_owned(),
            password_stdin: false,
            password: Some("open sesame".to_owned().into()),
            tags: None,
        };
        assert!(!format!("{args:?}").contains("sesame"));
    }

    #[test]
    fn tags_are_named_once_each_and_nothing_is_none() {
        let read = |text| tags_in(text).collect::<Vec<_>>();
        assert_eq!(
            read("administrator, monitoring,"),
            ["administrator", "monitoring"]
        );
        assert_eq!(read(""), [""; 0]);
    }
}
