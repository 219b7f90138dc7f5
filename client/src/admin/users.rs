//! AMQP's users, and what they may do.

use raftmq_proto::v1::{
    ClearPermissionsRequest, DeleteUserRequest, ListPermissionsRequest, ListUsersRequest,
    PermissionInfo, PutUserRequest, SetPermissionsRequest, UserInfo, UserTags,
};

use super::Admin;
use super::parts::together;
use crate::connection::amqp_admin_client;
use crate::error::Result;

/// What a user may do in a virtual host: regular expressions over the names of queues and exchanges. They
/// match anywhere in a name unless they are anchored, and an empty one allows nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Permissions {
    /// What it may declare and delete.
    pub configure: String,
    /// What it may publish to, and bind as a destination.
    pub write: String,
    /// What it may consume from, and bind as a source.
    pub read: String,
}

impl Permissions {
    /// Everything.
    #[must_use]
    pub fn everything() -> Self {
        let everything = || ".*".to_owned();
        Self {
            configure: everything(),
            write: everything(),
            read: everything(),
        }
    }
}

impl Admin {
    /// Starts to make a user, or to change one: its password, its tags, or both.
    pub fn put_user(&self, name: impl Into<String>) -> PutUser {
        PutUser {
            admin: self.clone(),
            request: PutUserRequest {
                name: name.into(),
                password: None,
                tags: None,
            },
        }
    }

    /// Deletes a user with its permissions. Its connections may do nothing from then on.
    ///
    /// # Errors
    /// `UNKNOWN_USER`, and those of every call.
    pub async fn delete_user(&self, name: &str) -> Result<()> {
        let request = DeleteUserRequest {
            name: name.to_owned(),
        };
        let call = |channel| {
            let request = request.clone();
            async move { amqp_admin_client(channel).delete_user(request).await }
        };
        self.shared.call("delete user", call).await.map(drop)
    }

    /// Lists all users, by name. What is stored of their passwords never leaves the cluster.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn list_users(&self) -> Result<Vec<UserInfo>> {
        let call = |channel| async move {
            let mut client = amqp_admin_client(channel);
            let listed = client.list_users(ListUsersRequest {}).await?;
            together(listed, |part| part.users).await
        };
        self.shared.call("list users", call).await
    }

    /// Sets what a user may do in a virtual host, all three patterns; connections that are open follow at
    /// once. Repeating it changes nothing.
    ///
    /// # Errors
    /// `UNKNOWN_VHOST`, `UNKNOWN_USER`; `INVALID_REQUEST` for a pattern that is no regular expression or
    /// longer than 4,096 bytes; those of every call.
    pub async fn set_permissions(
        &self,
        vhost: &str,
        user: &str,
        permissions: &Permissions,
    ) -> Result<()> {
        let request = SetPermissionsRequest {
            vhost: vhost.to_owned(),
            user: user.to_owned(),
            configure: permissions.configure.clone(),
            write: permissions.write.clone(),
            read: permissions.read.clone(),
        };
        let call = |channel| {
            let request = request.clone();
            async move { amqp_admin_client(channel).set_permissions(request).await }
        };
        self.shared.call("set permissions", call).await.map(drop)
    }

    /// Takes a user's permissions in a virtual host away: it cannot enter it any more. Repeating it, also for
    /// a user that is not there, changes nothing.
    ///
    /// # Errors
    /// `UNKNOWN_VHOST`, and those of every call.
    pub async fn clear_permissions(&self, vhost: &str, user: &str) -> Result<()> {
        let request = ClearPermissionsRequest {
            vhost: vhost.to_owned(),
            user: user.to_owned(),
        };
        let call = |channel| {
            let request = request.clone();
            async move { amqp_admin_client(channel).clear_permissions(request).await }
        };
        self.shared.call("clear permissions", call).await.map(drop)
    }

    /// Lists permissions, by virtual host and user; of all of them where `None`.
    ///
    /// # Errors
    /// `UNKNOWN_VHOST`, `UNKNOWN_USER`, and those of every call.
    pub async fn list_permissions(
        &self,
        vhost: Option<&str>,
        user: Option<&str>,
    ) -> Result<Vec<PermissionInfo>> {
        let request = ListPermissionsRequest {
            vhost: vhost.unwrap_or_default().to_owned(),
            user: user.unwrap_or_default().to_owned(),
        };
        let call = |channel| {
            let request = request.clone();
            async move {
                let mut client = amqp_admin_client(channel);
                let listed = client.list_permissions(request).await?;
                together(listed, |part| part.permissions).await
            }
        };
        self.shared.call("list permissions", call).await
    }
}

/// Changes of a user; [`send`](PutUser::send) makes them. What is not named stays as it is.
#[derive(Debug, Clone)]
#[must_use]
pub struct PutUser {
    admin: Admin,
    request: PutUserRequest,
}

impl PutUser {
    /// Sets the password, 1 to 1,024 bytes. Connections that are open stay.
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.request.password = Some(password.into());
        self
    }

    /// Sets all tags; none are no tags.
    pub fn tags(mut self, tags: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let tags = tags.into_iter().map(Into::into).collect();
        self.request.tags = Some(UserTags { tags });
        self
    }

    /// Makes the changes, or the user if it has a password here. Repeating it changes nothing.
    ///
    /// # Errors
    /// `UNKNOWN_USER` for a new user without a password; `INVALID_REQUEST` for a name that is empty or longer
    /// than 255 bytes, a password that is empty or too long, more than 32 tags, and more users than there may
    /// be; those of every call.
    pub async fn send(self) -> Result<()> {
        let request = self.request;
        let call = |channel| {
            let request = request.clone();
            async move { amqp_admin_client(channel).put_user(request).await }
        };
        self.admin.shared.call("put user", call).await.map(drop)
    }
}
