//! What is on a machine's screen. Machines have one if they were started to be looked into.

use qapi::qmp;

use crate::disk;
use crate::qemu::args::file;
use crate::qemu::error::Result;
use crate::qemu::vm::Vm;

impl Vm {
    /// The screen as it is now, as PNG.
    pub fn screenshot(&self) -> Result<Vec<u8>> {
        // QEMU works in the machine's directory.
        let command = qmp::screendump {
            device: None,
            head: None,
            format: Some(qmp::ImageFormat::png),
            filename: file::SCREEN.into(),
        };
        let (engine, qmp) = self.line();
        engine.run(qmp.call(command))?;
        let path = self.directory().join(file::SCREEN);
        let picture = disk::read(&path);
        disk::remove_file(&path)?;
        Ok(picture?)
    }
}
