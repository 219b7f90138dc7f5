//! Messages that must not be shown whole: what a log may say of them.

use std::fmt;

use crate::v1::PutUserRequest;

impl fmt::Debug for PutUserRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PutUserRequest")
            .field("name", &self.name)
            .field("has_password", &self.password.is_some())
            .field("tags", &self.tags)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        let request = PutUserRequest {
            name: "shop".to_owned(),
            password: Some("open sesame".to_owned()),
            tags: None,
        };

        let shown = format!("{request:?}");

        assert!(shown.contains("shop"), "{shown}");
        assert!(!shown.contains("sesame"), "{shown}");
    }
}
