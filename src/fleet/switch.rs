//! Policies are installed and replaced.

use std::sync::Arc;

use super::Fleet;
use super::policies::{Arm, Installed, Named};
use super::writer::Writer;
use crate::policy::error::ConfigError;
use crate::policy::{PerRole, PolicyConfig};
use crate::worker::Role;

impl Fleet {
    /// The name of the policy for regular requests.
    pub(crate) fn policy_name(&self) -> String {
        let view = self.view();
        let main = view.policies.main_of(Role::Regular);
        main.map_or(String::new(), |installed| installed.counters.name.clone())
    }

    pub(crate) fn set_policies(
        &self,
        policy: &PolicyConfig,
        prefill: Option<&PolicyConfig>,
        decode: Option<&PolicyConfig>,
        in_use: impl Fn(u16) -> bool,
    ) -> Result<(), ConfigError> {
        self.switch(in_use, |writer| {
            let main = writer.named(policy)?;
            let pair = if prefill.is_some() || decode.is_some() {
                let of_role =
                    |config: Option<&PolicyConfig>| writer.named(config.unwrap_or(policy));
                let (prefill, decode) = (of_role(prefill)?, of_role(decode)?);
                let name = format!("{}/{}", prefill.0, decode.0);
                Some((name, Arc::new(PerRole::new(prefill.1, decode.1)) as _))
            } else {
                None
            };
            let main = writer.install(main, Arm::Main)?;
            let pair = match pair {
                Some(pair) => writer.install(pair, Arm::Main)?,
                None => Arc::clone(&main),
            };
            writer.policies.set_main(main, pair);
            Ok(())
        })
    }

    /// Lets a policy decide for this share of the requests.
    pub(crate) fn set_split(
        &self,
        split: Option<(&PolicyConfig, f64)>,
        in_use: impl Fn(u16) -> bool,
    ) -> Result<(), ConfigError> {
        self.switch(in_use, |writer| {
            let split = match split {
                Some((policy, share)) => Some((writer.build(policy, Arm::Split)?, share)),
                None => None,
            };
            writer.policies.set_split(split);
            Ok(())
        })
    }

    /// Lets a policy decide beside the main one and does not follow it.
    pub(crate) fn set_shadow(
        &self,
        shadow: Option<&PolicyConfig>,
        in_use: impl Fn(u16) -> bool,
    ) -> Result<(), ConfigError> {
        self.switch(in_use, |writer| {
            let shadow = shadow.map(|policy| writer.build(policy, Arm::Shadow)).transpose()?;
            writer.policies.set_shadow(shadow);
            Ok(())
        })
    }

    /// Changes the policies and publishes the result; an error changes nothing.
    fn switch(
        &self,
        in_use: impl Fn(u16) -> bool,
        change: impl FnOnce(&mut Writer) -> Result<(), ConfigError>,
    ) -> Result<(), ConfigError> {
        self.write(None, |writer| {
            writer.free_retired(in_use);
            let before = writer.policies.clone();
            let result = change(writer);
            if result.is_err() {
                writer.policies = before;
            }
            result
        })
    }
}

impl Writer {
    pub(super) fn free_retired(&mut self, in_use: impl Fn(u16) -> bool) {
        self.free_replaced();
        let still_decides =
            |place| self.replaced.iter().any(|view| view.policies.is_current(place));
        self.policies.free_retired(still_decides, in_use);
    }

    /// Builds a policy and installs it.
    fn build(&mut self, config: &PolicyConfig, arm: Arm) -> Result<Arc<Installed>, ConfigError> {
        let named = self.named(config)?;
        self.install(named, arm)
    }

    fn named(&self, config: &PolicyConfig) -> Result<Named, ConfigError> {
        Ok((config.name().to_owned(), self.factory.build(config)?))
    }

    fn install(&mut self, named: Named, arm: Arm) -> Result<Arc<Installed>, ConfigError> {
        self.policies.install(named, arm, self.registry.infos().cloned())
    }
}
