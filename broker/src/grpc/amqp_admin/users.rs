//! Users and what they may do: passwords are hashed and patterns checked here, before they are proposed.

use std::sync::Arc;

use raftmq_core::cluster::amqp::{
    AmqpCommand, ChangeUser, PasswordHash, Permissions, SetPermissions, User,
};
use raftmq_core::cluster::{AmqpError, Image};
use raftmq_proto::into_status;
use raftmq_proto::v1::{
    Error, ListPermissionsRequest, ListPermissionsResponse, ListUsersResponse, PermissionInfo,
    PutUserRequest, SetPermissionsRequest, UserInfo,
};
use tonic::{Response, Status};

use super::listing::{Listed, in_parts};
use super::{AmqpAdminFrontEnd, told, vhost};
use crate::planted::{Bug, is_planted};
use crate::security::{password, patterns};

impl AmqpAdminFrontEnd {
    pub(super) async fn change_user(&self, request: PutUserRequest) -> Result<(), Status> {
        let password = request.password.as_deref();
        let password_hash = password.map(|password| self.hash(password)).transpose();
        let change = ChangeUser {
            password_hash: password_hash.map_err(into_status)?,
            name: request.name,
            tags: request.tags.map(|all| all.tags.into_iter().collect()),
        };
        self.propose(AmqpCommand::ChangeUser(change)).await
    }

    fn hash(&self, password: &str) -> Result<PasswordHash, Error> {
        let password = password.as_bytes();
        password::check(password).map_err(|error| Error::invalid_request(error.to_string()))?;
        let salt = self.parts().env().random_id();
        Ok(password::hash(salt, password))
    }

    pub(super) async fn permit(&self, request: SetPermissionsRequest) -> Result<(), Status> {
        let SetPermissionsRequest {
            vhost,
            user,
            configure,
            write,
            read,
        } = request;
        let permissions = Permissions {
            configure,
            write,
            read,
        };
        check_patterns(&permissions).map_err(into_status)?;
        let set = SetPermissions {
            vhost,
            user,
            permissions,
        };
        self.propose(AmqpCommand::SetPermissions(set)).await
    }
}

fn check_patterns(permissions: &Permissions) -> Result<(), Error> {
    if is_planted(Bug::PatternsNotChecked) {
        return Ok(());
    }
    for (what, pattern) in [
        ("configure", &permissions.configure),
        ("write", &permissions.write),
        ("read", &permissions.read),
    ] {
        patterns::compile(pattern)
            .map_err(|error| Error::invalid_request(format!("{what} pattern {error}")))?;
    }
    Ok(())
}

pub(super) fn list(image: &Image) -> Response<Listed<ListUsersResponse>> {
    let users: Vec<Arc<User>> = image.amqp.users.values().cloned().collect();
    let infos = users.into_iter().map(|user| UserInfo {
        name: user.name.to_string(),
        tags: user.tags.iter().cloned().collect(),
    });
    in_parts(infos, |users| ListUsersResponse { users })
}

pub(super) fn list_permissions(
    image: &Image,
    request: &ListPermissionsRequest,
) -> Result<Response<Listed<ListPermissionsResponse>>, Status> {
    let amqp = &image.amqp;
    let only_in = match request.vhost.as_str() {
        "" => None,
        name => Some(vhost(image, name)?.id),
    };
    let only_of = Some(request.user.as_str()).filter(|name| !name.is_empty());
    if let Some(name) = only_of
        && !amqp.users.contains_key(name)
    {
        let user = name.to_owned();
        return Err(told(&AmqpError::UnknownUser { user }));
    }
    let asked_for = amqp.permissions.iter().filter(|((vhost, user), _)| {
        only_in.is_none_or(|id| id == *vhost) && only_of.is_none_or(|name| name == &**user)
    });
    let named = asked_for.filter_map(|((id, user), permissions)| {
        let vhost = amqp.vhosts.get(id)?;
        Some((vhost.name.clone(), user.clone(), permissions.clone()))
    });
    let mut found: Vec<(Arc<str>, Arc<str>, Arc<Permissions>)> = named.collect();
    found.sort_unstable_by(|left, right| (&left.0, &left.1).cmp(&(&right.0, &right.1)));
    let infos = found
        .into_iter()
        .map(|(vhost, user, permissions)| PermissionInfo {
            vhost: vhost.to_string(),
            user: user.to_string(),
            configure: permissions.configure.clone(),
            write: permissions.write.clone(),
            read: permissions.read.clone(),
        });
    Ok(in_parts(infos, |permissions| ListPermissionsResponse {
        permissions,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_that_cannot_be_used_is_refused_by_name() {
        let permissions = |read: &str| Permissions {
            configure: String::new(),
            write: ".*".to_owned(),
            read: read.to_owned(),
        };
        assert_eq!(check_patterns(&permissions("^orders")), Ok(()));
        let refused = check_patterns(&permissions("(")).unwrap_err();
        assert!(
            refused.message.starts_with("read pattern \"(\""),
            "{refused}"
        );
        assert!(!refused.is_retriable());
    }
}
