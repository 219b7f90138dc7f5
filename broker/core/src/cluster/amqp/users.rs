//! Commands about users and what they may do.
//!
//! Password hashes and patterns are kept as they come: the host makes and checks them. Source:
//! RabbitMQ's access control (configure, write, read for each virtual host).

use std::sync::Arc;

use crate::cluster::amqp::command::{ChangeUser, PutUser, SetPermissions};
use crate::cluster::amqp::vhosts::check_name;
use crate::cluster::amqp::{AmqpError, PasswordHash, User};
use crate::cluster::brokers::{check_length, over_limit};
use crate::cluster::{Cluster, ClusterError, Outcome, Reply};
use crate::ids::VhostId;
use crate::limits::{
    AMQP_PATTERN_BYTES_MAX, AMQP_PERMISSIONS_COUNT_MAX, AMQP_USERS_COUNT_MAX, PASSWORD_BYTES_MAX,
    USER_TAGS_COUNT_MAX,
};
use crate::planted::{Bug, is_planted};

impl Cluster {
    pub(super) fn put_user(&mut self, put: PutUser) -> Reply {
        self.check_user(&put)?;
        let user = User {
            name: put.name.into(),
            password_hash: put.password_hash,
            tags: put.tags,
        };
        let users = &mut self.image.amqp.users;
        if users.get(&user.name).is_none_or(|known| **known != user) {
            self.dirty.mark_amqp().users.insert(Arc::clone(&user.name));
            users.insert(Arc::clone(&user.name), Arc::new(user));
        }
        Ok(Outcome::Done)
    }

    pub(super) fn change_user(&mut self, change: ChangeUser) -> Reply {
        let ChangeUser {
            name,
            password_hash,
            tags,
        } = change;
        let known = self.image.amqp.users.get(name.as_str());
        let known_hash = known.map(|known| known.password_hash.clone());
        let known_hash = if is_planted(Bug::ChangedUserLosesPassword) {
            known_hash.map(|_| PasswordHash::default())
        } else {
            known_hash
        };
        let known_tags = known.map(|known| known.tags.clone());
        let Some(password_hash) = password_hash.or(known_hash) else {
            return Err(unknown_user(&name).into());
        };
        self.put_user(PutUser {
            name,
            password_hash,
            tags: tags.or(known_tags).unwrap_or_default(),
        })
    }

    pub(super) fn check_user(&self, put: &PutUser) -> Result<(), ClusterError> {
        check_name("user", &put.name)?;
        let hash_bytes = put.password_hash.0.len();
        if hash_bytes > PASSWORD_BYTES_MAX {
            return Err(over_limit("password hash", hash_bytes, PASSWORD_BYTES_MAX));
        }
        if put.tags.len() > USER_TAGS_COUNT_MAX {
            return Err(over_limit("tags", put.tags.len(), USER_TAGS_COUNT_MAX));
        }
        for tag in &put.tags {
            check_length("tag", tag)?;
        }
        let users = &self.image.amqp.users;
        let is_one_more = !users.contains_key(put.name.as_str());
        if is_one_more && users.len() >= AMQP_USERS_COUNT_MAX {
            return Err(over_limit("users", users.len() + 1, AMQP_USERS_COUNT_MAX));
        }
        Ok(())
    }

    pub(super) fn delete_user(&mut self, name: &str) -> Reply {
        let amqp = &mut self.image.amqp;
        let Some(user) = amqp.users.remove(name) else {
            return Err(unknown_user(name).into());
        };
        let dirty = self.dirty.mark_amqp();
        dirty.users.insert(Arc::clone(&user.name));
        let is_theirs = |key: &&(VhostId, Arc<str>)| key.1 == user.name;
        let permissions: Vec<_> = amqp.permissions.keys().filter(is_theirs).cloned().collect();
        for key in permissions {
            amqp.permissions.remove(&key);
            dirty.permissions.insert(key);
        }
        Ok(Outcome::Done)
    }

    pub(super) fn set_permissions(&mut self, set: SetPermissions) -> Reply {
        let vhost = self.vhost_of(&set.vhost)?;
        let amqp = &mut self.image.amqp;
        let Some(user) = amqp.users.get(set.user.as_str()) else {
            return Err(unknown_user(&set.user).into());
        };
        let wanted = set.permissions;
        for pattern in [&wanted.configure, &wanted.write, &wanted.read] {
            if pattern.len() > AMQP_PATTERN_BYTES_MAX {
                let limit = AMQP_PATTERN_BYTES_MAX;
                return Err(over_limit("pattern", pattern.len(), limit));
            }
        }
        let key = (vhost.id, Arc::clone(&user.name));
        let known = amqp.permissions.get(&key);
        let permissions_count = amqp.permissions.len() + 1;
        if known.is_none() && permissions_count > AMQP_PERMISSIONS_COUNT_MAX {
            let limit = AMQP_PERMISSIONS_COUNT_MAX;
            return Err(over_limit("permissions", permissions_count, limit));
        }
        if known.is_none_or(|known| **known != wanted) {
            self.dirty.mark_amqp().permissions.insert(key.clone());
            amqp.permissions.insert(key, Arc::new(wanted));
        }
        Ok(Outcome::Done)
    }

    pub(super) fn clear_permissions(&mut self, vhost: &str, user: &str) -> Reply {
        let vhost = self.vhost_of(vhost)?;
        let key = (vhost.id, Arc::from(user));
        if self.image.amqp.permissions.remove(&key).is_some() {
            self.dirty.mark_amqp().permissions.insert(key);
        }
        Ok(Outcome::Done)
    }
}

fn unknown_user(user: &str) -> AmqpError {
    AmqpError::UnknownUser {
        user: user.to_owned(),
    }
}
