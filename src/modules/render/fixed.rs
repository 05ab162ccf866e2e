//! Options that rave itself reads.

use std::sync::Arc;

use crate::modules::provenance::Read;
use crate::modules::resolve::Evaluator;
use crate::modules::value::{Quantity, Unit, Value};
use crate::origin::Diagnostic;
use crate::system::{Compression, Disk, Machine};

/// The parts of a machine that options of these names say.
pub(super) struct Fixed {
    pub disk: Disk,
    pub machine: Machine,
    pub recommends: bool,
    pub debug: bool,
}

/// Values where no module declares the option: enough to evaluate a project without a library.
const MIB: u64 = 1 << 20;

struct Reader<'a> {
    around: &'a Arc<Evaluator>,
    errors: &'a mut Vec<Diagnostic>,
}

/// Reads them; wrong kinds are errors at the declaration.
pub(super) fn read(around: &Arc<Evaluator>, errors: &mut Vec<Diagnostic>) -> Option<Fixed> {
    let mut reader = Reader { around, errors };
    let algorithm = reader.value("disk.compression.algorithm", "a text", |value| value.as_text().map(str::to_owned));
    let level = reader.value("disk.compression.level", "a number or null", optional(number));
    let cluster = reader.value("disk.compression.cluster", "a size below 4G", |value| bytes(value)?.try_into().ok());
    let esp_size = reader.value("disk.esp-size", "a size", bytes);
    let slot_size = reader.value("disk.slot-size", "a size or null", optional(bytes));
    let size = reader.value("disk.size", "a size", bytes);
    let memory = reader.value("machine.memory", "a size of whole MiB", mebibytes);
    let vcpus = reader.value("machine.vcpus", "a number", number);
    let recommends = reader.value("system.recommends", "true or false", flag);
    let debug = reader.value("debug.enable", "true or false", flag);
    let algorithm = algorithm.ok()?.unwrap_or_else(|| "lz4hc".into());
    let compression = Compression {
        level: level.ok()?.unwrap_or(None).or(usual_level(&algorithm)),
        algorithm,
        cluster: cluster.ok()?.unwrap_or(64 << 10),
    };
    let disk = Disk {
        compression,
        esp_size: esp_size.ok()?.unwrap_or(128 * MIB),
        slot_size: slot_size.ok()?.unwrap_or(None),
        size: size.ok()?.unwrap_or(4096 * MIB),
    };
    let machine = Machine { memory: memory.ok()?.unwrap_or(2048), vcpus: vcpus.ok()?.unwrap_or(2) };
    let [recommends, debug] = [recommends, debug].map(|flag| Some(flag.ok()?.unwrap_or(false)));
    Some(Fixed { disk, machine, recommends: recommends?, debug: debug? })
}

impl Reader<'_> {
    /// The value of an option; nothing if no module declares it.
    fn value<T>(
        &mut self,
        path: &str,
        what: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<T>, super::Failed> {
        let Some(declared) = self.around.catalogue.get(path) else { return Ok(None) };
        self.around.state().notes.read(Read::Option(path.to_owned()));
        let setting = self.around.setting(path)?;
        match read(&setting.value) {
            Some(value) => Ok(Some(value)),
            None => {
                let place = setting.definitions.first().map_or(&declared.origin, |definition| &definition.origin);
                self.errors.push(Diagnostic::error(place, format!("rave reads `{path}`: it must be {what}")));
                Err(super::Failed)
            }
        }
    }
}

/// The level that suits a developer's loop, where the algorithm has levels.
fn usual_level(algorithm: &str) -> Option<u32> {
    match algorithm {
        "lz4hc" => Some(4),
        "zstd" => Some(3),
        _ => None,
    }
}

fn flag(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(flag) => Some(*flag),
        _ => None,
    }
}

fn number(value: &Value) -> Option<u32> {
    match value {
        Value::Int(number) => u32::try_from(*number).ok(),
        _ => None,
    }
}

fn bytes(value: &Value) -> Option<u64> {
    match value {
        Value::Quantity(Quantity { unit: Unit::Bytes, amount }) => Some(*amount),
        _ => None,
    }
}

fn mebibytes(value: &Value) -> Option<u64> {
    bytes(value).filter(|bytes| *bytes > 0 && bytes.is_multiple_of(MIB)).map(|bytes| bytes / MIB)
}

fn optional<T>(read: impl Fn(&Value) -> Option<T>) -> impl Fn(&Value) -> Option<Option<T>> {
    move |value| match value {
        Value::Null => Some(None),
        value => read(value).map(Some),
    }
}
