//! What of a machine is in the host's own directories: its units, and what it is given when it starts.

use super::{CREDENTIALS, CREDENTIALS_BEFORE, Host, Result};
use crate::deploy::record::{Order, Release};
use crate::deploy::units;
use crate::name::ImageName;
use crate::{disk, qemu, secrets};

impl Host<'_> {
    pub(super) fn install(&self, name: &ImageName, release: &Release) -> Result<()> {
        for unit in names_of(name) {
            match release.units.get(&unit) {
                Some(text) => {
                    let path = self.file(&unit);
                    path.parent().map_or(Ok(()), disk::create_dir_all)?;
                    disk::write_atomic(path, text.as_bytes(), 0o644)?;
                }
                None => disk::remove_file(self.file(&unit))?,
            }
        }
        self.expect(&["daemon-reload"])?;
        self.expect(&[units::wanted(release.container.is_some()).0, &units::service(name)])
    }

    pub(super) fn uninstall(&self, name: &ImageName, release: &Release) -> Result<()> {
        let loaded = release.units.keys().map(|unit| units::loaded(unit)).collect::<Vec<_>>();
        let names: Vec<&str> = loaded.iter().map(String::as_str).collect();
        let files = names.iter().copied().filter(|name| release.units.contains_key(*name)).collect::<Vec<_>>();
        for (verb, names) in [("stop", &names), ("disable", &files), ("reset-failed", &names)] {
            // A unit that is not loaded is a failure to neither end.
            self.manage(&[&[verb], names.as_slice()].concat()).ok();
        }
        if release.container.is_some() {
            // Of a machine that was told to stay away.
            self.manage(&["unmask", &units::service(name)]).ok();
            // One that was killed while it started is left behind.
            self.podman(&["rm", "--force", "--ignore", &units::container::name(name)])?;
        }
        for unit in release.units.keys() {
            disk::remove_file(self.file(unit))?;
        }
        self.expect(&["daemon-reload"])
    }

    /// Keeps what the version before was given, for as long as another one is tried; what an earlier trial that was cut
    /// short has kept is that.
    pub(super) fn set_aside(&self, name: &ImageName) -> Result<()> {
        let (given, before) = (self.config(name).join(CREDENTIALS), self.config(name).join(CREDENTIALS_BEFORE));
        if disk::exists(&given) && !disk::exists(&before) {
            disk::rename(given, before)?;
        }
        Ok(())
    }

    /// Has the machine given again what was set aside.
    pub(super) fn bring_back(&self, name: &ImageName) -> Result<()> {
        let (given, before) = (self.config(name).join(CREDENTIALS), self.config(name).join(CREDENTIALS_BEFORE));
        if disk::exists(&before) {
            disk::remove_dir_all(&given)?;
            disk::rename(before, given)?;
        }
        Ok(())
    }

    /// Writes down what the machine is given when it starts.
    pub(super) fn furnish(&self, order: &Order, identity: Option<&[u8]>) -> Result<()> {
        let name = &order.machine;
        let public = qemu::ssh::ensure_key(&self.config(name), &format!("rave {name}"))?;
        let directory = self.config(name).join(CREDENTIALS);
        disk::create_private_dir(&directory)?;
        if let Some(user) = &order.user {
            let keys: Vec<&str> =
                std::iter::once(public.as_str()).chain(order.authorized_keys.iter().map(String::as_str)).collect();
            let credential = units::authorized_keys(user);
            let text = given(order, &credential, (keys.join("\n") + "\n").as_bytes());
            disk::write_atomic(directory.join(credential), &text, 0o600)?;
        }
        let address = units::shared_address(order.release.container.is_some());
        let text = given(order, units::SHARED_ADDRESS, address.as_bytes());
        disk::write_atomic(directory.join(units::SHARED_ADDRESS), &text, 0o600)?;
        let credential = secrets::identity::CREDENTIAL;
        match identity {
            Some(identity) => {
                let text = zeroize::Zeroizing::new(given(order, credential, identity));
                let sealed = self.manager.encrypt(credential, &text)?;
                Ok(disk::write_atomic(directory.join(credential), &sealed, 0o600)?)
            }
            None => Ok(disk::remove_file(directory.join(credential))?),
        }
    }
}

/// The files that a machine may have, of all forms.
fn names_of(name: &ImageName) -> [String; 5] {
    [units::service(name), units::container::unit(name), units::verify(name), units::health(name), units::timer(name)]
}

/// A credential as it is kept: as QEMU takes it, or as it is.
fn given(order: &Order, name: &str, content: &[u8]) -> Vec<u8> {
    match order.release.container {
        Some(_) => content.to_vec(),
        None => qemu::ssh::smbios(name, content).into_bytes(),
    }
}
