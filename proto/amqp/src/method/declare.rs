//! The macro that makes types and codec of the methods in `schema.rs`.
//!
//! A macro and not a generator in `build.rs`: AMQP 0-9-1 has no versions, so a method is nothing
//! but its fields in a row, and bit packing lies in the reader and writer. That leaves about a
//! hundred lines here against a parser, an emitter and a text format of our own.

/// Declares every class with its methods, in the order of the wire.
///
/// One method: `"name" Type = number sender [content] { field: type, … }`.
macro_rules! declare_methods {
    ($(
        $(#[$class_doc:meta])*
        class $class:ident $Class:ident = $class_id:literal {
            $(
                $(#[$doc:meta])*
                $name:literal $Name:ident = $method_id:literal $sender:ident $($content:ident)? {
                    $($field:ident : $type:ident),*
                }
            )*
        }
    )*) => {
        $(
            $(#[$class_doc])*
            pub mod $class {
                use crate::error::WireError;
                use crate::method::{MethodId, Sender};
                use crate::reader::Reader;
                use crate::writer::Writer;

                /// The number of the class.
                pub const CLASS_ID: u16 = $class_id;

                $(
                    $(#[$doc])*
                    #[derive(Debug, Clone, Default, PartialEq, Eq)]
                    pub struct $Name {
                        $(
                            #[doc = concat!("The field `", stringify!($field), "`.")]
                            pub $field: super::$type,
                        )*
                    }

                    impl $Name {
                        /// The numbers of the method.
                        pub const ID: MethodId =
                            MethodId { class_id: $class_id, method_id: $method_id };

                        fn read(reader: &mut Reader) -> Result<Self, WireError> {
                            let _ = &reader; // Not used by a method without fields.
                            Ok(Self {
                                $($field: crate::field::Field::read(reader).map_err(|cause| WireError::Field {
                                    method: Self::ID,
                                    field: stringify!($field),
                                    cause,
                                })?,)*
                            })
                        }

                        fn write(&self, writer: &mut Writer<'_>) {
                            let _ = &writer;
                            $(crate::field::Field::write(&self.$field, writer);)*
                        }
                    }

                    impl From<$Name> for Method {
                        fn from(method: $Name) -> Self {
                            Self::$Name(method)
                        }
                    }

                    impl From<$Name> for super::Method {
                        fn from(method: $Name) -> Self {
                            Self::$Class(Method::$Name(method))
                        }
                    }
                )*

                /// A method of the class.
                #[derive(Debug, Clone, PartialEq, Eq)]
                pub enum Method {
                    $($(#[$doc])* $Name($Name),)*
                }

                impl Method {
                    /// Returns the numbers of the method.
                    #[must_use]
                    pub const fn id(&self) -> MethodId {
                        match self { $(Self::$Name(_) => $Name::ID,)* }
                    }

                    /// Returns the name of the method, as RabbitMQ writes it.
                    #[must_use]
                    pub const fn name(&self) -> &'static str {
                        match self {
                            $(Self::$Name(_) => concat!(stringify!($class), ".", $name),)*
                        }
                    }

                    /// Tells who sends the method.
                    #[must_use]
                    pub const fn sender(&self) -> Sender {
                        match self { $(Self::$Name(_) => Sender::$sender,)* }
                    }

                    /// Tells whether a content header and bodies follow the method.
                    #[must_use]
                    pub const fn has_content(&self) -> bool {
                        match self { $(Self::$Name(_) => crate::method::declare::declare_methods!(@ $($content)?),)* }
                    }

                    pub(super) fn read(id: MethodId, reader: &mut Reader) -> Result<Self, WireError> {
                        match id.method_id {
                            $($method_id => $Name::read(reader).map(Self::$Name),)*
                            _ => Err(WireError::UnknownMethod { method: id }),
                        }
                    }

                    pub(super) fn write(&self, writer: &mut Writer<'_>) {
                        match self { $(Self::$Name(method) => method.write(writer),)* }
                    }
                }
            }
        )*

        /// Any method.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Method {
            $($(#[$class_doc])* $Class($class::Method),)*
        }

        impl Method {
            /// Every method there is, in the order of the classes here.
            pub const ALL: &[super::MethodInfo] = &[
                $($(super::MethodInfo {
                    id: $class::$Name::ID,
                    name: concat!(stringify!($class), ".", $name),
                    sender: super::Sender::$sender,
                    has_content: super::declare::declare_methods!(@ $($content)?),
                    fields: &[$((stringify!($field), stringify!($type))),*],
                },)*)*
            ];

            /// Returns the numbers of the method.
            #[must_use]
            pub const fn id(&self) -> super::MethodId {
                match self { $(Self::$Class(method) => method.id(),)* }
            }

            /// Returns the name of the method, as RabbitMQ writes it: `basic.publish`.
            #[must_use]
            pub const fn name(&self) -> &'static str {
                match self { $(Self::$Class(method) => method.name(),)* }
            }

            /// Tells who sends the method.
            #[must_use]
            pub const fn sender(&self) -> super::Sender {
                match self { $(Self::$Class(method) => method.sender(),)* }
            }

            /// Tells whether a content header and bodies follow the method.
            #[must_use]
            pub const fn has_content(&self) -> bool {
                match self { $(Self::$Class(method) => method.has_content(),)* }
            }

            pub(super) fn decode_fields(
                id: super::MethodId,
                reader: &mut crate::reader::Reader,
            ) -> Result<Self, crate::error::WireError> {
                match id.class_id {
                    $($class_id => $class::Method::read(id, reader).map(Self::$Class),)*
                    _ => Err(crate::error::WireError::UnknownMethod { method: id }),
                }
            }

            pub(super) fn encode_fields(&self, writer: &mut crate::writer::Writer<'_>) {
                match self { $(Self::$Class(method) => method.write(writer),)* }
            }
        }
    };
    (@) => { false };
    (@ content) => { true };
}

pub(super) use declare_methods;
