//! Two macros that declare wire layouts once: `wire_enum!` (open enumerations) and `message!` (fixed fields in order).

/// A newtype over an integer with named constants. Unknown values are kept and shown in hexadecimal.
macro_rules! wire_enum {
    ($(#[$meta:meta])* pub struct $name:ident($int:ty, $hex:literal) { $($(#[$const_meta:meta])* $constant:ident = $value:expr,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub struct $name(pub $int);

        impl $name {
            $($(#[$const_meta])* pub const $constant: Self = Self($value);)*

            /// Every named value, in the order of the declaration.
            pub const KNOWN: &'static [Self] = &[$(Self::$constant,)*];

            /// The name of the value in the specification, if it has one here.
            pub fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$constant => Some(stringify!($constant)),)*
                    _ => None,
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, $hex, self.0)?;
                match self.name() {
                    Some(name) => write!(f, " {name}"),
                    None => Ok(()),
                }
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(self, f)
            }
        }

        impl crate::codec::Field for $name {
            fn read(reader: &mut crate::codec::Reader<'_>, field: &'static str) -> Result<Self, crate::codec::Truncated> {
                <$int as crate::codec::Field>::read(reader, field).map(Self)
            }

            fn write(&self, out: &mut crate::codec::Writer<'_>) {
                crate::codec::Field::write(&self.0, out);
            }
        }
    };
}

/// A message whose body is its fields in order, little-endian, without gaps.
macro_rules! message {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq)]
        pub struct $name { $($(#[$field_meta])* pub $field: $type,)* }

        impl crate::mms::Body for $name {
            fn decode(reader: &mut crate::codec::Reader<'_>) -> Result<Self, crate::codec::Truncated> {
                Ok(Self { $($field: crate::codec::Field::read(reader, stringify!($field))?,)* })
            }

            fn encode(&self, out: &mut crate::codec::Writer<'_>) {
                $(crate::codec::Field::write(&self.$field, out);)*
            }
        }
    };
}
