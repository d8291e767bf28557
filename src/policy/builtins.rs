//! What a line of the table of built-in policies stands for.
//!
//! The table itself is in [`super::config`]. From each of its lines come the variant of
//! [`PolicyConfig`](super::config::PolicyConfig), its name, its reading from JSON, its check and its
//! construction, so that no policy can be known in one of these places and forgotten in another.

/// Makes `PolicyConfig` of the table.
///
/// A line is `Variant(config: Config) = "name" => |seed| policy`. A policy without settings has no
/// parentheses; every other configuration has `Default`, `Deserialize` and `check`. An alias is a name
/// for some policy's setting.
macro_rules! builtins {
    (
        $(#[$type_meta:meta])*
        pub enum $policies:ident {
            $(
                $(#[$meta:meta])*
                $variant:ident $(($config:ident: $Config:ty))? = $name:literal
                    => |$seed:ident| $build:expr,
            )*
        }
        aliases { $($alias:literal => $aliased:expr,)* }
    ) => {
        $(#[$type_meta])*
        pub enum $policies {
            $($(#[$meta])* $variant $(($Config))?,)*
            /// A policy registered with the factory by the host.
            Custom(CustomConfig),
        }

        /// The names that no policy from outside can take.
        pub(crate) const BUILTINS: &[&str] = &[$($name,)* $($alias,)*];

        impl $policies {
            /// The policy of this name with its defaults. A name that is not built in is a custom
            /// one.
            pub fn named(name: &str) -> Self {
                match name {
                    $($name => $policies::$variant $((<$Config>::default()))?,)*
                    $($alias => $aliased,)*
                    _ => $policies::Custom(CustomConfig::new(name, Value::Null)),
                }
            }

            /// The policy's name.
            pub fn name(&self) -> &str {
                match self {
                    $($policies::$variant { .. } => $name,)*
                    $policies::Custom(custom) => &custom.name,
                }
            }

            /// Checks every number against its range.
            pub fn check(&self) -> Result<(), ConfigError> {
                match self {
                    $($policies::$variant $(($config))? => {
                        $($config.check()?;)?
                    })*
                    $policies::Custom(_) => {}
                }
                Ok(())
            }

            /// Builds the policy, unless it is a custom one.
            pub(super) fn build(&self, seed: Option<u64>) -> Built<'_> {
                match self {
                    $($policies::$variant $(($config))? => {
                        let $seed = seed;
                        Built::In($build)
                    })*
                    $policies::Custom(custom) => Built::Out(custom),
                }
            }
        }

        /// The object form, in which a policy without settings is an empty object.
        #[derive(Deserialize)]
        #[serde(rename_all = "snake_case")]
        enum Tagged {
            $($variant(builtins!(@settings $($Config)?)),)*
            Custom(CustomConfig),
        }

        impl From<Tagged> for $policies {
            fn from(tagged: Tagged) -> Self {
                match tagged {
                    $(Tagged::$variant(_settings) => $policies::$variant $(({
                        let $config: $Config = _settings;
                        $config
                    }))?,)*
                    Tagged::Custom(custom) => $policies::Custom(custom),
                }
            }
        }
    };
    (@settings) => { Empty };
    (@settings $Config:ty) => { $Config };
}

pub(super) use builtins;
